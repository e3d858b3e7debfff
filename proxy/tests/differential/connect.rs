//! CONNECT: ended here, its payload going to the cluster; forwarded; or refused.

use std::time::Duration;

use super::case::{Case, Suite, h2, h2_all, raw, send, steps};
use crate::support::h1::Step;
use crate::support::h2c::Request;
use crate::support::message::Kind::Response;
use crate::support::upstream::{Act, Reply};

pub fn suite() -> Suite {
    let mut cases = ended_here();
    cases.extend(forwarded());
    cases.extend(refused());
    Suite {
        name: "connect",
        bootstrap: include_str!("connect.yaml"),
        cases,
    }
}

const INNER: &str = "GET /inner HTTP/1.1\r\nhost: i\r\n\r\n";

/// A CONNECT that a route knows by `x-to`.
fn asking(to: &str) -> String {
    format!("CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\nx-to: {to}\r\n\r\n")
}

fn asking_h2(to: &str) -> Request {
    Request::get("")
        .method("CONNECT")
        .authority("a.test:443")
        .header("x-to", to)
}

fn ended_here() -> Vec<Case> {
    vec![
        steps(
            "CONNECT terminated",
            vec![
                send(asking("")),
                Step::Await("200"),
                send(INNER),
                Step::Await("hello"),
                Step::Fin,
            ],
        )
        .kinds(&[Response]),
        h2(
            "CONNECT terminated over HTTP/2",
            asking_h2("").data_after(50, INNER).data_after(100, ""),
        ),
        steps(
            "CONNECT with its payload at once",
            vec![send(asking("") + INNER), Step::Await("hello"), Step::Fin],
        ),
        steps(
            "CONNECT whose upstream closes",
            vec![send(asking("") + INNER), Step::Await("bye"), Step::AwaitEnd],
        )
        .reply(Reply::raw("HTTP/1.1 200 OK\r\n\r\nbye").then(Act::Close)),
        h2(
            "CONNECT over HTTP/2 whose upstream closes",
            asking_h2("").data_after(50, INNER).unfinished(),
        )
        .reply(Reply::raw("HTTP/1.1 200 OK\r\n\r\nbye").then(Act::Close)),
        steps(
            "CONNECT whose upstream aborts",
            vec![send(asking("") + INNER), Step::AwaitEnd],
        )
        .reply(Reply::raw("").then(Act::Abort)),
        steps(
            "CONNECT that the client aborts",
            vec![send(asking("") + INNER), Step::Await("hello"), Step::Abort],
        ),
        h2_all(
            "CONNECT twice where one connection may be",
            vec![
                asking_h2("one").data_after(50, INNER).unfinished(),
                asking_h2("one").data_after(200, INNER).unfinished(),
            ],
        )
        .reply(
            Reply::raw("HTTP/1.1 200 OK\r\n\r\nbye")
                .then_sleep(300)
                .then(Act::Close),
        ),
        raw("CONNECT to nothing", asking("dead")),
        h2("CONNECT over HTTP/2 to nothing", asking_h2("dead").unfinished()),
        h2("CONNECT over HTTP/2 that ends with its head", asking_h2("")),
        h2(
            "POST terminated",
            Request::get("/post")
                .method("POST")
                .data_after(50, INNER)
                .data_after(100, ""),
        ),
        raw("GET where CONNECT may be", "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n"),
    ]
}

fn forwarded() -> Vec<Case> {
    let accepted = || Reply::raw("HTTP/1.1 200 OK\r\nx-up: 1\r\n\r\n").then(Act::Echo);
    vec![
        steps(
            "CONNECT forwarded",
            vec![
                send(asking("onwards")),
                Step::Await("200"),
                send("ping"),
                Step::Await("ping"),
                Step::Fin,
            ],
        )
        .reply(accepted()),
        steps(
            "CONNECT forwarded with its payload at once",
            vec![send(asking("onwards") + "ping"), Step::Await("ping"), Step::Fin],
        )
        .reply(accepted()),
        steps("CONNECT forwarded and refused", vec![send(asking("onwards"))]).reply(Reply::h1(
            "403 Forbidden",
            "",
            "no",
        )),
        h2("CONNECT over HTTP/2 that ends before it is answered", asking_h2("slow")).reply(Reply::acts([Act::Hang])),
        h2(
            "CONNECT over HTTP/2 forwarded to HTTP/1",
            asking_h2("onwards").data_after(50, "ping").unfinished(),
        )
        .reply(
            Reply::raw("HTTP/1.1 200 OK\r\n\r\n")
                .then(Act::EchoOnce)
                .then(Act::Close),
        ),
        h2(
            "CONNECT over HTTP/2 that ends the tunnel to HTTP/1",
            asking_h2("onwards").data_after(50, "ping").data_after(100, ""),
        )
        .reply(accepted()),
        h2(
            "CONNECT over HTTP/2 forwarded to HTTP/1 and refused",
            asking_h2("onwards").unfinished(),
        )
        .reply(Reply::h1("403 Forbidden", "", "no")),
        h2(
            "CONNECT over HTTP/2 forwarded",
            asking_h2("onwards-h2").data_after(50, "ping"),
        )
        // The answer's end comes long after the client's bytes: which of them comes first shows in the log.
        .reply(
            Reply::acts([
                Act::Head(200, &[("x-up", "1")]),
                Act::Data(b"pong".to_vec()),
                Act::Sleep(Duration::from_millis(400)),
                Act::End,
            ])
            .early(),
        ),
        steps(
            "CONNECT forwarded to HTTP/2",
            vec![send(asking("onwards-h2")), Step::Await("pong"), Step::AwaitEnd],
        )
        .reply(Reply::acts([Act::Head(200, &[("x-up", "1")]), Act::Data(b"pong".to_vec()), Act::End]).early()),
        h2(
            "CONNECT over HTTP/2 forwarded and refused",
            asking_h2("onwards-h2").unfinished(),
        )
        .reply(Reply::h2(403, &[], "no").early()),
    ]
}

fn refused() -> Vec<Case> {
    vec![
        raw("CONNECT disabled on the route", asking("off")),
        h2("CONNECT over HTTP/2 disabled on the route", asking_h2("off")),
        raw("CONNECT answered by the route", asking("direct")),
        raw("CONNECT not configured", asking("")).on("plain"),
        h2("CONNECT over HTTP/2 not configured", asking_h2("")).on("plain"),
        raw("CONNECT not configured, answered by the route", asking("direct")).on("plain"),
    ]
}
