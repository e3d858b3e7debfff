//! CONNECT where it is configured: the proxy ends it and its payload goes to the cluster.

use super::case::{Suite, h2, raw, send, steps};
use crate::support::h1::Step;
use crate::support::h2c::Request;
use crate::support::message::Kind::Response;

pub fn suite() -> Suite {
    let request = "CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n";
    let cases = vec![
        steps(
            "CONNECT terminated",
            vec![
                send(request),
                Step::Await("200"),
                send("GET /inner HTTP/1.1\r\nhost: i\r\n\r\n"),
                Step::Await("hello"),
                Step::Fin,
            ],
        )
        .kinds(&[Response]),
        h2(
            "CONNECT terminated over HTTP/2",
            Request::get("")
                .method("CONNECT")
                .authority("a.test:443")
                .data_after(50, "GET /inner HTTP/1.1\r\nhost: i\r\n\r\n")
                .data_after(100, ""),
        ),
        raw("GET where CONNECT may be", "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n"),
    ];
    Suite {
        name: "connect",
        bootstrap: include_str!("connect.yaml"),
        cases,
    }
}
