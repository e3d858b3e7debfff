use std::time::Duration;

use certs::{SpiffeId, ca::CertificateAuthority};
use serde_json::{Value, json};

use crate::{
    config::{
        from_json::{parsed, patched},
        listener,
        secret::{self, SecretType},
    },
    listener::Listener,
    tls::DownstreamTls,
};

const LISTENER: &str = "envoy.config.listener.v3.Listener";
const SECRET: &str = "envoy.extensions.transport_sockets.tls.v3.Secret";

fn with(context: &Value) -> (Result<Listener, String>, Vec<crate::config::Note>) {
    let context = patched(
        json!({"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"}),
        context,
    );
    let listener = json!({
        "name": "l",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 443}},
        "filter_chains": [{"transport_socket": {"name": "tls", "typed_config": context}}]
    });
    parsed(LISTENER, &listener, listener::parse)
}

fn tls(listener: &Listener) -> &DownstreamTls {
    listener.filter_chains[0].tls.as_ref().unwrap()
}

fn sds(name: &str) -> Value {
    json!({"name": name, "sds_config": {"ads": {}, "initial_fetch_timeout": "0s"}})
}

/// Certificate chain, key and trust anchor of one workload.
struct Workload {
    chain: String,
    key: String,
    ca: String,
}

fn workload() -> Workload {
    let authority = CertificateAuthority::root("test").unwrap();
    let id = SpiffeId::parse("spiffe://example.org/web").unwrap();
    let issued = authority.issue_svid(&id, Duration::from_secs(3600)).unwrap();
    Workload {
        chain: issued.chain_pem,
        key: issued.key_pem,
        ca: authority.bundle().unwrap().to_pem(),
    }
}

const TLS: &str = "filter_chains[0].transport_socket.typed_config";

#[test]
fn inline_material_makes_a_context_at_once() {
    let w = workload();
    let (listener, _) = with(&json!({"require_client_certificate": true, "common_tls_context": {
        "alpn_protocols": ["h2,http/1.1"],
        "tls_certificates": [{"certificate_chain": {"inline_string": w.chain}, "private_key": {"inline_string": w.key}}],
        "validation_context": {"trusted_ca": {"inline_string": w.ca}}
    }}));
    let listener = listener.unwrap();
    let tls = tls(&listener);
    assert!(tls.build(&|_, _| None).unwrap());
    let context = tls.context.load_full().unwrap();
    let id = context.identities()[0].spiffe_id().unwrap().to_string();
    assert_eq!(id, "spiffe://example.org/web");
    assert_eq!(&*tls.config.context.alpn[1], "http/1.1");
    assert_eq!(tls.stats.prefix(), "listener.0.0.0.0_443.ssl.");
}

#[test]
fn material_that_cannot_be_used_is_refused_by_field() {
    let w = workload();
    let other = workload();
    let certificate = |chain: &str, key: &str| {
        json!({"common_tls_context": {"tls_certificates": [
            {"certificate_chain": {"inline_string": chain}, "private_key": {"inline_string": key}}
        ]}})
    };
    for (context, at, said) in [
        (certificate("x", &w.key), "tls_certificates[0].certificate_chain", "no"),
        (certificate(&w.chain, "x"), "tls_certificates[0].private_key", "no"),
        (
            certificate(&w.chain, &other.key),
            "tls_certificates[0].private_key",
            "mixed up",
        ),
    ] {
        let rejection = tls(&with(&context).0.unwrap()).build(&|_, _| None).unwrap_err();
        assert_eq!(
            &*rejection.path,
            format!("{TLS}.common_tls_context.{at}"),
            "{rejection}"
        );
        assert!(rejection.problem.contains(said), "{rejection}");
    }
}

