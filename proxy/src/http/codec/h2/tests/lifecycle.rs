//! Resets, GOAWAY, keepalive and limits of streams.

use std::cell::Cell;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[test]
fn each_side_hears_of_the_others_reset() {
    run(async {
        let (server, client) = default_pair().await;
        let (tx, rx) = tokio::sync::oneshot::channel();
        let tx = Cell::new(Some(tx));
        serve(server, move |head, mut stream| {
            let tx = tx.take();
            async move {
                match head.path.as_bytes() {
                    b"/server" => stream.reset(Reason::INTERNAL_ERROR),
                    _ => {
                        let _ = tx.unwrap().send(poll_fn(|cx| stream.poll_closed(cx)).await);
                    }
                }
            }
        });
        let mut stream = client.start(&request(Method::POST, "/client"), false).unwrap();
        // The request must be on its way before the reset, or both would cancel each other out.
        tokio::task::yield_now().await;
        stream.reset(Reason::CANCEL);
        assert_eq!(rx.await.unwrap(), CodecError::Reset(Reason::CANCEL.into()));
        let mut stream = client.start(&request(Method::GET, "/server"), true).unwrap();
        assert_eq!(
            head(&mut stream).await.unwrap_err(),
            CodecError::Reset(Reason::INTERNAL_ERROR.into())
        );
    });
}

#[test]
fn a_refused_stream_is_told_apart() {
    run(async {
        let (server, client) = default_pair().await;
        serve(
            server,
            |_, mut stream| async move { stream.reset(Reason::REFUSED_STREAM) },
        );
        let mut stream = client.start(&request(Method::GET, "/"), true).unwrap();
        assert_eq!(head(&mut stream).await.unwrap_err(), CodecError::Refused);
    });
}

#[test]
fn a_drain_lets_streams_finish_and_takes_no_new_ones() {
    run(async {
        let (mut server, client) = default_pair().await;
        let mut stream = client.start(&request(Method::POST, "/"), false).unwrap();
        let mut accepted = accept(&mut server).await;
        server.graceful_shutdown();
        let server = serve(server, echo);
        while client.is_open() {
            tokio::task::yield_now().await;
        }
        assert!(!client.has_capacity());
        assert_eq!(
            client.start(&request(Method::GET, "/"), true).err(),
            Some(CodecError::Refused)
        );
        stream
            .send_frame(Frame::Data(Bytes::from_static(b"late")), true)
            .unwrap();
        assert!(matches!(
            poll_fn(|cx| accepted.poll_body(cx)).await,
            Ok(Incoming::Frame(Frame::Data(_)))
        ));
        accepted.send_head(status(StatusCode::OK), true).unwrap();
        assert_eq!(head(&mut stream).await.unwrap().0.status, StatusCode::OK);
        drop((stream, accepted));
        assert_eq!(server.await.unwrap(), Ok(()));
    });
}

#[test]
fn an_abrupt_end_fails_the_streams() {
    run(async {
        let (mut server, client) = default_pair().await;
        let mut stream = client.start(&request(Method::GET, "/"), true).unwrap();
        let mut accepted = accept(&mut server).await;
        server.shutdown(Reason::NO_ERROR);
        assert!(poll_fn(|cx| server.poll_accept(cx)).await.is_none());
        assert!(accepted.send_head(status(StatusCode::OK), true).is_err());
        drop(server);
        assert_eq!(head(&mut stream).await.unwrap_err(), CodecError::Closed);
        assert!(!client.is_open());
    });
}

#[test]
fn a_connection_that_drops_closes_its_streams() {
    run(async {
        let (mut server, client) = default_pair().await;
        let mut stream = client.start(&request(Method::POST, "/"), false).unwrap();
        let mut accepted = accept(&mut server).await;
        drop(server);
        assert_eq!(head(&mut stream).await.unwrap_err(), CodecError::Closed);
        assert_eq!(
            poll_fn(|cx| accepted.poll_body(cx)).await.unwrap_err(),
            CodecError::Closed
        );
    });
}

