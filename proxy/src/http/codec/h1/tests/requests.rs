//! Downstream: what one connection does over its life.

use http::{HeaderValue, StatusCode};

use super::{
    super::ServerSettings,
    io::{Script, collect, context, data, head, now, request, request_with, server, written},
};
use crate::{
    cluster::HeaderCase,
    http::{
        codec::CodecError,
        message::{Frame, Incoming},
    },
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_10: &[u8] = b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
const WEBSOCKET: &[u8] = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
const CONNECT: &[u8] = b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n";

fn details(error: &CodecError) -> (u16, &'static str) {
    match error {
        CodecError::Protocol { status, details, .. } => (*status, details),
        other => panic!("{other}"),
    }
}

fn http10() -> ServerSettings {
    ServerSettings {
        accept_http_10: true,
        ..ServerSettings::default()
    }
}

#[test]
fn a_head_has_the_shape_of_http2() {
    let head = request(
        b"GET http://User@Example.com:8080/p?q=1 HTTP/1.1\r\nHost: other\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
          Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip, trailers\r\nX-A: 1\r\nX-A: 2\r\n\r\n",
    )
    .expect("a head");
    assert_eq!(head.authority, "Example.com:8080");
    assert_eq!(head.scheme, "http");
    assert_eq!(head.path, "/p?q=1");
    assert_eq!(head.upgrade, None);
    let mut headers: Vec<_> = head
        .headers
        .iter()
        .map(|(n, v)| format!("{n}: {}", v.to_str().expect("text")))
        .collect();
    headers.sort();
    assert_eq!(headers, ["te: trailers", "x-a: 1", "x-a: 2"]);
}

#[test]
fn an_upgrade_stays_as_written_and_tells_its_body_is_a_tunnel() {
    let mut server = server(Script::new([WEBSOCKET]), ServerSettings::default());
    let head = now(server.poll_request(&mut context()))
        .expect("a request")
        .expect("a head");
    assert_eq!(head.upgrade, Some(HeaderValue::from_static("WebSocket")));
    assert!(server.request_has_body());
}

#[test]
fn bounds_answer_431() {
    let block = |n: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(n));
    // 32 bytes beside the value: Envoy takes 61,440 in all.
    request(block(61_440 - 32).as_bytes()).expect("the largest head");
    let error = request(block(61_440 - 31).as_bytes()).expect_err("one byte more");
    assert_eq!(details(&error), (431, "http1.headers_too_large"));
    let error = request(format!("GET /{}", "a".repeat(61_441)).as_bytes()).expect_err("an endless line");
    assert_eq!(details(&error), (431, "http1.headers_too_large"));

    let many = |n: usize| {
        let lines: String = (0..n).map(|i| format!("X-{i}: v\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
    };
    request(many(99).as_bytes()).expect("a hundred headers, Host included");
    let error = request(many(100).as_bytes()).expect_err("one more");
    assert_eq!(details(&error), (431, "http1.too_many_headers"));
    let few = ServerSettings {
        max_headers_count: 3,
        ..ServerSettings::default()
    };
    let error = request_with(many(3).as_bytes(), few).expect_err("four of three");
    assert_eq!(details(&error), (431, "http1.too_many_headers"));
}

#[test]
fn an_unfinished_head_is_refused_by_its_first_line() {
    let error = request(b"\x16\x03\x01\x02\n").expect_err("a ClientHello with a line feed");
    assert_eq!(details(&error), (400, "http1.codec_error"));
    assert_eq!(
        request(b"GET / HTTP/1.1\r\nHo").expect_err("half a head"),
        CodecError::Closed
    );
}

#[test]
fn http_0_9_has_no_headers() {
    let head = request_with(b"GET /old\r\n\r\n", http10()).expect("a head");
    assert_eq!(
        (head.path.as_bytes(), head.protocol),
        (&b"/old"[..], crate::http::message::Protocol::Http10)
    );
    assert_eq!(
        details(&request(b"GET /old\r\n\r\n").expect_err("not accepted")),
        (426, "low_version")
    );
    let error =
        request_with(b"GET /old\r\nHost: a\r\n\r\n", http10()).expect_err("Envoy takes the rest for another request");
    assert_eq!(details(&error), (400, "http1.codec_error"));
}

#[test]
fn errors_name_the_value() {
    for (bytes, part) in [
        (&b"get / HTTP/1.1\r\nHost: a\r\n\r\n"[..], "\"get / HTTP/1.1"),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "Host \"a b\" has the byte 0x20"),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nX-Y : 1\r\n\r\n",
            "\"X-Y \" is not a token",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nX-Y: \x01\r\n\r\n",
            "header X-Y has a control character",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1,1\r\n\r\n",
            "Content-Length \"1,1\"",
        ),
        (
            b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "\"ftp://a/\" is neither http nor https",
        ),
    ] {
        let sentence = request(bytes).expect_err("malformed").to_string();
        assert!(sentence.contains(part), "{sentence}");
    }
}

