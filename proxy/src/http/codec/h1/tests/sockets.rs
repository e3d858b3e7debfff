//! The codec on real sockets: back-pressure, resets, and closes that must not lose a response.

use std::{future::poll_fn, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{
    super::{ClientConnection, ClientSettings, ServerConnection, ServerSettings},
    io::{head, plain_get},
};
use crate::http::{
    codec::CodecError,
    message::{Frame, Incoming},
};

/// More than any socket buffer takes, so that both directions must wait.
const LARGE: usize = 8 * 1024 * 1024;
/// Queued bytes at which the relay stops reading.
const WATERMARK: usize = 64 * 1024;

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = listener.local_addr().expect("its address");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.expect("a connection"), far.expect("a connection").0)
}

fn server(io: TcpStream) -> ServerConnection<TcpStream> {
    ServerConnection::new(io, Arc::new(ServerSettings::default()))
}

fn client(io: TcpStream) -> ClientConnection<TcpStream> {
    ClientConnection::new(io, ClientSettings::default())
}

fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251) as u8).collect()
}

/// One exchange, as the router drives it; what was queued at most is returned.
async fn relay(
    down: &mut ServerConnection<TcpStream>,
    up: &mut ClientConnection<TcpStream>,
) -> Result<usize, CodecError> {
    let head = poll_fn(|cx| down.poll_request(cx)).await?.expect("a request");
    let mut most = 0;
    up.send_head(&head, !down.request_has_body());
    while down.request_has_body() {
        match poll_fn(|cx| down.poll_body(cx)).await? {
            Incoming::End => up.send_end(),
            Incoming::Frame(frame) => up.send_frame(frame, false),
        }
        most = most.max(up.queued());
        if up.queued() > WATERMARK {
            poll_fn(|cx| up.poll_flush(cx)).await?;
        }
    }
    up.send_end();
    poll_fn(|cx| up.poll_flush(cx)).await?;
    let (head, end) = poll_fn(|cx| up.poll_head(cx)).await?;
    down.send_head(&head, end);
    while !up.body_complete() {
        match poll_fn(|cx| up.poll_body(cx)).await? {
            Incoming::End => down.send_end(),
            Incoming::Frame(frame) => down.send_frame(frame, false),
        }
        most = most.max(down.queued());
        if down.queued() > WATERMARK {
            poll_fn(|cx| down.poll_flush(cx)).await?;
        }
    }
    down.send_end();
    poll_fn(|cx| down.poll_flush(cx)).await?;
    Ok(most)
}

#[tokio::test]
async fn large_bodies_go_through_with_bounded_queues() {
    let (mut user, downstream) = pair().await;
    let (upstream, mut application) = pair().await;
    let proxy = async {
        let (mut down, mut up) = (server(downstream), client(upstream));
        let most = relay(&mut down, &mut up).await.expect("an exchange");
        assert!(down.finish_request());
        assert!(up.is_reusable());
        most
    };
    let application = async {
        let mut request = Vec::new();
        while !request.ends_with(b"0\r\n\r\n") {
            application.read_buf(&mut request).await.expect("a request");
        }
        let body = pattern(LARGE);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
        application.write_all(head.as_bytes()).await.expect("a head");
        application.write_all(&body).await.expect("a body");
        request.len()
    };
    let user = async {
        let body = pattern(LARGE);
        user.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await
            .expect("a head");
        for chunk in body.chunks(100_000) {
            user.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())
                .await
                .expect("a size");
            user.write_all(chunk).await.expect("a chunk");
            user.write_all(b"\r\n").await.expect("its end");
        }
        user.write_all(b"0\r\n\r\n").await.expect("the end");
        let expected = [
            format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n").as_bytes(),
            &body,
        ]
        .concat();
        let mut response = vec![0; expected.len()];
        user.read_exact(&mut response).await.expect("a response");
        assert!(response == expected, "the response is another");
    };
    let (most, sent, ()) = tokio::join!(proxy, application, user);
    assert!(sent > LARGE, "{sent}");
    // A read may add one buffer to what is below the watermark.
    assert!(most <= 2 * WATERMARK + 1024, "{most}");
}

#[tokio::test]
async fn a_reset_is_seen_while_the_response_is_awaited() {
    let (mut user, downstream) = pair().await;
    let mut down = server(downstream);
    user.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .expect("a request");
    poll_fn(|cx| down.poll_request(cx))
        .await
        .expect("a request")
        .expect("a head");
    socket2::SockRef::from(&user)
        .set_linger(Some(std::time::Duration::ZERO))
        .expect("an option");
    drop(user);
    let error = poll_fn(|cx| down.poll_closed(cx)).await;
    assert!(matches!(error, CodecError::Io(_)), "{error:?}");
}

#[tokio::test]
async fn an_idle_upstream_connection_wakes_when_it_is_closed() {
    let (upstream, mut application) = pair().await;
    let mut up = client(upstream);
    up.send_head(&plain_get(), true);
    poll_fn(|cx| up.poll_flush(cx)).await.expect("a write");
    application
        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        .await
        .expect("a response");
    poll_fn(|cx| up.poll_head(cx)).await.expect("a head");
    assert!(!up.is_stale());
    let (_, ()) = tokio::join!(application.shutdown(), poll_fn(|cx| up.poll_idle(cx)));
    assert!(up.is_stale());
    assert!(!up.is_reusable());
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let (mut user, downstream) = pair().await;
    let proxy = async {
        let mut down = server(downstream);
        poll_fn(|cx| down.poll_request(cx))
            .await
            .expect("a request")
            .expect("a head");
        down.send_head(&head(413, &[]), false);
        down.send_frame(Frame::Data(bytes::Bytes::from_static(b"too large")), true);
        assert!(!down.finish_request());
        poll_fn(|cx| down.poll_shutdown(cx)).await.expect("a write");
        poll_fn(|cx| down.poll_discard(cx)).await;
    };
    let user = async {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n");
        user.write_all(request.as_bytes()).await.expect("a head");
        user.write_all(&pattern(LARGE))
            .await
            .expect("all of the body, though nobody wants it");
        user.shutdown().await.expect("an end");
        let mut response = String::new();
        user.read_to_string(&mut response).await.expect("a response");
        assert!(response.ends_with("9\r\ntoo large\r\n0\r\n\r\n"), "{response}");
        assert!(response.contains("connection: close\r\n"), "{response}");
    };
    tokio::join!(proxy, user);
}
