//! Every handshake that must succeed and every one that must fail, over loopback sockets.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::mesh::*;
use certs::ca::{CertificateAuthority, Template};
use certs::{
    ClientContext, ClientSettings, ConnectOptions, FailureStat, HandshakeError, PeerRole, Pins, SanKind, SanMatcher,
    ServerContext, ServerSettings, StringMatcher, TlsVersion, Trust, TrustDomain, Validation, VerifyError,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn ca() -> CertificateAuthority {
    CertificateAuthority::root("test root").unwrap()
}

#[tokio::test]
async fn mutual_tls() {
    let ca = ca();
    let server = ServerContext::new(server(svid(&ca, "api"), &ca)).unwrap();
    let client = ClientContext::new(client(Some(svid(&ca, "web")), &ca)).unwrap();
    let (near, far) = handshake(&client, &server).await;
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    assert_eq!(near.peer().unwrap().spiffe_id, Some(id("api")));
    assert_eq!(far.peer().unwrap().spiffe_id, Some(id("web")));
    assert!(near.peer().unwrap().validated && far.peer().unwrap().validated);
    assert_eq!(near.tls_version(), TlsVersion::Tls13);
    assert_eq!(near.cipher(), "TLS_AES_128_GCM_SHA256");
    assert_eq!(far.group(), Some("X25519"));
    assert_eq!(far.peer_signature(), Some("ecdsa_secp256r1_sha256"));
    assert_eq!((near.alpn(), near.sni(), near.resumed()), (None, None, false));
    assert_eq!(far.peer_chain().count(), 1);
    for length in [1, 16 << 10, 300_000] {
        echo(&mut near, &mut far, length).await;
    }
    near.shutdown().await.unwrap();
    assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0, "close_notify is a clean end");
}

#[tokio::test]
async fn intermediates_are_sent_and_verified() {
    let ca = ca();
    let issuing = ca
        .intermediate("issuing")
        .unwrap()
        .intermediate("issuing below")
        .unwrap();
    let server = ServerContext::new(server(svid(&issuing, "api"), &ca)).unwrap();
    let client = ClientContext::new(client(Some(svid(&issuing, "web")), &ca)).unwrap();
    let (near, far) = handshake(&client, &server).await;
    assert_eq!(near.unwrap().peer_chain().count(), 3);
    far.unwrap();
}

#[tokio::test]
async fn san_mismatch_on_either_side() {
    let ca = ca();
    let strict = |uri: &str| Some(Arc::new(trusting_only(&ca, uri)));
    let open_server = ServerContext::new(server(svid(&ca, "api"), &ca)).unwrap();
    let picky_client = ClientSettings {
        validation: strict("spiffe://td/other"),
        ..client(Some(svid(&ca, "web")), &ca)
    };
    let (near, far) = handshake(&ClientContext::new(picky_client).unwrap(), &open_server).await;
    let error = near.unwrap_err();
    assert_eq!(
        error.to_string(),
        "server's certificate is refused: no subject alternative name matches: wanted URI exact \"spiffe://td/other\", got URI:spiffe://td/api"
    );
    assert_eq!(error.stat(), Some(FailureStat::FailVerifySan));
    assert!(
        error
            .envoy_reason()
            .contains("268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED")
    );
    assert_alert(&far.unwrap_err(), "certificate_unknown");

    let picky_server = ServerSettings {
        validation: strict("spiffe://td/other"),
        ..server(svid(&ca, "api"), &ca)
    };
    let open_client = ClientContext::new(client(Some(svid(&ca, "web")), &ca)).unwrap();
    let (near, far) = handshake(&open_client, &ServerContext::new(picky_server).unwrap()).await;
    assert!(far.unwrap_err().to_string().contains("got URI:spiffe://td/web"));
    let alert = near.unwrap_err();
    assert_alert(&alert, "certificate_unknown");
    assert!(
        alert.to_string().contains("our certificate \"spiffe://td/web\""),
        "{alert}"
    );
}

fn assert_alert(error: &HandshakeError, name: &str) {
    match error {
        HandshakeError::PeerAlert { alert, .. } => assert_eq!(alert.name(), name, "{error}"),
        other => panic!("wanted alert {name}, got {other}"),
    }
}