#[test]
fn pipelined_requests_come_one_by_one() {
    let both =
        b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: a\r\n\r\n".as_slice();
    let mut server = server(Script::new([both]).ending(), ServerSettings::default());
    assert_eq!(
        now(server.poll_request(&mut context()))
            .expect("first")
            .expect("a head")
            .path,
        "/1"
    );
    assert_eq!(now(collect(|cx| server.poll_body(cx))).expect("a body").data, b"abc");
    server.send_head(&head(200, &[]), true);
    now(server.poll_flush(&mut context())).expect("a write");
    assert!(server.finish_request());
    assert_eq!(
        now(server.poll_request(&mut context()))
            .expect("second")
            .expect("a head")
            .path,
        "/2"
    );
    server.send_head(&head(200, &[]), true);
    assert!(server.finish_request());
    assert!(now(server.poll_request(&mut context())).expect("the end").is_none());
}

#[test]
fn a_request_after_close_is_not_read() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n".as_slice();
    let mut server = server(Script::new([bytes]), ServerSettings::default());
    now(server.poll_request(&mut context()))
        .expect("first")
        .expect("a head");
    server.send_head(&head(200, &[]), true);
    assert!(!server.finish_request());
    assert!(now(server.poll_request(&mut context())).expect("the end").is_none());
}

#[test]
fn an_early_answer_closes() {
    let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab".as_slice();
    assert_eq!(
        written(
            bytes,
            ServerSettings::default(),
            &head(413, &[("content-length", "0")]),
            vec![]
        ),
        "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n<close>"
    );
}

#[test]
fn a_body_that_was_read_already_does_not_close() {
    let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab".as_slice();
    assert_eq!(
        written(bytes, ServerSettings::default(), &head(403, &[]), vec![]),
        "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"
    );
}

#[test]
fn a_disconnect_is_seen_while_the_response_is_awaited() {
    let mut gone = server(Script::new([GET]).ending(), ServerSettings::default());
    now(gone.poll_request(&mut context())).expect("a request");
    assert_eq!(now(gone.poll_closed(&mut context())), CodecError::Closed);

    let mut piping = server(Script::new([GET, GET]), ServerSettings::default());
    now(piping.poll_request(&mut context())).expect("a request");
    assert!(piping.poll_closed(&mut context()).is_pending());
    piping.send_head(&head(200, &[]), true);
    assert!(piping.finish_request());
    assert!(
        now(piping.poll_request(&mut context()))
            .expect("the pipelined request")
            .is_some()
    );
}

