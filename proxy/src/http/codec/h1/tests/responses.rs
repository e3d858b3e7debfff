//! Upstream: exchanges, reuse, and answers that break off.

use http::{Method, StatusCode};

use super::{
    super::{ClientSettings, ServerSettings},
    io::{Script, client, collect, context, data, now, plain_get, request, request_with, response_to},
};
use crate::{
    cluster::HeaderCase,
    http::{
        codec::CodecError,
        message::{Frame, Incoming, RequestHead},
    },
};

fn sent(head: &RequestHead, frames: Vec<Frame>, settings: ClientSettings) -> String {
    let mut client = client(Script::default(), settings);
    let end = frames.is_empty();
    client.send_head(head, end);
    let last = frames.len().saturating_sub(1);
    for (i, frame) in frames.into_iter().enumerate() {
        client.send_frame(frame, i == last);
    }
    now(client.poll_flush(&mut context())).expect("a write");
    String::from_utf8_lossy(&client.io().written).into_owned()
}

#[test]
fn requests_are_framed_as_envoy_frames_them() {
    let get = plain_get();
    assert_eq!(
        sent(&get, vec![], ClientSettings::default()),
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n"
    );
    assert_eq!(
        sent(&get, vec![data("x")], ClientSettings::default()),
        "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    );
    let post = RequestHead {
        method: Method::POST,
        ..get.clone()
    };
    let length = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(sent(&post, vec![], ClientSettings::default()), length);
    let absolute = ClientSettings {
        send_fully_qualified_url: true,
        ..ClientSettings::default()
    };
    assert_eq!(
        sent(&get, vec![], absolute),
        "GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n"
    );
    let proper = ClientSettings {
        header_case: HeaderCase::Proper,
        ..ClientSettings::default()
    };
    assert_eq!(
        sent(&post, vec![], proper),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn spelling_is_kept_and_the_proxys_own_headers_are_lower_case() {
    let settings = ServerSettings {
        header_case: HeaderCase::Preserve,
        ..ServerSettings::default()
    };
    let bytes = b"GET / HTTP/1.1\r\nUser-AGENT: x\r\nHOST: a\r\nAccept: */*\r\nx-lower: 1\r\n\r\n";
    let mut head = request_with(bytes, settings).expect("a head");
    head.headers.insert("x-request-id", http::HeaderValue::from_static("1"));
    assert_eq!(
        sent(&head, vec![], ClientSettings::default()),
        "GET / HTTP/1.1\r\nHOST: a\r\nUser-AGENT: x\r\nAccept: */*\r\nx-lower: 1\r\nx-request-id: 1\r\n\r\n"
    );
}

#[test]
fn bodies_end_where_the_head_says() {
    let get = plain_get();
    for (bytes, expected) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"[..], &b"ok"[..]),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\nX-T: 1\r\n\r\n", b"ok"),
        (b"HTTP/1.1 200 OK\r\n\r\nok", b"ok"),
        (b"HTTP/1.0 200 OK\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ] {
        let (_, body) = response_to(&get, bytes).expect("a response");
        assert_eq!(body.data, expected, "{}", String::from_utf8_lossy(bytes));
    }
    let head = RequestHead {
        method: Method::HEAD,
        ..get
    };
    let (response, body) = response_to(&head, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n").expect("a response");
    assert_eq!(
        (response.headers["content-length"].as_bytes(), body.data.len()),
        (&b"9"[..], 0)
    );
}

#[test]
fn a_connection_is_reusable_only_after_whole_messages() {
    for (bytes, reusable) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"[..], true),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            true,
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", true),
        (
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
            true,
        ),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
        (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
            false,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n",
            false,
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n", false),
    ] {
        let mut client = client(Script::new([bytes]), ClientSettings::default());
        client.send_head(&plain_get(), true);
        now(client.poll_flush(&mut context())).expect("a write");
        assert!(!client.is_reusable());
        now(client.poll_head(&mut context())).expect("a head");
        now(collect(|cx| client.poll_body(cx))).expect("a body");
        assert_eq!(client.is_reusable(), reusable, "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn an_answer_before_the_requests_end_makes_the_connection_unusable() {
    let response = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n".as_slice();
    let mut client = client(Script::new([response]), ClientSettings::default());
    let post = RequestHead {
        method: Method::POST,
        ..plain_get()
    };
    client.send_head(&post, false);
    client.send_frame(data("part"), false);
    now(client.poll_flush(&mut context())).expect("a write");
    let (head, end) = now(client.poll_head(&mut context())).expect("a head");
    assert_eq!((head.status, end), (StatusCode::PAYLOAD_TOO_LARGE, true));
    assert!(!client.is_reusable());
    client.send_end();
    now(client.poll_flush(&mut context())).expect("a write");
    assert!(client.is_reusable());
}

#[test]
fn a_request_that_was_shorter_than_promised_makes_the_connection_unusable() {
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".as_slice();
    for frames in [vec![], vec![data("x")]] {
        let mut client = client(Script::new([response]), ClientSettings::default());
        let mut post = plain_get();
        post.headers
            .insert("content-length", http::HeaderValue::from_static("3"));
        client.send_head(&post, frames.is_empty());
        for frame in frames {
            client.send_frame(frame, true);
        }
        now(client.poll_flush(&mut context())).expect("a write");
        now(client.poll_head(&mut context())).expect("a head");
        assert!(client.body_complete());
        assert!(!client.is_reusable());
    }
}

#[test]
fn staleness_is_seen_before_reuse() {
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".as_slice();
    let exchange = |script: Script| {
        let mut client = client(script, ClientSettings::default());
        client.send_head(&plain_get(), true);
        now(client.poll_flush(&mut context())).expect("a write");
        now(client.poll_head(&mut context())).expect("a head");
        assert!(client.is_reusable());
        client
    };
    assert!(!exchange(Script::new([response])).is_stale());
    assert!(exchange(Script::new([response]).ending()).is_stale());
    let mut noisy = exchange(Script::new([response, b"HTTP/1.1 408 Timeout\r\n\r\n"]));
    assert!(noisy.is_stale());
    assert!(!noisy.is_reusable());
}

#[test]
fn what_broke_off_tells_whether_anything_came() {
    let fails = |bytes: &[u8]| {
        let mut client = client(Script::new([bytes]).ending(), ClientSettings::default());
        client.send_head(&plain_get(), true);
        let error =
            now(client.poll_head(&mut context())).and_then(|_| now(collect(|cx| client.poll_body(cx))).map(drop));
        (error.expect_err("it broke off"), client.received())
    };
    assert_eq!(fails(b""), (CodecError::Closed, 0));
    for bytes in [
        &b"HTTP/1.1 200 OK\r\nCont"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\npa",
    ] {
        let (error, received) = fails(bytes);
        assert_eq!(received, bytes.len() as u64);
        assert!(matches!(error, CodecError::Protocol { status: 502, .. }), "{error:?}");
    }
}

#[test]
fn a_tunnel_starts_with_its_answer() {
    let upgrade =
        request(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").expect("a head");
    let connect = request(b"CONNECT h:80 HTTP/1.1\r\n\r\n").expect("a head");
    for (asked, answer) in [
        (
            &upgrade,
            &b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nHTTP"[..],
        ),
        (&connect, b"HTTP/1.1 200 OK\r\n\r\nHTTP"),
    ] {
        let mut client = client(Script::new([answer]), ClientSettings::default());
        client.send_head(asked, false);
        let (_, end) = now(client.poll_head(&mut context())).expect("a head");
        assert!(!end);
        assert!(
            matches!(now(client.poll_body(&mut context())), Ok(Incoming::Frame(Frame::Data(bytes))) if bytes == "HTTP")
        );
        client.send_frame(data("raw"), false);
        now(client.poll_flush(&mut context())).expect("a write");
        assert!(client.io().written.ends_with(b"\r\n\r\nraw"));
        assert!(!client.is_reusable());
    }
}

#[test]
fn a_refused_tunnel_sends_nothing_more() {
    let connect = request(b"CONNECT h:80 HTTP/1.1\r\n\r\n").expect("a head");
    let mut client = client(
        Script::new([b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n".as_slice()]),
        ClientSettings::default(),
    );
    client.send_head(&connect, false);
    now(client.poll_flush(&mut context())).expect("a write");
    now(client.poll_head(&mut context())).expect("a head");
    client.send_frame(data("GET /smuggled HTTP/1.1\r\n\r\n"), true);
    assert_eq!(client.queued(), 0);
    assert!(!client.is_reusable());
}

#[test]
fn the_bound_on_response_heads_is_envoys() {
    let response = |n: usize| format!("HTTP/1.1 204 No Content\r\nX: {}\r\n\r\n", "a".repeat(n));
    response_to(&plain_get(), response(80 * 1024 - 32).as_bytes()).expect("the largest head");
    response_to(&plain_get(), response(80 * 1024 - 31).as_bytes()).expect_err("one byte more");
}
