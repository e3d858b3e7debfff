//! Bodies, trailers and windows.

use std::{cell::Cell, task::Poll};

use super::*;
use crate::http::codec::limits;

#[test]
fn echoes_body_and_trailers() {
    run(async {
        let (server, client) = default_pair().await;
        serve(server, echo);
        let mut stream = client.start(&request(Method::POST, "/"), false).unwrap();
        stream
            .send_frame(Frame::Data(Bytes::from_static(b"hello ")), false)
            .unwrap();
        stream
            .send_frame(Frame::Data(Bytes::from_static(b"world")), false)
            .unwrap();
        stream
            .send_frame(Frame::Trailers(field("grpc-status", "0")), true)
            .unwrap();
        poll_fn(|cx| stream.poll_flush(cx)).await.unwrap();
        let (response, ended) = head(&mut stream).await.unwrap();
        assert_eq!((response.status, ended), (StatusCode::OK, false));
        let (body, trailers) = collect(&mut stream).await.unwrap();
        assert_eq!(body, b"hello world");
        assert_eq!(trailers, Some(field("grpc-status", "0")));
    });
}

#[test]
fn many_streams_at_once_keep_their_bytes_apart() {
    const STREAMS: u8 = 50;
    const LENGTH: usize = 300_000;
    run(async {
        let (server, client) = default_pair().await;
        serve(server, echo);
        let tasks: Vec<_> = (0..STREAMS)
            .map(|i| {
                let client = client.clone();
                spawn_local(async move {
                    let mut stream = client.start(&request(Method::POST, "/"), false).unwrap();
                    stream.send_frame(Frame::Data(vec![i; LENGTH].into()), true).unwrap();
                    let mut head = None;
                    let mut body = Vec::new();
                    poll_fn(|cx| {
                        let _ = stream.poll_flush(cx)?;
                        if head.is_none() {
                            match stream.poll_head(cx)? {
                                Poll::Ready(h) => head = Some(h),
                                Poll::Pending => return Poll::Pending,
                            }
                        }
                        loop {
                            match stream.poll_body(cx)? {
                                Poll::Ready(Incoming::Frame(Frame::Data(data))) => body.extend_from_slice(&data),
                                Poll::Ready(_) => return Poll::Ready(Ok::<_, CodecError>(())),
                                Poll::Pending => return Poll::Pending,
                            }
                        }
                    })
                    .await
                    .unwrap();
                    assert!(body.len() == LENGTH && body.iter().all(|byte| *byte == i));
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(client.active(), 0);
    });
}

/// A fast sender and a reader that does not read: what is in flight is bounded by the window, the rest waits in the queue of the
/// sender, where its size shows.
#[test]
fn a_slow_reader_stops_the_sender() {
    const PIECE: usize = 16 * 1024;
    const PIECES: usize = 256;
    run(async {
        let (server, client) = default_pair().await;
        serve(server, |_, mut stream| async move {
            stream.send_head(status(StatusCode::OK), false).unwrap();
            for i in 0..PIECES {
                stream
                    .send_frame(Frame::Data(vec![i as u8; PIECE].into()), i + 1 == PIECES)
                    .unwrap();
            }
            let admitted = PIECE * PIECES - stream.queued();
            assert!(
                admitted <= limits::H2_SEND_BUFFER,
                "{admitted} bytes went to h2 at once"
            );
            poll_fn(|cx| stream.poll_flush(cx)).await.unwrap();
        });
        let mut stream = client.start(&request(Method::GET, "/"), true).unwrap();
        head(&mut stream).await.unwrap();
        // Nothing is read while the other task runs as far as it can.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        let mut read = 0;
        while let Incoming::Frame(Frame::Data(data)) = poll_fn(|cx| stream.poll_body(cx)).await.unwrap() {
            read += data.len();
        }
        assert_eq!(read, PIECE * PIECES);
    });
}

#[test]
fn the_window_bounds_what_an_unread_stream_receives() {
    run(async {
        let (server, client) = default_pair().await;
        let sent = Rc::new(Cell::new(0));
        let counter = Rc::clone(&sent);
        serve(server, move |_, mut stream| {
            let counter = Rc::clone(&counter);
            async move {
                stream.send_head(status(StatusCode::OK), false).unwrap();
                loop {
                    stream
                        .send_frame(Frame::Data(Bytes::from_static(&[0; 4096])), false)
                        .unwrap();
                    if poll_fn(|cx| stream.poll_flush(cx)).await.is_err() {
                        return;
                    }
                    counter.set(counter.get() + 4096);
                }
            }
        });
        let mut stream = client.start(&request(Method::GET, "/"), true).unwrap();
        head(&mut stream).await.unwrap();
        for _ in 0..2000 {
            tokio::task::yield_now().await;
        }
        let (sent, window) = (sent.get(), limits::H2_STREAM_WINDOW as usize);
        assert!(
            sent >= window / 2 && sent <= window + limits::H2_SEND_BUFFER + 8192,
            "{sent} bytes in flight"
        );
        stream.reset(Reason::CANCEL);
    });
}

#[test]
fn a_response_may_end_before_its_request() {
    run(async {
        let (server, client) = default_pair().await;
        serve(server, |_, mut stream| async move {
            stream.send_head(status(StatusCode::PAYLOAD_TOO_LARGE), true).unwrap();
            // Dropping it with the request unread tells the client to stop with NO_ERROR.
        });
        let mut stream = client.start(&request(Method::POST, "/"), false).unwrap();
        stream.send_frame(Frame::Data(vec![0; 4 << 20].into()), true).unwrap();
        let (response, ended) = head(&mut stream).await.unwrap();
        assert_eq!((response.status, ended), (StatusCode::PAYLOAD_TOO_LARGE, true));
        poll_fn(|cx| stream.poll_flush(cx)).await.unwrap();
        assert_eq!(stream.queued(), 0);
    });
}

#[test]
fn a_body_that_belies_its_length_is_a_protocol_error() {
    run(async {
        let (server, client) = default_pair().await;
        let (tx, rx) = tokio::sync::oneshot::channel();
        let tx = Cell::new(Some(tx));
        serve(server, move |_, mut stream| {
            let tx = tx.take();
            async move {
                let error = loop {
                    match poll_fn(|cx| stream.poll_body(cx)).await {
                        Ok(Incoming::End) => break None,
                        Ok(_) => {}
                        Err(e) => break Some(e),
                    }
                };
                let _ = tx.unwrap().send(error);
            }
        });
        let mut head = request(Method::POST, "/");
        head.headers = field("content-length", "5");
        let mut stream = client.start(&head, false).unwrap();
        // A malformed stream that nobody has accepted yet is reset unseen.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        stream
            .send_frame(Frame::Data(Bytes::from_static(b"abc")), true)
            .unwrap();
        let error = rx.await.unwrap();
        assert!(
            matches!(error, Some(CodecError::Protocol { status: 400, .. })),
            "{error:?}"
        );
        assert_eq!(
            super::head(&mut stream).await.unwrap_err(),
            CodecError::Reset(Reason::PROTOCOL_ERROR.into())
        );
    });
}