#[tokio::test]
async fn unknown_issuer() {
    let (ours, theirs) = (ca(), CertificateAuthority::root("foreign root").unwrap());
    let server = ServerContext::new(server(svid(&theirs, "api"), &ours)).unwrap();
    let client = ClientContext::new(client(Some(svid(&ours, "web")), &ours)).unwrap();
    let (near, far) = handshake(&client, &server).await;
    let error = near.unwrap_err().to_string();
    assert!(
        error.contains("issued by \"CN=foreign root\"") && error.contains("(CN=test root)"),
        "{error}"
    );
    assert_alert(&far.unwrap_err(), "unknown_ca");
}

#[tokio::test]
async fn expired_and_not_yet_valid() {
    let ca = ca();
    let now = SystemTime::now();
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let expired = Template {
        spiffe_id: Some(id("api")),
        not_before: now - minutes(20),
        not_after: now - minutes(10),
        ..Template::default()
    };
    let early = Template {
        not_before: now + minutes(10),
        not_after: now + minutes(20),
        ..expired.clone()
    };
    for (template, phrase, reason) in [
        (&expired, "expired at", "certificate has expired"),
        (&early, "is valid only from", "certificate is not yet valid"),
    ] {
        let identity = ca.issue(template).unwrap().identity().unwrap();
        let server = ServerContext::new(server(identity, &ca)).unwrap();
        let strict = client(Some(svid(&ca, "web")), &ca);
        let (near, far) = handshake(&ClientContext::new(strict.clone()).unwrap(), &server).await;
        let error = near.unwrap_err();
        assert!(
            error.to_string().contains(phrase) && error.to_string().contains("spiffe://td/api"),
            "{error}"
        );
        assert!(error.envoy_reason().contains(reason), "{}", error.envoy_reason());
        assert_alert(&far.unwrap_err(), "certificate_expired");

        let lax = Validation {
            allow_expired: true,
            ..trusting(&ca)
        };
        let lax = ClientSettings {
            validation: Some(Arc::new(lax)),
            ..strict.clone()
        };
        handshake(&ClientContext::new(lax).unwrap(), &server).await.0.unwrap();
    }
    let tolerant = Validation {
        not_before_tolerance: minutes(11),
        ..trusting(&ca)
    };
    let tolerant = ClientSettings {
        validation: Some(Arc::new(tolerant)),
        ..client(Some(svid(&ca, "web")), &ca)
    };
    let identity = ca.issue(&early).unwrap().identity().unwrap();
    let early_server = ServerContext::new(server(identity, &ca)).unwrap();
    handshake(&ClientContext::new(tolerant).unwrap(), &early_server)
        .await
        .0
        .unwrap();
}

#[tokio::test]
async fn a_valid_certificate_is_preferred_to_an_expired_one() {
    let ca = ca();
    let now = SystemTime::now();
    let stale = Template {
        spiffe_id: Some(id("stale")),
        not_before: now - Duration::from_secs(200),
        not_after: now - Duration::from_secs(100),
        ..Template::default()
    };
    let stale = ca.issue(&stale).unwrap().identity().unwrap();
    let settings = ServerSettings {
        identities: vec![stale, svid(&ca, "fresh")],
        ..server(svid(&ca, "x"), &ca)
    };
    let server = ServerContext::new(settings).unwrap();
    let client = ClientContext::new(client(Some(svid(&ca, "web")), &ca)).unwrap();
    for sni in [None, Some("unknown.example")] {
        let options = ConnectOptions {
            sni,
            ..ConnectOptions::default()
        };
        let (near, _) = handshake_with(&client, &server, options).await;
        assert_eq!(near.unwrap().peer().unwrap().spiffe_id, Some(id("fresh")));
    }
}

#[tokio::test]
async fn expired_root() {
    let now = SystemTime::now();
    let hour = Duration::from_secs(3600);
    let old = CertificateAuthority::root_valid("old root", now - 2 * hour, now - hour).unwrap();
    let server = ServerContext::new(server(svid(&old, "api"), &old)).unwrap();
    let (near, _) = handshake(&ClientContext::new(client(None, &old)).unwrap(), &server).await;
    let error = near.unwrap_err().to_string();
    assert!(error.contains("certificate \"CN=old root\" expired at"), "{error}");
}