#[test]
fn responses_are_framed_as_envoy_frames_them() {
    let default = ServerSettings::default;
    let rows: &[(&[u8], ServerSettings, _, Vec<Frame>, &str)] = &[
        (
            GET,
            default(),
            head(200, &[("content-length", "2")]),
            vec![data("ok")],
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        ),
        (
            GET,
            default(),
            head(200, &[]),
            vec![data("0123456789abcdef"), data("x")],
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\n0123456789abcdef\r\n1\r\nx\r\n0\r\n\r\n",
        ),
        (
            GET,
            default(),
            head(404, &[]),
            vec![],
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            GET,
            default(),
            head(204, &[("content-length", "0")]),
            vec![],
            "HTTP/1.1 204 No Content\r\n\r\n",
        ),
        (
            GET,
            default(),
            head(304, &[("content-length", "9")]),
            vec![],
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
        ),
        (
            GET,
            default(),
            head(304, &[]),
            vec![],
            "HTTP/1.1 304 Not Modified\r\n\r\n",
        ),
        (
            HEAD,
            default(),
            head(200, &[]),
            vec![],
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
        (
            HEAD,
            default(),
            head(200, &[("content-length", "9")]),
            vec![],
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
        ),
        (
            HEAD,
            default(),
            head(200, &[("content-length", "1")]),
            vec![data("x")],
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n",
        ),
        (
            GET_10,
            http10(),
            head(200, &[]),
            vec![data("x")],
            "HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nx<close>",
        ),
        (
            GET_10,
            http10(),
            head(200, &[("content-length", "1")]),
            vec![data("x")],
            "HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\nx",
        ),
        (
            GET,
            default(),
            head(
                200,
                &[
                    ("connection", "x"),
                    ("keep-alive", "x"),
                    ("upgrade", "x"),
                    ("transfer-encoding", "x"),
                    ("proxy-connection", "x"),
                ],
            ),
            vec![],
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            GET,
            ServerSettings {
                header_case: HeaderCase::Proper,
                ..default()
            },
            head(200, &[("x-b_c-d", "1")]),
            vec![data("x")],
            "HTTP/1.1 200 OK\r\nX-B_C-D: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        ),
        (
            GET,
            default(),
            head(799, &[]),
            vec![],
            "HTTP/1.1 799 Unknown\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            GET,
            default(),
            head(200, &[("content-length", "9")]),
            vec![],
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n<close>",
        ),
        // A body that is not as long as promised cannot be followed by another message.
        (
            GET,
            default(),
            head(200, &[("content-length", "3")]),
            vec![data("x")],
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nx<close>",
        ),
        (
            GET,
            default(),
            head(200, &[("content-length", "1")]),
            vec![data("xyz")],
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx<close>",
        ),
    ];
    for (request, settings, head, frames, expected) in rows {
        assert_eq!(written(request, settings.clone(), head, frames.clone()), *expected);
    }
}

#[test]
fn trailers_are_written_where_enabled() {
    let trailers = Frame::Trailers(head(200, &[("x-t", "1")]).headers);
    let frames = vec![data("x"), trailers];
    let start = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n";
    let enabled = ServerSettings {
        enable_trailers: true,
        ..ServerSettings::default()
    };
    assert_eq!(
        written(GET, enabled, &head(200, &[]), frames.clone()),
        format!("{start}x-t: 1\r\n\r\n")
    );
    assert_eq!(
        written(GET, ServerSettings::default(), &head(200, &[]), frames),
        format!("{start}\r\n")
    );
}

#[test]
fn informational_heads_come_first() {
    let mut server = server(Script::new([GET]), ServerSettings::default());
    now(server.poll_request(&mut context())).expect("a request");
    server.send_informational(&head(103, &[("link", "x"), ("content-length", "3")]));
    server.send_head(&head(200, &[]), true);
    now(server.poll_flush(&mut context())).expect("a write");
    let expected = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(String::from_utf8_lossy(&server.io().written), expected);
}

#[test]
fn a_tunnel_carries_bytes_both_ways() {
    for (request, status, answer) in [
        (
            WEBSOCKET,
            101,
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: WebSocket\r\n\r\ndown",
        ),
        (CONNECT, 200, "HTTP/1.1 200 OK\r\n\r\ndown"),
    ] {
        let mut server = server(
            Script::new([request, b"GET / HTTP/1.1\r\n\r\n", b"up"]).ending(),
            ServerSettings::default(),
        );
        now(server.poll_request(&mut context())).expect("a request");
        server.send_head(&head(status, &[]), false);
        server.send_frame(data("down"), false);
        now(server.poll_flush(&mut context())).expect("a write");
        assert_eq!(String::from_utf8_lossy(&server.io().written), answer);
        let mut up = Vec::new();
        let end = loop {
            match now(server.poll_body(&mut context())) {
                Ok(Incoming::Frame(Frame::Data(data))) => up.extend_from_slice(&data),
                other => break other,
            }
        };
        assert_eq!(up, b"GET / HTTP/1.1\r\n\r\nup");
        // A client that ends its half has left, to Envoy.
        assert_eq!(end.err(), Some(CodecError::Closed));
        assert!(!server.should_keep_alive());
    }
}

#[test]
fn a_refused_upgrade_closes() {
    let early = [WEBSOCKET, b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    let mut server = server(Script::new([early.as_slice()]), ServerSettings::default());
    now(server.poll_request(&mut context())).expect("a request");
    server.send_head(&head(403, &[]), true);
    assert!(!server.finish_request());
    assert!(now(server.poll_request(&mut context())).expect("the end").is_none());
}

#[test]
fn an_upgraded_stream_is_given_away_with_what_was_read() {
    let mut server = server(
        Script::new([[WEBSOCKET, b"early"].concat().as_slice()]),
        ServerSettings::default(),
    );
    now(server.poll_request(&mut context())).expect("a request");
    assert_eq!(&server.into_upgraded().1[..], b"early");
}

#[test]
fn large_bodies_are_written_in_order_whatever_a_write_takes() {
    let large: Vec<u8> = (0..100_000_u32).map(|i| i as u8).collect();
    for limit in [1, 7, 2048, 65_536] {
        let mut server = server(
            Script {
                write_limit: limit,
                ..Script::new([GET])
            },
            ServerSettings::default(),
        );
        now(server.poll_request(&mut context())).expect("a request");
        server.send_head(&head(200, &[]), false);
        let mut expected = Vec::new();
        for piece in large.chunks(9_999) {
            server.send_frame(Frame::Data(piece.to_vec().into()), false);
            expected.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            expected.extend_from_slice(piece);
            expected.extend_from_slice(b"\r\n");
        }
        server.send_end();
        expected.extend_from_slice(b"0\r\n\r\n");
        assert!(server.queued() > expected.len());
        now(server.poll_flush(&mut context())).expect("a write");
        assert_eq!(server.queued(), 0);
        assert!(server.io().written.ends_with(&expected), "limit {limit}");
    }
}

#[test]
fn errors_in_a_body_are_answered_and_close() {
    let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n".as_slice();
    let mut server = server(Script::new([bytes]), ServerSettings::default());
    now(server.poll_request(&mut context())).expect("a request");
    assert!(matches!(
        now(server.poll_body(&mut context())),
        Ok(Incoming::Frame(Frame::Data(_)))
    ));
    let error = now(server.poll_body(&mut context())).expect_err("a bad chunk");
    assert_eq!(details(&error), (400, "http1.codec_error"));
    assert!(!server.answered());
    server.send_head(&head(StatusCode::BAD_REQUEST.as_u16(), &[]), true);
    now(server.poll_flush(&mut context())).expect("a write");
    assert!(
        server
            .io()
            .written
            .ends_with(b"connection: close\r\ncontent-length: 0\r\n\r\n")
    );
}
