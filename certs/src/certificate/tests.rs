use super::*;
use crate::ca::{CertificateAuthority, Template};

fn info(template: &Template) -> CertificateInfo {
    let ca = CertificateAuthority::root("names").unwrap();
    let identity = ca.issue(template).unwrap().identity().unwrap();
    (**identity.certificate()).clone()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn what_is_read() {
    let template = Template {
        uris: vec!["spiffe://td/web".into()],
        dns_names: vec!["web.example".into(), "*.web.example".into()],
        ip_addresses: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        common_name: "web, \"the\" one + more".into(),
        not_before: at(1_700_000_000),
        not_after: at(1_700_086_400),
        ..Template::default()
    };
    let info = info(&template);
    let names: Vec<String> = info.subject_alt_names.iter().map(ToString::to_string).collect();
    let wanted = [
        "URI:spiffe://td/web",
        "DNS:web.example",
        "DNS:*.web.example",
        "IP:10.0.0.1",
        "IP:fd00::1",
    ];
    assert_eq!(names, wanted);
    assert_eq!(info.subject, r#"CN=web\, \"the\" one \+ more"#);
    assert_eq!(info.issuer, "CN=names");
    assert_eq!(info.spiffe_id().unwrap().as_str(), "spiffe://td/web");
    assert_eq!(
        (info.not_before, info.not_after),
        (template.not_before, template.not_after)
    );
    assert_eq!(format_time(info.not_before), "2023-11-14T22:13:20Z");
    // Whole bytes, as BoringSSL prints it: the first digit may be a zero, the first byte is not.
    assert!(!info.serial.starts_with("00") && info.serial.bytes().all(|b| b.is_ascii_hexdigit()));
}

#[test]
fn expiry() {
    let info = info(&Template {
        not_before: at(1_000),
        not_after: at(200_000),
        ..Template::default()
    });
    assert_eq!(info.expires_in_seconds(at(199_000)), 1_000);
    assert_eq!(info.expires_in_seconds(at(200_010)), -10);
    assert_eq!(info.expires_in_seconds(at(200_000) + Duration::from_millis(1)), -1);
    assert_eq!(info.days_until_expiry(at(20_000)), 2);
    assert_eq!(info.days_until_expiry(at(999_999)), 0);
    assert!(info.is_valid_at(at(1_000)) && info.is_valid_at(at(200_000)));
    assert!(!info.is_valid_at(at(999)) && !info.is_valid_at(at(200_001)));
}

#[test]
fn a_second_uri_is_no_spiffe_id() {
    let uris = |list: &[&str]| Template {
        uris: list.iter().map(|u| (*u).into()).collect(),
        ..Template::default()
    };
    assert!(info(&uris(&["spiffe://td/a", "spiffe://td/b"])).spiffe_id().is_none());
    assert!(info(&uris(&["https://td/a"])).spiffe_id().is_none());
}

#[test]
fn broken_der() {
    let ca = CertificateAuthority::root("names").unwrap();
    let der = crate::pem::certificate_chain(ca.certificate_pem().as_bytes())
        .unwrap()
        .remove(0);
    for end in 0..der.len() {
        CertificateInfo::from_der(&der[..end]).unwrap_err();
    }
    let long = [&der[..], b"x"].concat();
    assert_eq!(
        CertificateInfo::from_der(&long).unwrap_err(),
        "1 bytes follow the certificate"
    );
}

/// Made by OpenSSL, whose RFC 2253 output (`-nameopt RFC2253`) is the expectation.
#[test]
fn subjects_as_openssl_prints_them() {
    if std::process::Command::new("openssl").arg("version").output().is_err() {
        assert!(
            std::env::var_os("PILLION_REQUIRE_PEERS").is_none(),
            "openssl is missing"
        );
        println!("skipped: openssl is missing");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (key, pem) = (folder.path().join("key.pem"), folder.path().join("cert.pem"));
    for subject in [
        "/C=US/ST=California/L=San Francisco/O=Lyft/OU=Lyft Engineering/CN=Test Server/emailAddress=a@lyft.com",
        "/CN=#leading/O= spaces /OU=a\\/b",
        "/CN=Jürgen/O=a;b<c>d/serialNumber=42",
        "/CN=one+UID=two/DC=com/street=x/title=y/GN=z",
    ] {
        let run = |arguments: &[&str]| {
            let output = std::process::Command::new("openssl").args(arguments).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let (key, pem) = (key.to_str().unwrap(), pem.to_str().unwrap());
        run(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            key,
            "-out",
            pem,
            "-utf8",
            "-multivalue-rdn",
            "-subj",
            subject,
        ]);
        let printed = run(&["x509", "-in", pem, "-noout", "-subject", "-nameopt", "RFC2253"]);
        let wanted = printed.trim_end().strip_prefix("subject=").unwrap();
        let chain = crate::pem::certificate_chain(&std::fs::read(pem).unwrap()).unwrap();
        assert_eq!(CertificateInfo::from_der(&chain[0]).unwrap().subject, wanted);
    }
}