#[test]
fn capacity_follows_the_servers_settings_and_returns_with_streams() {
    run(async {
        let settings = ServerSettings {
            max_concurrent_streams: 2,
            ..Default::default()
        };
        let (server, client) = pair(&settings, &ClientSettings::default()).await;
        serve(server, |_, mut stream| async move {
            poll_fn(|cx| stream.poll_closed(cx)).await;
        });
        while client.max_streams() != 2 {
            tokio::task::yield_now().await;
        }
        let one = client.start(&request(Method::GET, "/"), true).unwrap();
        let _two = client.start(&request(Method::GET, "/"), true).unwrap();
        assert!(!client.has_capacity());
        let other = client.clone();
        let waiting = spawn_local(async move { poll_fn(|cx| other.poll_ready(cx)).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(one);
        assert_eq!(waiting.await.unwrap(), Ok(()));
        assert_eq!(client.active(), 1);
    });
}

#[test]
fn a_silent_peer_is_found_dead() {
    run(async {
        let keepalive = Keepalive {
            interval: Duration::from_millis(20),
            timeout: Duration::from_millis(20),
            jitter: 0.0,
            idle_interval: Duration::ZERO,
        };
        let settings = ServerSettings {
            keepalive: Some(keepalive),
            ..Default::default()
        };
        let (a, b) = duplex(PIPE);
        let (client, stats) = (ClientSettings::default(), stats());
        let (server, client) = tokio::join!(
            ServerConnection::handshake(a, &settings, stats.clone()),
            ClientConnection::handshake(b, &client, super::stats())
        );
        let mut server = server.unwrap();
        // The driver exists, so that the pipe stays open, but nobody polls it.
        let (_client, _driver) = client.unwrap();
        let error = poll_fn(|cx| server.poll_accept(cx)).await.unwrap().err().unwrap();
        assert!(error.to_string().contains("PING"), "{error}");
        assert_eq!(stats.value(Http2Stat::KeepaliveTimeout), 1);
    });
}

#[test]
fn an_answered_ping_keeps_the_connection() {
    run(async {
        let keepalive = Keepalive {
            interval: Duration::from_millis(5),
            timeout: DEADLINE,
            jitter: 0.15,
            idle_interval: Duration::from_millis(1),
        };
        let server = ServerSettings {
            keepalive: Some(keepalive),
            ..Default::default()
        };
        let client = ClientSettings {
            keepalive: Some(keepalive),
            ..Default::default()
        };
        let (server, client) = pair(&server, &client).await;
        serve(server, echo);
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let mut stream = client.start(&request(Method::GET, "/"), true).unwrap();
            assert_eq!(head(&mut stream).await.unwrap().0.status, StatusCode::OK);
        }
    });
}

#[test]
fn rapid_resets_end_the_connection() {
    run(async {
        let (server, client) = default_pair().await;
        let ended = serve(server, |_, mut stream| async move {
            poll_fn(|cx| stream.poll_closed(cx)).await;
        });
        let mut started = 0;
        while client.is_open() {
            if let Ok(stream) = client.start(&request(Method::GET, "/"), true) {
                started += 1;
                for _ in 0..4 {
                    tokio::task::yield_now().await;
                }
                drop(stream);
            }
            tokio::task::yield_now().await;
        }
        let ended = ended.await.unwrap().unwrap_err();
        assert!(
            matches!(
                ended,
                CodecError::Protocol {
                    details: TOO_MANY_PREMATURE_RESETS,
                    ..
                }
            ),
            "{ended:?}"
        );
        assert!((250..300).contains(&started), "{started} streams");
    });
}

/// What a client sends before its first request.
fn opening() -> Vec<u8> {
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat()
}

#[test]
fn a_head_that_h2_refuses_by_itself_is_told() {
    run(async {
        let (near, mut far) = duplex(PIPE);
        // HEADERS that end stream 1 and say `:method: GET`, which is no request yet.
        let head = [0, 0, 1, 1, 5, 0, 0, 0, 1, 0x82];
        far.write_all(&[&opening()[..], &head].concat()).await.unwrap();
        let stats = stats();
        let mut server = ServerConnection::handshake(near, &ServerSettings::default(), stats.clone())
            .await
            .unwrap();
        let Some(Ok(Accepted::Refused(refusal))) = poll_fn(|cx| server.poll_accept(cx)).await else {
            panic!("the head is refused")
        };
        assert_eq!((refusal.status, refusal.details), (0, "http2.invalid.header.field"));
        assert_eq!(stats.value(Http2Stat::RxMessagingError), 1);
    });
}

#[test]
fn whoever_does_not_speak_http2_hears_nothing() {
    run(async {
        let (near, mut far) = duplex(PIPE);
        far.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let refused = ServerConnection::handshake(near, &ServerSettings::default(), stats()).await;
        assert!(matches!(refused.err(), Some(CodecError::Protocol { .. })));
        let mut heard = Vec::new();
        far.read_to_end(&mut heard).await.unwrap();
        assert!(heard.is_empty());
    });
}
