//! WebSocket and other upgrades, and CONNECT.

use super::case::{Case, Suite, get, h2, raw, send, steps};
use crate::support::h1::Step;
use crate::support::h2c::Request;
use crate::support::upstream::{Act, Reply};

pub fn suite() -> Suite {
    Suite {
        name: "upgrades",
        bootstrap: include_str!("upgrades.yaml"),
        cases: websocket().into_iter().chain(connect()).collect(),
    }
}

const KEY: &str = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13";

fn asking(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a.test\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n{KEY}\r\n\r\n")
}

fn accepted() -> Reply {
    Reply::raw("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n").then(Act::Echo)
}

/// Ends the tunnel after the first echo, for a client that cannot.
fn accepted_once() -> Reply {
    let mut reply = accepted();
    reply.acts.splice(1.., [Act::EchoOnce, Act::Close]);
    reply
}

fn websocket() -> Vec<Case> {
    let talk = |path: &str| {
        vec![
            send(asking(path)),
            Step::Await("101"),
            send("ping"),
            Step::Await("ping"),
            send("pong"),
            Step::Await("pong"),
        ]
    };
    vec![
        steps("accepted", talk("/")).reply(accepted()),
        steps("on a rewritten route", talk("/rewritten")).reply(accepted()),
        steps("client half closes the tunnel", [talk("/"), vec![Step::Fin]].concat()).reply(accepted()),
        steps("client leaves the tunnel", [talk("/"), vec![Step::Abort]].concat()).reply(accepted()),
        steps(
            "upstream closes the tunnel",
            vec![send(asking("/")), Step::Await("bye"), Step::AwaitEnd],
        )
        .reply(
            Reply::raw("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nbye")
                .then_sleep(20)
                .then(Act::Close),
        ),
        steps(
            "data behind the request",
            vec![send(asking("/") + "early"), Step::Await("early")],
        )
        .reply(accepted()),
        steps("refused by the upstream", vec![send(asking("/"))]).reply(Reply::h1("403 Forbidden", "", "no")),
        steps("answered with 200", vec![send(asking("/"))]),
        steps("not allowed on the route", vec![send(asking("/off"))]).reply(accepted()),
        steps("not allowed on the listener", vec![send(asking("/"))])
            .on("plain")
            .reply(accepted()),
        steps(
            "a type that is not configured",
            vec![send(asking("/").replace("WebSocket", "other"))],
        )
        .reply(accepted()),
        steps(
            "a type that the route allows",
            vec![
                send(asking("/other").replace("WebSocket", "chat")),
                Step::Await("101"),
                send("ping"),
                Step::Await("ping"),
            ],
        )
        .reply(
            Reply::raw("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n")
                .then(Act::Echo),
        ),
        steps(
            "two types",
            vec![send(asking("/").replace("WebSocket", "other, websocket"))],
        )
        .reply(accepted()),
        steps(
            "with a body",
            vec![send(
                asking("/").replace("\r\n\r\n", "\r\ncontent-length: 3\r\n\r\nabc"),
            )],
        )
        .reply(Reply::h1("400 Bad Request", "", "no").early()),
        steps(
            "a timeout does not end a tunnel",
            vec![
                send(asking("/timed")),
                Step::Await("101"),
                Step::Sleep(std::time::Duration::from_millis(500)),
                send("ping"),
                Step::Await("ping"),
            ],
        )
        .reply(accepted()),
        steps("a timeout before the answer", vec![send(asking("/timed"))]).reply(Reply::acts([Act::Hang])),
        steps("HTTP/1 to HTTP/2", talk("/h2")).reply(Reply::acts([Act::Head(200, &[]), Act::Echo])),
        steps("HTTP/1 to HTTP/2, refused", vec![send(asking("/h2"))]).reply(Reply::h2(403, &[], "no").early()),
        h2(
            "HTTP/2 to HTTP/1",
            Request::get("/")
                .method("CONNECT")
                .protocol("websocket")
                .data_after(100, "ping"),
        )
        .reply(accepted_once()),
        h2(
            "HTTP/2 to HTTP/1, refused",
            Request::get("/")
                .method("CONNECT")
                .protocol("websocket")
                .data_after(100, "ping"),
        )
        .reply(Reply::h1("403 Forbidden", "", "no")),
        h2(
            "HTTP/2 to HTTP/2",
            Request::get("/h2")
                .method("CONNECT")
                .protocol("websocket")
                .data_after(100, "ping"),
        )
        .reply(Reply::acts([Act::Head(200, &[]), Act::Echo])),
        h2(
            "HTTP/2 with a type that is not configured",
            Request::get("/")
                .method("CONNECT")
                .protocol("other")
                .data_after(100, "ping"),
        )
        .reply(accepted()),
        get("connection: upgrade alone", "/").header("connection: upgrade"),
    ]
}

fn connect() -> Vec<Case> {
    let request = "CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n";
    vec![
        raw("CONNECT by default", request),
        raw("CONNECT with a path", "CONNECT /x HTTP/1.1\r\nhost: a.test\r\n\r\n"),
        raw(
            "CONNECT with a length",
            "CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\ncontent-length: 0\r\n\r\n",
        ),
    ]
}