#[tokio::test]
async fn no_client_certificate() {
    let ca = ca();
    let server = ServerContext::new(server(svid(&ca, "api"), &ca)).unwrap();
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let anonymous = ClientSettings {
            params: only(version),
            ..client(None, &ca)
        };
        let (near, far) = handshake(&ClientContext::new(anonymous).unwrap(), &server).await;
        let error = far.unwrap_err();
        assert!(matches!(error, HandshakeError::NoClientCertificate), "{error}");
        assert_eq!(error.stat(), Some(FailureStat::FailVerifyNoCert));
        let error = near.unwrap_err();
        assert_alert(&error, "certificate_required");
        assert!(error.to_string().contains("certificate of us"), "{error}");
    }
}

#[tokio::test]
async fn optional_client_certificate_is_verified_if_sent() {
    let (ours, theirs) = (ca(), CertificateAuthority::root("foreign root").unwrap());
    let optional = ServerSettings {
        require_client_certificate: false,
        ..server(svid(&ours, "api"), &ours)
    };
    let server = ServerContext::new(optional).unwrap();
    let (_, far) = handshake(&ClientContext::new(client(None, &ours)).unwrap(), &server).await;
    assert!(far.unwrap().peer().is_none());
    let (_, far) = handshake(
        &ClientContext::new(client(Some(svid(&ours, "web")), &ours)).unwrap(),
        &server,
    )
    .await;
    assert_eq!(far.unwrap().peer().unwrap().spiffe_id, Some(id("web")));
    let (_, far) = handshake(
        &ClientContext::new(client(Some(svid(&theirs, "web")), &ours)).unwrap(),
        &server,
    )
    .await;
    let error = far.unwrap_err();
    assert!(matches!(
        error,
        HandshakeError::PeerCertificate {
            role: PeerRole::Client,
            error: VerifyError::UnknownIssuer { .. }
        }
    ));
}

#[tokio::test]
async fn without_validation_anything_goes() {
    let (ours, theirs) = (ca(), CertificateAuthority::root("foreign root").unwrap());
    let settings = ServerSettings {
        require_client_certificate: true,
        ..ServerSettings::new(vec![svid(&theirs, "api")])
    };
    let server = ServerContext::new(settings).unwrap();
    let settings = ClientSettings {
        identity: Some(svid(&ours, "web")),
        ..ClientSettings::new()
    };
    let (near, far) = handshake(&ClientContext::new(settings).unwrap(), &server).await;
    let near = near.unwrap();
    assert!(!near.peer().unwrap().validated && !far.unwrap().peer().unwrap().validated);
    assert_eq!(
        near.tls_version(),
        TlsVersion::Tls12,
        "Envoy's default maximum for clusters"
    );
    assert_eq!(near.cipher(), "ECDHE-ECDSA-AES128-GCM-SHA256");
}

#[tokio::test]
async fn accept_untrusted() {
    let (ours, theirs) = (ca(), CertificateAuthority::root("foreign root").unwrap());
    let lax = Validation {
        accept_untrusted: true,
        ..trusting_only(&ours, "spiffe://td/web")
    };
    let settings = ServerSettings {
        validation: Some(Arc::new(lax)),
        ..server(svid(&ours, "api"), &ours)
    };
    let server = ServerContext::new(settings).unwrap();
    for (issuer, path, validated) in [(&ours, "web", true), (&ours, "other", false), (&theirs, "web", false)] {
        let client = ClientContext::new(client(Some(svid(issuer, path)), &ours)).unwrap();
        let far = handshake(&client, &server).await.1.unwrap();
        assert_eq!(far.peer().unwrap().validated, validated, "{path}");
    }
}

#[tokio::test]
async fn plaintext_client() {
    let ca = ca();
    let server = ServerContext::new(server(svid(&ca, "api"), &ca)).unwrap();
    let (mut near, far) = sockets().await;
    near.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let error = tokio::time::timeout(LIMIT, server.accept(far))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "peer speaks plaintext where TLS was expected: it began with \"GET / HTTP/1.1\\r\\n\""
    );
    assert!(
        error
            .envoy_reason()
            .contains("268435612:SSL routines:OPENSSL_internal:HTTP_REQUEST")
    );
}

