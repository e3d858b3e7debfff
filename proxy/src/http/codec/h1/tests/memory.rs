//! What an idle connection holds.

use super::{
    super::{ClientConnection, ClientSettings, ServerConnection, ServerSettings},
    io::{Script, client, collect, context, data, head, now, plain_get, server},
};

/// Bytes of an idle downstream connection beside its socket. The whole budget for an idle connection is 1 KB.
const SERVER_SIZE: usize = 256;
const CLIENT_SIZE: usize = 192;

#[test]
fn connections_are_small() {
    let server = size_of::<ServerConnection<tokio::net::TcpStream>>();
    assert!(server <= SERVER_SIZE, "{server}");
    let client = size_of::<ClientConnection<tokio::net::TcpStream>>();
    assert!(client <= CLIENT_SIZE, "{client}");
}

#[test]
fn an_idle_server_connection_holds_no_buffer() {
    let mut server = server(
        Script::new([b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc".as_slice()]),
        ServerSettings::default(),
    );
    now(server.poll_request(&mut context())).expect("a request");
    now(collect(|cx| server.poll_body(cx))).expect("a body");
    server.send_head(&head(200, &[]), false);
    server.send_frame(data("hello"), true);
    now(server.poll_flush(&mut context())).expect("a write");
    assert!(server.finish_request());
    assert!(server.poll_request(&mut context()).is_pending());
    assert_eq!(server.buffered_capacity(), 0);
    assert_eq!(server.queued(), 0);
}

#[test]
fn an_idle_client_connection_holds_no_buffer() {
    let response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".as_slice();
    let mut client = client(Script::new([response]), ClientSettings::default());
    client.send_head(&plain_get(), true);
    now(client.poll_flush(&mut context())).expect("a write");
    now(client.poll_head(&mut context())).expect("a head");
    now(collect(|cx| client.poll_body(cx))).expect("a body");
    assert!(client.is_reusable());
    assert!(!client.is_stale());
    assert_eq!(client.buffered_capacity(), 0);
}
