//! Heads in both directions.

use std::cell::RefCell;

use super::*;
use crate::http::UnderscoreAction;

/// What the server saw of one request, answered with 204.
async fn seen(server: &ServerSettings, sent: &RequestHead) -> Result<RequestHead, CodecError> {
    let (server, client) = pair(server, &ClientSettings::default()).await;
    let got = Rc::new(RefCell::new(None));
    let put = Rc::clone(&got);
    serve(server, move |head, mut stream| {
        *put.borrow_mut() = Some(head);
        async move { stream.send_head(status(StatusCode::NO_CONTENT), true).unwrap() }
    });
    let mut stream = client.start(sent, true)?;
    head(&mut stream).await?;
    Ok(got.take().expect("the request arrived"))
}

#[test]
fn a_request_head_arrives_as_it_was_sent() {
    run(async {
        let mut sent = request(Method::DELETE, "/a/b?c=%20d&e");
        sent.scheme = HeaderValue::from_static("https");
        sent.headers.append("x-a", HeaderValue::from_static("1"));
        sent.headers.append("x-a", HeaderValue::from_static("2"));
        sent.headers.append("te", HeaderValue::from_static("trailers"));
        let got = seen(&ServerSettings::default(), &sent).await.unwrap();
        assert_eq!(
            (got.method, got.path, got.scheme),
            (Method::DELETE, sent.path, sent.scheme)
        );
        assert_eq!(
            (got.authority, got.upgrade, got.protocol),
            (sent.authority, None, Protocol::Http2)
        );
        assert_eq!(got.headers, sent.headers);
    });
}

#[test]
fn cookie_crumbs_become_one_field() {
    run(async {
        let mut sent = request(Method::GET, "/");
        for crumb in ["a=b", "c=d", "e=f"] {
            sent.headers.append("cookie", HeaderValue::from_static(crumb));
        }
        let got = seen(&ServerSettings::default(), &sent).await.unwrap();
        assert_eq!(
            got.headers.get_all("cookie").iter().collect::<Vec<_>>(),
            ["a=b; c=d; e=f"]
        );
    });
}

#[test]
fn connection_fields_of_http1_do_not_go_out() {
    run(async {
        let mut sent = request(Method::GET, "/");
        for (name, value) in [("connection", "close"), ("keep-alive", "5"), ("te", "gzip"), ("x", "y")] {
            sent.headers.insert(name, HeaderValue::from_static(value));
        }
        let got = seen(&ServerSettings::default(), &sent).await.unwrap();
        assert_eq!(got.headers, field("x", "y"));
    });
}

#[test]
fn host_stands_in_for_a_missing_authority_and_yields_to_a_present_one() {
    run(async {
        let mut sent = request(Method::GET, "/");
        sent.headers = field("host", "other.example");
        let got = seen(&ServerSettings::default(), &sent).await.unwrap();
        assert_eq!((got.authority, got.headers.len()), (sent.authority.clone(), 0));
        sent.authority = HeaderValue::from_static("");
        let got = seen(&ServerSettings::default(), &sent).await.unwrap();
        assert_eq!(
            (got.authority, got.headers.len()),
            (HeaderValue::from_static("other.example"), 0)
        );
        sent.headers.clear();
        let refused = seen(&ServerSettings::default(), &sent).await.unwrap_err();
        assert_eq!(refused, CodecError::Reset(Reason::PROTOCOL_ERROR.into()));
    });
}

