//! What is decoded does not depend on how the bytes were cut.

use proptest::prelude::*;

use super::{
    super::{ClientSettings, ServerSettings},
    io::{Script, Seen, Whole, client, collect, context, now, plain_get, server},
};

/// All requests on a connection, as text, and how it ended.
fn requests(segments: Vec<&[u8]>) -> Vec<String> {
    let settings = ServerSettings {
        enable_trailers: true,
        accept_http_10: true,
        ..ServerSettings::default()
    };
    let mut server = server(Script::new(segments).ending(), settings);
    let mut seen = Vec::new();
    loop {
        match now(server.poll_request(&mut context())) {
            Ok(Some(head)) => seen.push(format!("{head:?}")),
            Ok(None) => return seen,
            Err(error) => {
                seen.push(format!("{error:?}"));
                return seen;
            }
        }
        let body = now(collect(|cx| server.poll_body(cx)));
        let failed = body.is_err();
        seen.push(format!("{body:?}"));
        if failed || !server.finish_request() {
            return seen;
        }
    }
}

fn response(segments: Vec<&[u8]>) -> String {
    let settings = ClientSettings {
        enable_trailers: true,
        ..ClientSettings::default()
    };
    let mut client = client(Script::new(segments).ending(), settings);
    client.send_head(&plain_get(), true);
    let mut seen = String::new();
    loop {
        let head = now(client.poll_head(&mut context()));
        seen.push_str(&format!("{head:?}\n"));
        match head {
            Ok((head, _)) if head.status.is_informational() => {}
            Ok(_) => break,
            Err(_) => return seen,
        }
    }
    let body: Seen<Whole> = now(collect(|cx| client.poll_body(cx)));
    format!("{seen}{body:?}")
}

const REQUESTS: &[&[u8]] = &[
    b"\r\nGET /a?b HTTP/1.1\r\nHost: a\r\nX-A: b\r\n folded\r\nX-B: c\rd\r\n\r\nGET /2 HTTP/1.1\nHost: a\n\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0a \r\n0123456789\r\n0\r\nX-T: 1\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello",
    b"GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n",
];

const RESPONSES: &[&[u8]] = &[
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\tc\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX T: 1\r\n\r\n",
    b"HTTP/1.0 200\r\n\r\nuntil the end",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
];

#[test]
fn every_cut_gives_the_same() {
    for bytes in REQUESTS {
        let whole = requests(vec![bytes]);
        assert_eq!(requests(bytes.chunks(1).collect()), whole);
        for cut in 1..bytes.len() {
            assert_eq!(requests(vec![&bytes[..cut], &bytes[cut..]]), whole, "cut at {cut}");
        }
    }
    for bytes in RESPONSES {
        let whole = response(vec![bytes]);
        assert_eq!(response(bytes.chunks(1).collect()), whole);
        for cut in 1..bytes.len() {
            assert_eq!(response(vec![&bytes[..cut], &bytes[cut..]]), whole, "cut at {cut}");
        }
    }
}

/// Text that is nearly HTTP: pieces that matter to the parser, in any order.
fn nearly_http() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("GET / HTTP/1.1\r\nHost: a\r\n".to_owned()),
        Just("POST /x HTTP/1.0\r\nHost: a\r\n".to_owned()),
        Just("HTTP/1.1 200 OK\r\n".to_owned()),
        Just("Content-Length: 3\r\n".to_owned()),
        Just("Transfer-Encoding: chunked\r\n".to_owned()),
        Just("Connection: close\r\n".to_owned()),
        Just("X-A: b\r\n c\r\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("3\r\nabc\r\n".to_owned()),
        Just("0\r\n".to_owned()),
        Just("0\r\n\r\n".to_owned()),
        "[ -~]{0,5}",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn any_cuts_of_anything_give_the_same(bytes in nearly_http(), cuts in prop::collection::vec(0_usize..200, 0..6)) {
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < bytes.len()).collect();
        cuts.sort_unstable();
        let mut segments = Vec::new();
        let mut start = 0;
        for cut in cuts {
            if cut > start {
                segments.push(&bytes[start..cut]);
                start = cut;
            }
        }
        segments.push(&bytes[start..]);
        segments.retain(|segment| !segment.is_empty());
        prop_assert_eq!(requests(segments.clone()), requests(if bytes.is_empty() { vec![] } else { vec![&bytes] }));
        prop_assert_eq!(response(segments), response(if bytes.is_empty() { vec![] } else { vec![&bytes] }));
    }
}
