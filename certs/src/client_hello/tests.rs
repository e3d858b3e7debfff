use std::sync::Arc;

use proptest::prelude::*;
use rustls::ClientConnection;
use rustls_pki_types::ServerName;

use super::*;
use crate::tls::params;
use crate::validation::Validation;
use crate::validation::verifier::PeerVerifier;

/// A hello as rustls writes it.
fn real_hello(sni: Option<&str>, alpn: &[&str]) -> Vec<u8> {
    let verifier = PeerVerifier::of_servers(Arc::new(Validation::default()));
    let mut config = rustls::ClientConfig::builder_with_provider(params::provider().clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    config.enable_sni = sni.is_some();
    let name = ServerName::try_from(sni.unwrap_or("unused").to_owned()).unwrap();
    let mut bytes = Vec::new();
    ClientConnection::new(config.into(), name)
        .unwrap()
        .write_tls(&mut bytes)
        .unwrap();
    bytes
}

fn parsed(bytes: &[u8]) -> ClientHello {
    match parse(bytes, MAX_CLIENT_HELLO) {
        Peeked::Hello(hello) => hello,
        other => panic!("{other:?}"),
    }
}

/// The same message in records of `size` bytes.
fn fragmented(record: &[u8], size: usize) -> Vec<u8> {
    let fragments = record[RECORD_HEADER..].chunks(size);
    fragments
        .flat_map(|f| [&[22, 3, 1][..], &(f.len() as u16).to_be_bytes(), f].concat())
        .collect()
}

/// A minimal hello with these extensions.
fn crafted(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([0; RANDOM]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let length = (body.len() as u32).to_be_bytes();
    let message = [&[CLIENT_HELLO], &length[1..], &body[..]].concat();
    fragmented(&[&[0; RECORD_HEADER], &message[..]].concat(), LARGEST_RECORD)
}

#[test]
fn what_rustls_sends() {
    let hello = parsed(&real_hello(Some("Api.Example.com"), &["h2", "http/1.1"]));
    assert_eq!(hello.sni.as_deref(), Some("api.example.com"));
    assert_eq!(hello.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert_eq!(hello.supported_versions, [0x0304, 0x0303]);
    assert!(hello.cipher_suites.contains(&0x1301));
    let hello = parsed(&real_hello(None, &[]));
    assert_eq!((hello.sni, hello.alpn), (None, vec![]));
}

#[test]
fn every_prefix_needs_more_and_every_fragmentation_says_the_same() {
    let bytes = real_hello(Some("api.example.com"), &["h2"]);
    let whole = parsed(&bytes);
    for size in [1, 2, 3, 5, 64, bytes.len()] {
        let split = fragmented(&bytes, size);
        for end in 0..split.len() {
            assert_eq!(parse(&split[..end], MAX_CLIENT_HELLO), Peeked::NeedMore, "{size} {end}");
        }
        assert_eq!(parsed(&split), whole);
        assert_eq!(parsed(&[&split[..], b"early data"].concat()), whole);
    }
}

#[test]
fn other_protocols_are_told_by_their_first_bytes() {
    for bytes in [
        &b"G"[..],
        b"PRI * HTTP/2.0",
        b"SSH-2.0",
        &[0x16, 0x02],
        &[0x80, 0x2e, 1],
        &[22, 3, 1, 0, 0],
    ] {
        assert!(matches!(parse(bytes, MAX_CLIENT_HELLO), Peeked::NotTls(_)), "{bytes:?}");
    }
    assert!(
        matches!(parse(&[22, 3, 1, 0, 40, 2], MAX_CLIENT_HELLO), Peeked::NotTls(_)),
        "a ServerHello"
    );
    assert!(
        matches!(parse(&[22, 3, 1, 0x40, 1], MAX_CLIENT_HELLO), Peeked::NotTls(_)),
        "too long a record"
    );
}

#[test]
fn limit() {
    let bytes = real_hello(Some("api.example.com"), &["h2"]);
    assert_eq!(parse(&bytes[..100], 100), Peeked::TooLarge);
    assert!(
        matches!(parse(&bytes, 100), Peeked::Hello(_)),
        "what is whole is not waited for"
    );
}

#[test]
fn odd_hellos() {
    let sni = |name: &[u8]| {
        let name_length = (name.len() as u16).to_be_bytes();
        let list_length = (name.len() as u16 + 3).to_be_bytes();
        let length = (name.len() as u16 + 5).to_be_bytes();
        [&[0, 0], &length[..], &list_length, &[HOST_NAME], &name_length, name].concat()
    };
    assert_eq!(
        parsed(&crafted(&sni(b"backend{mesh=default}"))).sni.as_deref(),
        Some("backend{mesh=default}")
    );
    assert_eq!(parsed(&crafted(&[])).supported_versions, [0x0303]);
    assert_eq!(
        parsed(&crafted(&[0, 43, 0, 5, 4, 0x3a, 0x3a, 3, 4])).supported_versions,
        [0x0304],
        "GREASE"
    );
    for bad in [
        &sni(b"")[..],
        &sni(b"\xff"),
        &[0, 16, 0, 3, 0, 9, 1],
        &[0, 43, 0, 2, 1, 3],
        &[0, 0, 0],
    ] {
        assert!(
            matches!(parse(&crafted(bad), MAX_CLIENT_HELLO), Peeked::NotTls(_)),
            "{bad:?}"
        );
    }
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = parse(&bytes, MAX_CLIENT_HELLO);
    }

    #[test]
    fn any_damage(at in 0usize..200, value: u8, cut in 0usize..400) {
        let mut bytes = real_hello(Some("api.example.com"), &["h2", "http/1.1"]);
        let at = at % bytes.len();
        bytes[at] = value;
        bytes.truncate(cut.max(1));
        let _ = parse(&bytes, MAX_CLIENT_HELLO);
    }

    /// More bytes never turn TLS into something else, nor the other way round.
    #[test]
    fn decisions_are_final(bytes in proptest::collection::vec(any::<u8>(), 1..100), tls: bool) {
        let bytes = if tls { [&[22, 3, 1, 0, 90, 1][..], &bytes].concat() } else { bytes };
        let mut decided = None;
        for end in 0..=bytes.len() {
            let now = parse(&bytes[..end], MAX_CLIENT_HELLO);
            if let Some(before) = &decided {
                prop_assert_eq!(before, &now);
            } else if now != Peeked::NeedMore {
                decided = Some(now);
            }
        }
    }
}
