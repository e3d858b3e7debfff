//! Cross-origin requests: preflights that the filter answers, and what it tells browsers.

use super::case::{Case, Suite, get, request};
use crate::support::upstream::Reply;

pub fn suite() -> Suite {
    Suite {
        name: "cors",
        bootstrap: include_str!("cors.yaml"),
        cases: preflights().into_iter().chain(requests()).collect(),
    }
}

const GOOD: &str = "origin: https://good.test";
const BAD: &str = "origin: https://bad.test";

fn preflight(name: &'static str, path: &str, origin: &str) -> Case {
    request(name, "OPTIONS", path)
        .header(origin)
        .header("access-control-request-method: GET")
}

fn preflights() -> Vec<Case> {
    vec![
        preflight("preflight", "/full", GOOD),
        preflight("preflight by a suffix", "/full", "origin: https://a.wild.test"),
        preflight("preflight with little to say", "/bare", GOOD),
        preflight("preflight of another origin", "/full", BAD),
        preflight("preflight of another origin, answered", "/strict", BAD),
        preflight("preflight without a policy", "/none", GOOD),
        preflight("preflight, switched off", "/disabled", GOOD),
        preflight("preflight in the shadow", "/shadow", GOOD),
        preflight("preflight for a private network", "/private", GOOD)
            .header("access-control-request-private-network: true"),
        preflight("preflight for no private network", "/bare", GOOD)
            .header("access-control-request-private-network: true"),
        preflight("preflight to a direct response", "/direct", GOOD),
        preflight("preflight by the older field", "/legacy", GOOD),
        preflight("preflight by the older field of the host", "/x", GOOD).host("host.test"),
        preflight("preflight by both older fields", "/legacy", GOOD).host("host.test"),
        preflight("preflight by the host", "/x", GOOD).host("typed.test"),
        request("no preflight without its header", "OPTIONS", "/full").header(GOOD),
        request("no preflight with an empty origin", "OPTIONS", "/full")
            .header("origin:")
            .header("access-control-request-method: GET"),
    ]
}

fn requests() -> Vec<Case> {
    vec![
        get("request", "/full").header(GOOD),
        get("request with little to say", "/bare").header(GOOD),
        get("request of another origin", "/full").header(BAD),
        get("request without origin", "/full"),
        get("request, switched off", "/disabled").header(GOOD),
        get("request in the shadow", "/shadow").header(GOOD),
        get("request whose upstream says it itself", "/full")
            .header(GOOD)
            .reply(Reply::h1(
                "200 OK",
                "access-control-allow-origin: *\r\naccess-control-expose-headers: x-up\r\n",
                "x",
            )),
        get("request to a direct response", "/direct").header(GOOD),
        get("request by both older fields", "/legacy")
            .header(GOOD)
            .host("host.test"),
    ]
}