#[tokio::test]
async fn plaintext_server() {
    let ca = ca();
    let client = ClientContext::new(client(None, &ca)).unwrap();
    let (near, mut far) = sockets().await;
    far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let error = tokio::time::timeout(LIMIT, client.connect(near, ConnectOptions::default()))
        .await
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(
            error,
            HandshakeError::PlaintextPeer {
                role: PeerRole::Server,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error
            .envoy_reason()
            .contains("268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER")
    );
}

#[tokio::test]
async fn closed_during_handshake() {
    let ca = ca();
    let client = ClientContext::new(client(None, &ca)).unwrap();
    let server = ServerContext::new(server(svid(&ca, "api"), &ca)).unwrap();
    let (near, mut far) = sockets().await;
    let hang_up = async {
        // Read the hello first: closing with unread data would be a reset, another case.
        assert!(far.read(&mut [0; 4096]).await.unwrap() > 0);
        drop(far);
    };
    let (near, ()) = tokio::join!(client.connect(near, ConnectOptions::default()), hang_up);
    assert!(matches!(
        near.unwrap_err(),
        HandshakeError::ClosedDuringHandshake { received: 0 }
    ));
    let (near, far) = sockets().await;
    drop(near);
    let error = server.accept(far).await.unwrap_err();
    assert!(
        matches!(error, HandshakeError::ClosedDuringHandshake { received: 0 }),
        "{error}"
    );
    assert_eq!(error.stat(), None);
}

#[tokio::test]
async fn versions_and_ciphers() {
    let ca = ca();
    let with = |params| {
        ServerContext::new(ServerSettings {
            params,
            ..server(svid(&ca, "api"), &ca)
        })
        .unwrap()
    };
    let calling = |params| {
        ClientContext::new(ClientSettings {
            params,
            ..client(Some(svid(&ca, "web")), &ca)
        })
        .unwrap()
    };
    let (near, far) = handshake(&calling(only(TlsVersion::Tls12)), &with(any_version())).await;
    assert_eq!(near.unwrap().tls_version(), TlsVersion::Tls12);
    assert_eq!(far.unwrap().group(), Some("X25519"));

    let (near, far) = handshake(&calling(only(TlsVersion::Tls12)), &with(only(TlsVersion::Tls13))).await;
    assert!(far.unwrap_err().to_string().contains("we allow TLSv1.3 only"));
    assert_alert(&near.unwrap_err(), "protocol_version");

    let suites =
        |name: &str| certs::TlsParams::new(TlsVersion::Tls12, TlsVersion::Tls12, &[name.to_owned()], &[]).unwrap();
    let aes256 = suites("ECDHE-ECDSA-AES256-GCM-SHA384");
    let (_, far) = handshake(&calling(suites("ECDHE-ECDSA-AES128-GCM-SHA256")), &with(aes256)).await;
    let error = far.unwrap_err().to_string();
    assert!(
        error.contains("no cipher suite in common") && error.contains("ECDHE-ECDSA-AES128-GCM-SHA256"),
        "{error}"
    );
}

#[tokio::test]
async fn alpn() {
    let ca = ca();
    let protocols = |list: &[&str]| list.iter().map(|p| p.as_bytes().to_vec()).collect::<Vec<_>>();
    let settings = ServerSettings {
        alpn: protocols(&["h2", "http/1.1"]),
        ..server(svid(&ca, "api"), &ca)
    };
    let server = ServerContext::new(settings).unwrap();
    let settings = ClientSettings {
        alpn: protocols(&["http/1.1", "h2"]),
        ..client(Some(svid(&ca, "web")), &ca)
    };
    let client = ClientContext::new(settings).unwrap();
    let other = protocols(&["istio-peer-exchange", "http/1.1"]);
    let none_in_common = protocols(&["mongo"]);
    for (list, agreed) in [
        (None, Some(&b"h2"[..])),
        (Some(&other[..]), Some(b"http/1.1")),
        (Some(&none_in_common[..]), None),
        (Some(&[][..]), None),
    ] {
        let options = ConnectOptions {
            alpn: list,
            ..ConnectOptions::default()
        };
        let (near, far) = handshake_with(&client, &server, options).await;
        assert_eq!(near.unwrap().alpn(), agreed);
        assert_eq!(far.unwrap().alpn(), agreed);
    }
}

#[tokio::test]
async fn certificates_by_sni() {
    let ca = ca();
    let identities = vec![
        server_certificate(&ca, &["a.example"]),
        server_certificate(&ca, &["*.example"]),
        server_certificate(&ca, &["b.example"]),
    ];
    let server = ServerContext::new(ServerSettings::new(identities)).unwrap();
    let client = ClientContext::new(client(None, &ca)).unwrap();
    for (sni, served) in [
        (Some("a.example"), "a.example"),
        (Some("B.example"), "b.example"),
        (Some("c.example"), "*.example"),
        (Some("c.d.example"), "a.example"),
        (Some("outbound_.80_.v1_.api.default"), "a.example"),
        (None, "a.example"),
    ] {
        let (near, far) = handshake_with(
            &client,
            &server,
            ConnectOptions {
                sni,
                ..ConnectOptions::default()
            },
        )
        .await;
        let near = near.unwrap();
        assert_eq!(
            near.peer().unwrap().certificate.dns_names().next(),
            Some(served),
            "{sni:?}"
        );
        assert_eq!(far.unwrap().sni().map(str::to_lowercase), sni.map(str::to_lowercase));
    }
}

#[tokio::test]
async fn sni_rules() {
    let ca = ca();
    let settings = ServerSettings {
        require_sni: true,
        ..ServerSettings::new(vec![server_certificate(&ca, &["a.example"])])
    };
    let server = ServerContext::new(settings).unwrap();
    let client_context = ClientContext::new(client(None, &ca)).unwrap();
    let (_, far) = handshake(&client_context, &server).await;
    assert!(matches!(far.unwrap_err(), HandshakeError::NoSni));
    let options = ConnectOptions {
        sni: Some("backend{mesh=default}"),
        ..ConnectOptions::default()
    };
    let (near, _) = sockets().await;
    let error = client_context.connect(near, options).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("\"backend{mesh=default}\" is not a DNS name"),
        "{error}"
    );

    let validation = Some(Arc::new(Validation {
        match_sni: true,
        ..trusting(&ca)
    }));
    let settings = ClientSettings {
        sni: Some("a.example".into()),
        validation,
        ..client(None, &ca)
    };
    let strict = ClientContext::new(settings).unwrap();
    handshake(&strict, &server).await.0.unwrap();
    let options = ConnectOptions {
        sni: Some("b.example"),
        ..ConnectOptions::default()
    };
    let error = handshake_with(&strict, &server, options)
        .await
        .0
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("wanted DNS \"b.example\" (the SNI), got DNS:a.example"),
        "{error}"
    );
}

