//! WebSocket and other upgrades, and CONNECT.

use super::case::{Case, Suite, get, h2, raw, send, steps};
use crate::support::h1::Step;
use crate::support::h2c::Request;
use crate::support::upstream::{Act, Reply};

pub fn suite() -> Suite {
    Suite {
        name: "upgrades",
        bootstrap: include_str!("upgrades.yaml"),
        cases: websocket().into_iter().chain(variants()).chain(connect()).collect(),
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

fn talk(path: &str) -> Vec<Step> {
    vec![
        send(asking(path)),
        Step::Await("101"),
        send("ping"),
        Step::Await("ping"),
        send("pong"),
        Step::Await("pong"),
    ]
}

fn websocket() -> Vec<Case> {
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

/// What the client writes around the upgrade, and what the upstream says instead of a plain yes.
fn variants() -> Vec<Case> {
    let written = |name, connection: &str| {
        steps(
            name,
            vec![
                send(asking("/").replace("Connection: Upgrade", connection)),
                Step::Await("101"),
                send("ping"),
                Step::Await("ping"),
            ],
        )
        .reply(accepted())
    };
    let answered = |name, path: &str, head: &str| {
        steps(name, vec![send(asking(path))]).reply(Reply::raw(format!("HTTP/1.1 {head}\r\n\r\n")))
    };
    let chat = |path: &str| asking(path).replace("WebSocket", "chat");
    vec![
        written("among other connection options", "Connection: keep-alive, Upgrade"),
        written(
            "beside a nominated header",
            "Connection: x-drop, Upgrade\r\nx-drop: 1\r\nx-keep: 2",
        ),
        written(
            "beside a guarded header",
            "Connection: x-forwarded-for, Upgrade\r\nx-forwarded-for: 1.2.3.4",
        ),
        written("in two lines", "Connection: keep-alive\r\nConnection: upgrade"),
        written("beside close", "Connection: upgrade, close"),
        answered(
            "answered with a redirect",
            "/",
            "302 Found\r\nlocation: /x\r\nx-up: 1\r\nset-cookie: a=b\r\ncontent-length: 0",
        ),
        answered("answered with 204", "/", "204 No Content"),
        answered(
            "answered with 426",
            "/",
            "426 Upgrade Required\r\nupgrade: websocket\r\ncontent-length: 0",
        ),
        answered(
            "answered with 500",
            "/",
            "500 Internal Server Error\r\ncontent-length: 0",
        ),
        answered("answered with 101 without upgrade", "/", "101 Switching Protocols"),
        answered(
            "answered with 101 without connection",
            "/",
            "101 Switching Protocols\r\nupgrade: websocket",
        ),
        answered(
            "answered with 101 to something else",
            "/",
            "101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat",
        ),
        steps(
            "answered with an interim response first",
            vec![send(asking("/")), Step::Await("101")],
        )
        .reply(
            Reply::raw("HTTP/1.1 100 Continue\r\n\r\n")
                .then_raw("HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n")
                .then(Act::Echo),
        ),
        steps("another type answered with 200", vec![send(chat("/other"))]),
        steps("another type refused", vec![send(chat("/other"))]).reply(Reply::h1("403 Forbidden", "", "no")),
        steps(
            "another type with data behind the request",
            vec![send(chat("/other") + "early"), Step::Await("early")],
        )
        .reply(
            Reply::raw("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n")
                .then(Act::Echo),
        ),
        steps("on a route that matches the header", talk("/matched")).reply(accepted()),
        get("no upgrade on a route that matches the header", "/matched"),
        steps(
            "retried",
            vec![
                send(asking("/retried")),
                Step::Await("101"),
                send("ping"),
                Step::Await("ping"),
            ],
        )
        .reply(Reply::h1("503 Service Unavailable", "", "no"))
        .reply(accepted()),
        steps("the upstream leaves before it answers", vec![send(asking("/"))]).reply(Reply::acts([Act::Close])),
        h2(
            "HTTP/2 to HTTP/1, no upgrade in the answer",
            Request::get("/").method("CONNECT").protocol("websocket").unfinished(),
        ),
        h2(
            "HTTP/2 to a direct response",
            Request::get("/direct")
                .method("CONNECT")
                .protocol("websocket")
                .unfinished(),
        ),
        h2(
            "HTTP/2 to an unknown host",
            Request::get("/")
                .authority("nobody.test")
                .method("CONNECT")
                .protocol("websocket")
                .unfinished(),
        ),
        h2(
            "HTTP/2 refused, unfinished",
            Request::get("/").method("CONNECT").protocol("other").unfinished(),
        ),
        h2(
            "HTTP/2 refused at once, then data",
            Request::get("/off").method("POST").data_after(100, "ping"),
        ),
        h2(
            "HTTP/2 refused, complete",
            Request::get("/").method("CONNECT").protocol("other").data(""),
        ),
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
