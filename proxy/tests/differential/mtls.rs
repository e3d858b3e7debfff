//! What is told of a client's certificate: XFCC, header edits, access logs. The proxy is its own TLS client: a plaintext
//! listener sends to listeners that terminate TLS.

use super::case::{Case, Suite, get};

pub fn suite() -> Suite {
    Suite {
        name: "mtls",
        bootstrap: include_str!("mtls.yaml"),
        cases: with_certificate().into_iter().chain(without()).collect(),
    }
}

const XFCC: &str = "x-forwarded-client-cert: By=spiffe://td/a;Hash=00;URI=spiffe://td/b";

fn with_certificate() -> Vec<Case> {
    vec![
        get("XFCC sanitised", "/sanitize").header(XFCC),
        get("XFCC forwarded", "/forward").header(XFCC),
        get("nothing to forward", "/forward"),
        get("XFCC appended", "/append").header(XFCC),
        get("XFCC appended to nothing", "/append"),
        get("XFCC set", "/set").header(XFCC),
        get("XFCC always forwarded", "/always").header(XFCC),
        get("XFCC with everything", "/all").header(XFCC),
        get("a certificate that nobody asked for", "/optional").header(XFCC),
        get("route for a certificate", "/append").header("x-mutual: 1"),
    ]
}

fn without() -> Vec<Case> {
    vec![
        get("no certificate where one is optional", "/bare-optional").header(XFCC),
        get("no route for a missing certificate", "/bare-optional").header("x-mutual: 1"),
    ]
}
