//! Tokens: where they may stand, who signed them, what they allow, and what becomes of them.

use super::case::{Case, Suite, get, request};
use super::jwt_tokens::*;

pub fn suite() -> Suite {
    let mut cases = tokens();
    cases.extend(places());
    cases.extend(requirements());
    cases.extend(consequences());
    let on_jwt = |case: Case| match case.listener {
        "main" => case.on("jwt"),
        _ => case,
    };
    Suite {
        name: "jwt",
        bootstrap: include_str!("jwt.yaml"),
        cases: cases.into_iter().map(on_jwt).collect(),
    }
}

fn bearer(name: &'static str, path: &str, token: &str) -> Case {
    get(name, path).header(&format!("authorization: Bearer {token}"))
}

fn tokens() -> Vec<Case> {
    let plain = |name, token: &str| bearer(name, "/plain/x", token);
    vec![
        get("no token", "/plain/x"),
        get("no token, with a query", "/plain/x?y=z"),
        plain("RS256", RS256),
        plain("PS256", PS256),
        plain("ES256", ES256),
        plain("ES384", ES384),
        plain("EdDSA", EDDSA),
        plain("no kid", NO_KID),
        plain("an unknown kid", UNKNOWN_KID),
        plain("not signed", UNSIGNED),
        plain("forged", FORGED),
        plain("expired", EXPIRED),
        plain("not yet valid", NOT_YET),
        plain("of another issuer", OTHER_ISSUER),
        plain("of no issuer", NO_ISSUER),
        plain("no token at all", "rubbish"),
        plain("three parts of rubbish", "a.b.c"),
        plain("exp is text", BAD_EXP),
        plain("aud is a number", BAD_AUD),
        bearer("any issuer", "/any_issuer/x", OTHER_ISSUER),
        bearer("audience", "/audience/x", ES256),
        bearer("another audience", "/audience/x", OTHER_AUDIENCE),
        bearer("no audience", "/audience/x", NO_AUDIENCE),
        bearer("subject", "/subject/x", ES256),
        bearer("another subject", "/subject/x", OTHER_SUBJECT).header("x-y: z"),
        bearer("no expiry where it is wanted", "/expiring/x", NO_EXPIRY),
        bearer("expiry where it is wanted", "/expiring/x", ES256),
        bearer("too long a life", "/short/x", ES256),
        bearer("remote keys", "/remote/x", ES256),
        bearer("remote keys, kept", "/remote/x", RS256),
        bearer("remote keys that do not come", "/unreachable/x", ES256),
        get("failure with a stripped answer", "/x").on("strict"),
        bearer("failure of a token with a stripped answer", "/x", EXPIRED).on("strict"),
        get("no token, and gRPC", "/plain/x").header("content-type: application/grpc"),
        request("no token, with a body", "POST", "/plain/x").body("body"),
        request("token and a body", "POST", "/plain/x")
            .header(&format!("authorization: Bearer {ES256}"))
            .body("body"),
    ]
}

fn places() -> Vec<Case> {
    vec![
        get(
            "in the default parameter",
            &format!("/plain/x?a=b&access_token={ES256}&c=d"),
        ),
        get(
            "in the default parameter alone",
            &format!("/plain/x?access_token={ES256}"),
        ),
        get("bearer in lower case", "/plain/x").header(&format!("authorization: bearer {ES256}")),
        get("in a header", "/places/x").header(&format!("x-token: {ES256}")),
        get("behind a prefix", "/places/x").header(&format!("x-prefixed: tok={ES256}")),
        get("in a parameter", &format!("/places/x?jwt={ES256}")),
        get("in a cookie", "/places/x").header(&format!("cookie: a=b; session={ES256}")),
        get("in a place that is not named", "/places/x").header(&format!("authorization: Bearer {ES256}")),
        get("one good, one bad", &format!("/places/x?jwt={EXPIRED}")).header(&format!("x-token: {ES256}")),
        get("taken out of the query", &format!("/param/x?q=1&jwt={ES256}&r=2")),
    ]
}

fn requirements() -> Vec<Case> {
    vec![
        bearer("audience of the requirement", "/both/audience", ES256),
        bearer("not the audience of the requirement", "/both/none", ES256),
        bearer("either: the first", "/either", ES256),
        bearer("either: the second", "/either", OTHER_ISSUER),
        bearer("either: neither", "/either", EXPIRED),
        get("either: nothing", "/either"),
        get("may be missing", "/optional"),
        bearer("may be missing, and is good", "/optional", ES256),
        bearer("may be missing, and is bad", "/optional", EXPIRED),
        bearer("may be missing, and is of another issuer", "/optional", OTHER_ISSUER),
        get("may fail: missing", "/lenient"),
        bearer("may fail: good", "/lenient", ES256),
        bearer("may fail: bad", "/lenient", FORGED),
        bearer("both: one is missing", "/two", ES256),
        bearer("both", "/two", ES256).header(&format!("x-token: {RS256}")),
        get("anything: nothing", "/anything"),
        bearer("anything: bad", "/anything", EXPIRED),
        get("by a name", "/named"),
        bearer("by a name, good", "/named", ES256),
        get("a rule without requirement", "/free"),
        get("no rule", "/elsewhere"),
        get("a route without the filter", "/plain/off"),
        get("a route with its own requirement", "/free/mapped"),
        get("a route with a requirement that is not there", "/free/unknown"),
        request("a preflight passes", "OPTIONS", "/plain/x")
            .header("origin: https://x.test")
            .header("access-control-request-method: GET"),
        request("no preflight without its header", "OPTIONS", "/plain/x").header("origin: https://x.test"),
    ]
}

fn consequences() -> Vec<Case> {
    vec![
        bearer("claims become headers", "/claims/x", ES256).header("x-sub: forged"),
        get("headers of claims do not come from clients", "/optional")
            .header("x-sub: forged")
            .header("x-payload: forged"),
        bearer("the payload, padded", "/padded/x", ES256),
        bearer("the payload in metadata", "/metadata/x", ES256),
        bearer("another route by a claim", "/rerouted/x", ES256),
    ]
}
