//! Responses of an upstream. Whatever the segmentation, the same is decoded; what goes downstream of a response is one
//! response again, with the same body.

#![no_main]

mod script;

use std::{
    sync::Arc,
    task::{Context, Waker},
};

use libfuzzer_sys::fuzz_target;
use pillion::http::{
    codec::h1::{ClientConnection, ClientSettings, ServerConnection, ServerSettings},
    message::{Frame, Incoming, RequestHead, ResponseHead},
};
use script::{Script, now};

fuzz_target!(|input: (u8, &[u8])| {
    let (segment, bytes) = input;
    let whole = response(bytes, 0);
    assert_eq!(
        format!("{whole:?}"),
        format!("{:?}", response(bytes, usize::from(segment)))
    );
    if let Some((head, Some(body))) = whole {
        let forwarded = forward(&head, &body);
        let (again, same) = response(&forwarded, 0).expect("what is written is a response");
        assert_eq!(
            (again.status, same.as_ref()),
            (head.status, Some(&body)),
            "{:?}",
            String::from_utf8_lossy(&forwarded)
        );
    }
});

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn server() -> (ServerConnection<Script>, RequestHead) {
    let mut server = ServerConnection::new(Script::new(GET, 0), Arc::new(ServerSettings::default()));
    let head = now(server.poll_request(&mut Context::from_waker(Waker::noop())));
    (server, head.expect("a plain request").expect("a head"))
}

/// The final head to a GET, and its body; None: malformed, or cut short.
fn response(bytes: &[u8], segment: usize) -> Option<(ResponseHead, Option<Vec<u8>>)> {
    let mut client = ClientConnection::new(Script::new(bytes, segment), Arc::new(ClientSettings::default()));
    let mut cx = Context::from_waker(Waker::noop());
    client.send_head(&server().1, true);
    let head = loop {
        match now(client.poll_head(&mut cx)) {
            Ok((head, _)) if head.status.is_informational() => {}
            Ok((head, _)) => break head,
            Err(_) => return None,
        }
    };
    let mut body = Vec::new();
    loop {
        match now(client.poll_body(&mut cx)) {
            Ok(Incoming::End | Incoming::Frame(Frame::Trailers(_))) => return Some((head, Some(body))),
            Ok(Incoming::Frame(Frame::Data(data))) => body.extend_from_slice(&data),
            Err(_) => return Some((head, None)),
        }
    }
}

fn forward(head: &ResponseHead, body: &[u8]) -> Vec<u8> {
    let (mut server, _) = server();
    server.send_head(head, false);
    server.send_frame(Frame::Data(body.to_vec().into()), true);
    now(server.poll_flush(&mut Context::from_waker(Waker::noop()))).expect("the stream takes everything");
    server.io().written.clone()
}