#[tokio::test]
async fn per_connection_sans() {
    let ca = ca();
    let server = ServerContext::new(server(svid(&ca, "api"), &ca)).unwrap();
    let client = ClientContext::new(client(Some(svid(&ca, "web")), &ca)).unwrap();
    for (wanted, ok) in [("spiffe://td/api", true), ("spiffe://td/other", false)] {
        let verify_sans = &[SanMatcher::typed(SanKind::Uri, StringMatcher::exact(wanted))];
        let options = ConnectOptions {
            verify_sans,
            ..ConnectOptions::default()
        };
        assert_eq!(handshake_with(&client, &server, options).await.0.is_ok(), ok);
    }
}

#[tokio::test]
async fn pins() {
    let ca = ca();
    let identity = svid(&ca, "api");
    let info = identity.certificate().clone();
    let server = ServerContext::new(server(identity, &ca)).unwrap();
    let cases = [
        (
            Pins {
                certificate_sha256: vec![info.sha256],
                ..Pins::default()
            },
            true,
        ),
        (
            Pins {
                spki_sha256: vec![info.spki_sha256],
                ..Pins::default()
            },
            true,
        ),
        (
            Pins {
                certificate_sha256: vec![[0; 32]],
                spki_sha256: vec![info.spki_sha256],
            },
            true,
        ),
        (
            Pins {
                certificate_sha256: vec![info.spki_sha256],
                ..Pins::default()
            },
            false,
        ),
    ];
    for (pins, ok) in cases {
        let validation = Some(Arc::new(Validation {
            pins,
            ..Validation::default()
        }));
        let settings = ClientSettings {
            validation,
            ..client(Some(svid(&ca, "web")), &ca)
        };
        let (near, _) = handshake(&ClientContext::new(settings).unwrap(), &server).await;
        match near {
            Ok(_) => assert!(ok),
            Err(error) => {
                assert_eq!((ok, error.stat()), (false, Some(FailureStat::FailVerifyCertHash)));
                assert!(
                    error.to_string().contains(&certs::certificate::hex(&info.sha256)),
                    "{error}"
                );
            }
        }
    }
}