#[test]
fn a_context_waits_for_its_secrets_and_merges_them() {
    let (listener, _) = with(&json!({"common_tls_context": {
        "tls_certificate_sds_secret_configs": [sds("default")],
        "combined_validation_context": {
            "default_validation_context": {"match_typed_subject_alt_names": [
                {"san_type": "URI", "matcher": {"prefix": "spiffe://example.org/"}}
            ]},
            "validation_context_sds_secret_config": sds("ROOTCA")
        }
    }}));
    let listener = listener.unwrap();
    let names: Vec<_> = listener.dependencies.secrets.iter().map(|s| &*s.name).collect();
    assert_eq!(names, ["default", "ROOTCA"]);
    let tls = tls(&listener);
    assert!(!tls.build(&|_, _| None).unwrap() && tls.context.load().is_none());

    let w = workload();
    let load = |value: Value| parsed(SECRET, &value, secret::parse).0.unwrap().load();
    let chain = json!({"certificate_chain": {"inline_string": w.chain}, "private_key": {"inline_string": w.key}});
    let identity = load(json!({"name": "default", "tls_certificate": chain})).unwrap();
    let roots = load(json!({"name": "ROOTCA", "validation_context": {"trusted_ca": {"inline_string": w.ca}}})).unwrap();
    let ready = tls.build(&|secret, kind| match kind {
        SecretType::Certificate if &*secret.name == "default" => Some(identity.clone()),
        SecretType::Validation if &*secret.name == "ROOTCA" => Some(roots.clone()),
        _ => None,
    });
    assert!(ready.unwrap());
    let context = tls.context.load_full().unwrap();
    let validation = context.validation().unwrap();
    assert!(validation.trust.is_some() && validation.san_matchers.len() == 1);

    let broken =
        load(json!({"name": "ROOTCA", "validation_context": {"trusted_ca": {"inline_string": "x"}}})).unwrap_err();
    assert!(
        broken
            .to_string()
            .starts_with("secret \"ROOTCA\": validation_context.trusted_ca: "),
        "{broken}"
    );
}

#[test]
fn what_would_verify_nothing_is_refused() {
    let validation = |context: Value| {
        json!({"common_tls_context": {
            "tls_certificate_sds_secret_configs": [sds("default")],
            "validation_context": context
        }})
    };
    let san = json!([{"san_type": "DNS", "matcher": {"exact": "a"}}]);
    let cases = [
        (json!({}), "common_tls_context.tls_certificates: is empty"),
        (
            validation(json!({"match_typed_subject_alt_names": san})),
            "validation_context.trusted_ca: is required where names",
        ),
        (
            validation(json!({"crl": {"inline_string": "x"}})),
            "validation_context.trusted_ca: is required beside crl",
        ),
        (
            validation(
                json!({"custom_validator_config": {"name": "x", "typed_config": {"@type": "type.googleapis.com/acme.V"}}}),
            ),
            "custom_validator_config.typed_config.@type: the certificate validator acme.V is not known",
        ),
        (
            validation(json!({"verify_certificate_hash": ["zz".repeat(32)]})),
            "verify_certificate_hash[0]",
        ),
    ];
    for (context, said) in cases {
        let refusal = with(&context).0.unwrap_err();
        assert!(refusal.contains(said), "{refusal}");
    }
}

#[test]
fn parameters() {
    let params = |params: Value| {
        let (listener, notes) = with(&json!({"common_tls_context": {
            "tls_certificate_sds_secret_configs": [sds("default")],
            "tls_params": params
        }}));
        (listener.map(|l| tls(&l).config.context.params.is_some()), notes.len())
    };
    assert_eq!(
        params(json!({"ecdh_curves": ["X25519:P-256"], "cipher_suites": ["[ECDHE-RSA-AES128-GCM-SHA256|AES128-SHA]"]})),
        (Ok(true), 1)
    );
    // Envoy takes these, and so do we: it is the handshakes that fail.
    assert_eq!(
        params(json!({"tls_maximum_protocol_version": "TLSv1_1"})),
        (Ok(false), 1)
    );
    let unknown = params(json!({"cipher_suites": ["FOO"]})).0.unwrap_err();
    assert!(
        unknown.contains("tls_params.cipher_suites: cipher suite \"FOO\" is unknown"),
        "{unknown}"
    );
}

#[test]
fn a_static_secret_must_stand_in_the_bootstrap() {
    let (listener, _) = with(&json!({"common_tls_context": {"tls_certificate_sds_secret_configs": [{"name": "s"}]}}));
    let dependencies = listener.unwrap().dependencies;
    assert!(
        dependencies
            .check_static_secrets(|name, kind| name == "s" && kind == SecretType::Certificate)
            .is_ok()
    );
    let missing = dependencies.check_static_secrets(|_, _| false).unwrap_err();
    assert!(
        missing.to_string().contains("the bootstrap has no such secret \"s\""),
        "{missing}"
    );
}