#[test]
fn what_http_uri_cannot_carry_is_refused_by_name() {
    run(async {
        let (_server, client) = default_pair().await;
        let Err(error) = client.start(&request(Method::GET, "/a<b"), true) else {
            panic!("it was sent")
        };
        assert!(error.to_string().contains(r#":path "/a<b""#), "{error}");
    });
}

#[test]
fn heads_over_a_limit_are_reset_and_counted() {
    run(async {
        let stats = stats();
        let (server, client) = pair_counted(&ServerSettings::default(), &ClientSettings::default(), &stats).await;
        serve(server, echo);
        let mut long = request(Method::GET, "/");
        long.headers
            .insert("x", HeaderValue::from_str(&"y".repeat(61 * 1024)).unwrap());
        let mut many = request(Method::GET, "/");
        // Four pseudo-header fields count, as with Envoy.
        for _ in 0..97 {
            many.headers.append("x", HeaderValue::from_static("y"));
        }
        for sent in [&long, &many] {
            let mut stream = client.start(sent, true).unwrap();
            assert_eq!(
                head(&mut stream).await.unwrap_err(),
                CodecError::Reset(Reason::INTERNAL_ERROR.into())
            );
        }
        assert_eq!(
            (
                stats.value(Http2Stat::HeaderOverflow),
                stats.value(Http2Stat::HeaderListSizeTooLarge)
            ),
            (1, 1)
        );
        many.headers.remove("x");
        assert_eq!(
            head(&mut client.start(&many, true).unwrap()).await.unwrap().0.status,
            StatusCode::OK
        );
    });
}

#[test]
fn a_response_over_the_limit_is_a_protocol_error() {
    run(async {
        let (server, client) = default_pair().await;
        serve(server, |_, mut stream| async move {
            let mut head = status(StatusCode::OK);
            for _ in 0..100 {
                head.headers.append("x", HeaderValue::from_static("y"));
            }
            stream.send_head(head, true).unwrap();
        });
        let mut stream = client.start(&request(Method::GET, "/"), true).unwrap();
        let error = head(&mut stream).await.unwrap_err();
        assert!(
            matches!(
                error,
                CodecError::Protocol {
                    status: 502,
                    details: "http2.too_many_headers",
                    ..
                }
            ),
            "{error:?}"
        );
    });
}

#[test]
fn underscores_are_rejected_or_dropped_on_demand() {
    run(async {
        let mut sent = request(Method::GET, "/");
        sent.headers = field("a_b", "1");
        sent.headers.insert("c", HeaderValue::from_static("2"));
        let settings = |headers_with_underscores| ServerSettings {
            headers_with_underscores,
            ..Default::default()
        };
        let got = seen(&settings(UnderscoreAction::DropHeader), &sent).await.unwrap();
        assert_eq!(got.headers, field("c", "2"));
        let refused = seen(&settings(UnderscoreAction::RejectRequest), &sent)
            .await
            .unwrap_err();
        // As for a head beyond a limit.
        assert_eq!(refused, CodecError::Reset(Reason::INTERNAL_ERROR.into()));
    });
}

#[test]
fn informational_heads_come_before_the_final_one() {
    run(async {
        let (server, client) = default_pair().await;
        serve(server, |_, mut stream| async move {
            stream.send_informational(&status(StatusCode::CONTINUE)).unwrap();
            let mut hints = status(StatusCode::from_u16(103).unwrap());
            hints.headers = field("link", "</a.css>");
            stream.send_informational(&hints).unwrap();
            stream.send_head(status(StatusCode::OK), true).unwrap();
        });
        let mut stream = client.start(&request(Method::GET, "/"), true).unwrap();
        let mut got = Vec::new();
        loop {
            let (head, ended) = head(&mut stream).await.unwrap();
            got.push((head.status.as_u16(), head.headers.len()));
            if ended {
                break;
            }
        }
        assert_eq!(got, [(100, 0), (103, 1), (200, 0)]);
    });
}

#[test]
fn an_upgrade_travels_as_extended_connect() {
    run(async {
        let settings = ServerSettings {
            allow_connect: true,
            ..Default::default()
        };
        let (server, client) = pair(&settings, &ClientSettings::default()).await;
        serve(server, |head, mut stream| async move {
            assert_eq!(
                (&head.method, head.upgrade.as_ref().unwrap().to_str().unwrap()),
                (&Method::GET, "websocket")
            );
            let mut answer = status(StatusCode::SWITCHING_PROTOCOLS);
            answer.headers = field("upgrade", "websocket");
            answer.headers.insert("connection", HeaderValue::from_static("upgrade"));
            stream.send_head(answer, false).unwrap();
            let Ok(Incoming::Frame(frame)) = poll_fn(|cx| stream.poll_body(cx)).await else {
                panic!("no data")
            };
            stream.send_frame(frame, true).unwrap();
        });
        let mut sent = request(Method::GET, "/chat");
        sent.upgrade = Some(HeaderValue::from_static("websocket"));
        let mut stream = client.start(&sent, false).unwrap();
        let (head, ended) = head(&mut stream).await.unwrap();
        assert_eq!((head.status, ended), (StatusCode::SWITCHING_PROTOCOLS, false));
        assert_eq!(head.headers, field("upgrade", "websocket"));
        assert!(client.allows_upgrades());
        stream
            .send_frame(Frame::Data(Bytes::from_static(b"ping")), false)
            .unwrap();
        assert_eq!(collect(&mut stream).await.unwrap().0, b"ping");
    });
}

#[test]
fn extended_connect_is_refused_where_it_was_not_allowed() {
    run(async {
        let mut sent = request(Method::GET, "/chat");
        sent.upgrade = Some(HeaderValue::from_static("websocket"));
        let refused = seen(&ServerSettings::default(), &sent).await.unwrap_err();
        assert_eq!(refused, CodecError::Reset(Reason::PROTOCOL_ERROR.into()));
    });
}

#[test]
fn plain_connect_has_no_path() {
    run(async {
        let mut sent = request(Method::CONNECT, "");
        sent.scheme = HeaderValue::from_static("http");
        let got = seen(&ServerSettings::default(), &sent).await.unwrap();
        assert_eq!(
            (got.method, got.path, got.upgrade),
            (Method::CONNECT, HeaderValue::from_static(""), None)
        );
    });
}

#[test]
fn a_head_response_keeps_its_length() {
    run(async {
        let (server, client) = default_pair().await;
        serve(server, |_, mut stream| async move {
            let mut head = status(StatusCode::OK);
            head.headers = field("content-length", "1000");
            stream.send_head(head, true).unwrap();
        });
        let mut stream = client.start(&request(Method::HEAD, "/"), true).unwrap();
        let (head, ended) = head(&mut stream).await.unwrap();
        assert_eq!((head.headers, ended), (field("content-length", "1000"), true));
    });
}
