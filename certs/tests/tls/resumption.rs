//! Session resumption: as Envoy's defaults have it, and never across a change of material.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use certs::ca::{CertificateAuthority, Template};
use certs::{
    ClientContext, ClientSettings, ServerContext, ServerResumption, ServerSettings, TICKET_KEY_LENGTH, TlsVersion,
};

use crate::mesh::*;

fn ca() -> CertificateAuthority {
    CertificateAuthority::root("test root").unwrap()
}

async fn resumed(client: &ClientContext, server: &ServerContext) -> bool {
    let (near, far) = handshake(client, server).await;
    let (near, far) = (near.unwrap(), far.unwrap());
    assert_eq!(near.resumed(), far.resumed());
    assert!(near.peer().unwrap().validated && far.peer().unwrap().validated);
    assert_eq!(
        far.peer().unwrap().spiffe_id,
        Some(id("web")),
        "a resumed session still has its peer"
    );
    near.resumed()
}

#[tokio::test]
async fn the_second_connection_resumes() {
    let ca = ca();
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let server = ServerContext::new(server(svid(&ca, "api"), &ca)).unwrap();
        let settings = ClientSettings {
            params: only(version),
            ..client(Some(svid(&ca, "web")), &ca)
        };
        let client = ClientContext::new(settings.clone()).unwrap();
        assert!(!resumed(&client, &server).await, "{version}");
        for _ in 0..3 {
            assert!(resumed(&client, &server).await, "{version}");
        }
        let none_kept = ClientContext::new(ClientSettings {
            max_session_keys: 0,
            ..settings
        })
        .unwrap();
        assert!(!resumed(&none_kept, &server).await);
        assert!(!resumed(&none_kept, &server).await);
    }
}

#[tokio::test]
async fn rotation_ends_resumption() {
    let ca = ca();
    let server_settings = server(svid(&ca, "api"), &ca);
    let client_settings = client(Some(svid(&ca, "web")), &ca);
    let first_server = ServerContext::new(server_settings.clone()).unwrap();
    let first_client = ClientContext::new(client_settings.clone()).unwrap();
    assert!(!resumed(&first_client, &first_server).await);
    assert!(resumed(&first_client, &first_server).await);
    let rotated_server = ServerContext::new(ServerSettings {
        identities: vec![svid(&ca, "api")],
        ..server_settings
    });
    assert!(!resumed(&first_client, &rotated_server.unwrap()).await);
    let rotated_client = ClientContext::new(ClientSettings {
        identity: Some(svid(&ca, "web")),
        ..client_settings
    });
    assert!(!resumed(&rotated_client.unwrap(), &first_server).await);
}

#[tokio::test]
async fn server_switches() {
    let ca = ca();
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        for (no_tickets, no_session_ids, resumes) in [(true, true, false), (true, false, true), (false, true, true)] {
            let resumption = ServerResumption {
                no_tickets,
                no_session_ids,
                ..ServerResumption::default()
            };
            let server = ServerContext::new(ServerSettings {
                resumption,
                ..server(svid(&ca, "api"), &ca)
            })
            .unwrap();
            let settings = ClientSettings {
                params: only(version),
                ..client(Some(svid(&ca, "web")), &ca)
            };
            let client = ClientContext::new(settings).unwrap();
            assert!(!resumed(&client, &server).await);
            assert_eq!(
                resumed(&client, &server).await,
                resumes,
                "{version} {no_tickets} {no_session_ids}"
            );
        }
    }
}

#[tokio::test]
async fn configured_ticket_keys_cross_replicas_but_not_trust_bundles() {
    let (ca, other) = (ca(), CertificateAuthority::root("other root").unwrap());
    let replica = |trusted: &CertificateAuthority, keys: &[u8]| {
        let ticket_keys = keys.iter().map(|n| [*n; TICKET_KEY_LENGTH]).collect();
        let resumption = ServerResumption {
            ticket_keys,
            ..ServerResumption::default()
        };
        let validation = Some(Arc::new(trusting(trusted)));
        ServerContext::new(ServerSettings {
            resumption,
            validation,
            ..server(svid(&ca, "api"), &ca)
        })
        .unwrap()
    };
    let client = ClientContext::new(client(Some(svid(&ca, "web")), &ca)).unwrap();
    assert!(!resumed(&client, &replica(&ca, &[1])).await);
    assert!(
        resumed(&client, &replica(&ca, &[1])).await,
        "another context with the same keys and bundle"
    );
    assert!(resumed(&client, &replica(&ca, &[2, 1])).await, "keys rotated");
    let (near, far) = handshake(&client, &replica(&other, &[2])).await;
    assert!(
        near.is_err() && far.is_err(),
        "a session verified against another bundle was resumed"
    );
}

#[tokio::test]
async fn a_resumed_peer_must_not_have_expired() {
    let ca = ca();
    let server = ServerContext::new(server(svid(&ca, "api"), &ca)).unwrap();
    let brief = Template {
        spiffe_id: Some(id("web")),
        not_after: SystemTime::now() + Duration::from_secs(2),
        ..Template::default()
    };
    let identity = ca.issue(&brief).unwrap().identity().unwrap();
    let expires = identity.expires_at();
    let client = ClientContext::new(client(Some(identity), &ca)).unwrap();
    assert!(!resumed(&client, &server).await);
    // X.509 counts whole seconds: one more, and it is certain to be over.
    let over = expires + Duration::from_secs(1);
    tokio::time::sleep(over.duration_since(SystemTime::now()).unwrap_or_default()).await;
    let error = handshake(&client, &server).await.1.unwrap_err().to_string();
    assert!(error.contains("certificate \"spiffe://td/web\" expired"), "{error}");
}

#[tokio::test]
async fn rotation_under_load_fails_no_handshake() {
    let old = ca();
    let new = CertificateAuthority::root("new root").unwrap();
    let both = |a: &CertificateAuthority, b: &CertificateAuthority| {
        let pem = format!("{}{}", a.bundle_pem(), b.bundle_pem());
        let bundle = certs::TrustBundle::from_pem(pem.as_bytes()).unwrap();
        Arc::new(certs::Validation {
            trust: Some(certs::Trust::Bundle(Arc::new(bundle))),
            ..Default::default()
        })
    };
    let with = |validation: &Arc<certs::Validation>, issuer: &CertificateAuthority| {
        let validation = Some(validation.clone());
        let server = ServerSettings {
            validation: validation.clone(),
            ..server(svid(issuer, "api"), issuer)
        };
        let client = ClientSettings {
            validation,
            ..client(Some(svid(issuer, "web")), issuer)
        };
        (ServerContext::new(server).unwrap(), ClientContext::new(client).unwrap())
    };
    // A -> A+B -> B: each stage talks to itself and to its neighbour.
    let stages = [
        with(&Arc::new(trusting(&old)), &old),
        with(&both(&old, &new), &old),
        with(&both(&old, &new), &new),
        with(&Arc::new(trusting(&new)), &new),
    ];
    for pair in stages.windows(2) {
        for (server, client) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let (Some((server, _)), Some((_, client))) = (pair.get(server), pair.get(client)) else {
                unreachable!()
            };
            let (near, far) = handshake(client, server).await;
            let refused = near.err().or_else(|| far.err()).map(|error| error.to_string());
            // Between "both, old certificate" and "both, new certificate" all go; only the outermost pairs differ.
            assert_eq!(refused, None);
        }
    }
}
