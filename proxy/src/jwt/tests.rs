use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::json;

use super::*;

/// Of RFC 7515, A.1.
const SECRET: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
const HS256: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
    eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
    dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// Of RFC 8037, A.4.
const ED25519_KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn unsigned(header: &Value, payload: &Value) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.AA", part(header), part(payload))
}

fn denied(header: &Value, payload: &Value) -> Denial {
    Jwt::parse(&unsigned(header, payload)).unwrap_err()
}

fn octets(kid: Option<&str>, alg: Option<&str>) -> Jwks {
    let mut key = json!({"kty": "oct", "k": SECRET});
    if let Some(kid) = kid {
        key["kid"] = kid.into();
    }
    if let Some(alg) = alg {
        key["alg"] = alg.into();
    }
    Jwks::parse(json!({"keys": [key]}).to_string().as_bytes()).unwrap()
}

#[test]
fn a_known_token_is_verified() {
    let jwt = Jwt::parse(HS256).unwrap();
    assert_eq!((&*jwt.issuer, jwt.expires), ("joe", Some(1_300_819_380)));
    assert_eq!(octets(None, None).verify(&jwt), Ok(()));
    assert_eq!(octets(Some("any"), Some("HS256")).verify(&jwt), Ok(()));
    assert_eq!(octets(None, Some("HS512")).verify(&jwt), Err(Denial::NoMatchingKey));
    let mut forged = Jwt::parse(HS256).unwrap();
    forged.signature[0] ^= 1;
    assert_eq!(octets(None, None).verify(&forged), Err(Denial::Verification));
}

#[test]
fn an_algorithm_is_never_that_of_another_kind_of_key() {
    // A public key must not be taken for the secret of an HMAC.
    let key = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": ED25519_KEY}]});
    let keys = Jwks::parse(key.to_string().as_bytes()).unwrap();
    assert_eq!(keys.verify(&Jwt::parse(HS256).unwrap()), Err(Denial::Verification));
    assert_eq!(denied(&json!({"alg": "none"}), &json!({})), Denial::UnknownAlg);
}

#[test]
fn what_is_malformed_is_said() {
    let parsed = |token: &str| Jwt::parse(token).unwrap_err();
    assert_eq!(parsed("a.b"), Denial::BadFormat);
    assert_eq!(parsed("a.b.c.d"), Denial::BadFormat);
    assert_eq!(parsed("!.b.c"), Denial::HeaderBase64);
    assert_eq!(parsed("YQ.b.c"), Denial::HeaderJson);
    let alg = json!({"alg": "ES256"});
    assert_eq!(denied(&json!({}), &json!({})), Denial::HeaderAlg);
    assert_eq!(
        denied(&json!({"alg": "ES256", "kid": 1}), &json!({})),
        Denial::HeaderKid
    );
    let claim = |payload: &Value| denied(&alg, payload).text();
    assert_eq!(claim(&json!({"iss": 1})), "Jwt payload [iss] field is not a string");
    assert_eq!(claim(&json!({"exp": "1"})), "Jwt payload [exp] field is not an integer");
    assert_eq!(
        claim(&json!({"exp": -1})),
        "Jwt payload [exp] field is not a positive 64 bit integer"
    );
    assert_eq!(
        claim(&json!({"aud": ["a", 1]})),
        "Jwt payload [aud] field is not a string or string list"
    );
}

#[test]
fn time_is_kept_with_its_skew() {
    let jwt = Jwt::parse(&unsigned(&json!({"alg": "ES256"}), &json!({"nbf": 100, "exp": 200}))).unwrap();
    assert_eq!(jwt.check_time(39, 60), Err(Denial::NotYetValid));
    assert_eq!(jwt.check_time(40, 60), Ok(()));
    assert_eq!(jwt.check_time(260, 60), Ok(()));
    assert_eq!(jwt.check_time(261, 60), Err(Denial::Expired));
}

#[test]
fn claims_become_text() {
    let payload = json!({"a": {"b": "x"}, "n": 7, "f": 1.5, "t": true, "l": [1], "z": null});
    let jwt = Jwt::parse(&unsigned(&json!({"alg": "ES256"}), &payload)).unwrap();
    let text = |path: &str| jwt.claim_text(path.split('.')).map(Cow::into_owned);
    assert_eq!(text("a.b").as_deref(), Some("x"));
    assert_eq!(text("n").as_deref(), Some("7"));
    assert_eq!(text("f").as_deref(), Some("1.500000"));
    assert_eq!(text("t").as_deref(), Some("true"));
    assert_eq!(text("l").as_deref(), Some("WzFd"));
    assert_eq!((text("z"), text("a.c"), text("q")), (None, None, None));
}

#[test]
fn key_sets_say_what_they_lack() {
    let refused = |text: &str| Jwks::parse(text.as_bytes()).unwrap_err();
    assert_eq!(refused("{"), "Jwks is an invalid JSON");
    assert_eq!(refused("{}"), "Jwks does not have [keys] field");
    assert_eq!(
        refused("{\"keys\": [{\"kty\": \"XX\"}]}"),
        "Jwks doesn't have any valid public key"
    );
}
