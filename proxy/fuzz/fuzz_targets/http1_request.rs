//! Requests of one downstream connection. Whatever the segmentation, the same is decoded; what is forwarded of a request is
//! one request again, with the same body: nothing is smuggled through.

#![no_main]

mod script;

use std::{
    sync::Arc,
    task::{Context, Waker},
};

use libfuzzer_sys::fuzz_target;
use pillion::http::{
    codec::h1::{ClientConnection, ClientSettings, ServerConnection, ServerSettings},
    message::{Frame, Incoming, RequestHead},
};
use script::{Script, now};

fuzz_target!(|input: (u8, &[u8])| {
    let (segment, bytes) = input;
    let whole = requests(bytes, 0);
    let cut = requests(bytes, usize::from(segment));
    assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
    for (head, body) in whole {
        // The connection manager answers 404 to any other path.
        let Some(body) = body.filter(|_| head.path_str().starts_with('/')) else {
            continue;
        };
        let forwarded = forward(&head, &body);
        let again = requests(&forwarded, 0);
        assert_eq!(again.len(), 1, "{:?}", String::from_utf8_lossy(&forwarded));
        assert_eq!(again[0].1.as_ref(), Some(&body));
        assert_eq!((&again[0].0.method, &again[0].0.path), (&head.method, &head.path));
    }
});

type Request = (RequestHead, Option<Vec<u8>>);

/// The requests and their bodies; None: malformed, or cut short. Stops at a tunnel.
fn requests(bytes: &[u8], segment: usize) -> Vec<Request> {
    let settings = ServerSettings {
        accept_http_10: true,
        allow_chunked_length: true,
        ..ServerSettings::default()
    };
    let mut server = ServerConnection::new(Script::new(bytes, segment), Arc::new(settings));
    let mut cx = Context::from_waker(Waker::noop());
    let mut seen: Vec<Request> = Vec::new();
    while let Ok(Some(head)) = now(server.poll_request(&mut cx)) {
        if head.upgrade.is_some() || head.method == "CONNECT" || head.host_missing {
            return seen;
        }
        let mut body = Vec::new();
        let complete = loop {
            match now(server.poll_body(&mut cx)) {
                Ok(Incoming::End) => break true,
                Ok(Incoming::Frame(Frame::Data(data))) => body.extend_from_slice(&data),
                Ok(Incoming::Frame(Frame::Trailers(_))) => break true,
                Err(_) => break false,
            }
        };
        seen.push((head, complete.then_some(body)));
        if !complete || !server.finish_request() {
            return seen;
        }
    }
    seen
}

fn forward(head: &RequestHead, body: &[u8]) -> Vec<u8> {
    let mut client = ClientConnection::new(Script::new(b"", 0), Arc::new(ClientSettings::default()));
    client.send_head(head, false);
    client.send_frame(Frame::Data(body.to_vec().into()), true);
    now(client.poll_flush(&mut Context::from_waker(Waker::noop()))).expect("the stream takes everything");
    client.io().written.clone()
}