#[tokio::test]
async fn spiffe_bundles_per_trust_domain() {
    let (home, abroad) = (ca(), CertificateAuthority::root("abroad").unwrap());
    let domain = |name: &str| TrustDomain::parse(name).unwrap();
    let federated = [
        (domain("td"), bundle(&home)),
        (domain("abroad.example"), bundle(&abroad)),
    ];
    let validation = Validation {
        trust: Some(Trust::TrustDomains(federated.into())),
        ..Validation::default()
    };
    let settings = ServerSettings {
        validation: Some(Arc::new(validation)),
        ..server(svid(&home, "api"), &home)
    };
    let server = ServerContext::new(settings).unwrap();
    let uris = |uris: &[&str]| Template {
        uris: uris.iter().map(|u| (*u).to_owned()).collect(),
        ..Template::default()
    };
    for (issuer, template, refusal) in [
        (&home, uris(&["spiffe://td/web"]), None),
        (&abroad, uris(&["spiffe://abroad.example/web"]), None),
        (&abroad, uris(&["spiffe://td/web"]), Some("issued by \"CN=abroad\"")),
        (
            &home,
            uris(&["spiffe://abroad.example/web"]),
            Some("issued by \"CN=test root\""),
        ),
        (
            &home,
            uris(&["spiffe://nowhere/web"]),
            Some("trust domain \"nowhere\", for which there is no bundle"),
        ),
        (
            &home,
            uris(&["spiffe://td/web", "spiffe://td/b"]),
            Some("2 URI SANs instead of one"),
        ),
        (&home, uris(&[]), Some("0 URI SANs")),
        (&home, uris(&["https://td/web"]), Some("the scheme is not spiffe://")),
    ] {
        let identity = issuer.issue(&template).unwrap().identity().unwrap();
        let (_, far) = handshake(&ClientContext::new(client(Some(identity), &home)).unwrap(), &server).await;
        match (far, refusal) {
            (Ok(_), None) => {}
            (Err(error), Some(phrase)) => assert!(error.to_string().contains(phrase), "{error}"),
            (far, _) => panic!("{template:?}: {:?}", far.err().map(|e| e.to_string())),
        }
    }
}

#[tokio::test]
async fn revocation() {
    let ca = ca();
    let (good, bad) = (svid(&ca, "good"), svid(&ca, "bad"));
    let list = ca.revoke(&[&bad.certificate().serial]).unwrap();
    let lists = certs::RevocationLists::from_pem(list.as_bytes(), false).unwrap();
    let validation = Validation {
        revocation: Some(Arc::new(lists)),
        ..trusting(&ca)
    };
    let settings = ServerSettings {
        validation: Some(Arc::new(validation)),
        ..server(svid(&ca, "api"), &ca)
    };
    let server = ServerContext::new(settings).unwrap();
    let calling = |identity| ClientContext::new(client(Some(identity), &ca)).unwrap();
    handshake(&calling(good), &server).await.1.unwrap();
    let (near, far) = handshake(&calling(bad), &server).await;
    assert!(far.unwrap_err().to_string().contains("is revoked"));
    assert_alert(&near.unwrap_err(), "certificate_revoked");
    let below = ca.intermediate("below").unwrap();
    let error = handshake(&calling(svid(&below, "web")), &server)
        .await
        .1
        .unwrap_err()
        .to_string();
    assert!(error.contains("cannot be checked for revocation"), "{error}");
}

#[tokio::test]
async fn a_leaf_in_the_bundle_is_trusted() {
    let root = ca();
    let own = svid(&root, "api");
    let pinned = certs::TrustBundle::from_der(own.chain_der().take(1)).unwrap();
    let validation = Validation {
        trust: Some(Trust::Bundle(Arc::new(pinned))),
        ..Validation::default()
    };
    let settings = ClientSettings {
        validation: Some(Arc::new(validation)),
        ..client(Some(svid(&root, "web")), &root)
    };
    let client = ClientContext::new(settings).unwrap();
    handshake(&client, &ServerContext::new(server(own, &root)).unwrap())
        .await
        .0
        .unwrap();
    let other = ServerContext::new(server(svid(&root, "api"), &root)).unwrap();
    handshake(&client, &other).await.0.unwrap_err();
}
