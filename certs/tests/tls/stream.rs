//! TLS streams as byte streams: ends, sizes, and what they hold while idle.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use certs::ca::CertificateAuthority;
use certs::{ClientContext, ConnectOptions, ServerContext, TlsStream};
use tikv_jemalloc_ctl::thread;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

use crate::mesh::*;

fn contexts() -> (ClientContext, ServerContext) {
    let ca = CertificateAuthority::root("test root").unwrap();
    let server = ServerContext::new(server(svid(&ca, "api"), &ca)).unwrap();
    (ClientContext::new(client(Some(svid(&ca, "web")), &ca)).unwrap(), server)
}

async fn pair() -> (TlsStream<TcpStream>, TlsStream<TcpStream>) {
    let (client, server) = contexts();
    let (near, far) = handshake(&client, &server).await;
    (near.unwrap(), far.unwrap())
}

#[tokio::test]
async fn a_reader_with_a_small_buffer_gets_every_byte() {
    let (mut near, mut far) = pair().await;
    let sent: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    let write = async {
        near.write_all(&sent).await.unwrap();
        near.shutdown().await.unwrap();
    };
    let read = async {
        let mut received = Vec::new();
        let mut buf = [0; 700];
        loop {
            match far.read(&mut buf).await.unwrap() {
                0 => return received,
                length => received.extend_from_slice(&buf[..length]),
            }
        }
    };
    let ((), received) = tokio::time::timeout(LIMIT, async { tokio::join!(write, read) })
        .await
        .unwrap();
    assert!(received == sent);
}

#[tokio::test]
async fn slices_share_a_record() {
    let (mut near, mut far) = pair().await;
    let slices = [IoSlice::new(b"HTTP/1.1 200 OK\r\n\r\n"), IoSlice::new(b"body")];
    assert!(near.is_write_vectored());
    assert_eq!(near.write_vectored(&slices).await.unwrap(), 23);
    let mut buf = [0; 64];
    assert_eq!(far.read(&mut buf).await.unwrap(), 23, "one record, one read");
    assert_eq!(&buf[..23], b"HTTP/1.1 200 OK\r\n\r\nbody");
}

#[tokio::test]
async fn half_close() {
    let (mut near, mut far) = pair().await;
    near.shutdown().await.unwrap();
    assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
    far.write_all(b"still here").await.unwrap();
    let mut buf = [0; 10];
    near.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"still here");
    assert_eq!(near.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn an_end_without_close_notify_is_told() {
    let (near, mut far) = pair().await;
    drop(near);
    assert_eq!(
        far.read(&mut [0; 8]).await.unwrap_err().kind(),
        io::ErrorKind::UnexpectedEof
    );
}

#[tokio::test]
async fn a_stalled_peer_stops_the_writer() {
    let (mut near, _far) = pair().await;
    let chunk = vec![0; 64 << 10];
    let mut accepted = 0;
    // A socket's buffers hold a few megabytes; a writer that is never stopped would go past any of them.
    let bound = 64 << 20;
    let stalled = std::future::poll_fn(|cx| {
        loop {
            match Pin::new(&mut near).poll_write(cx, &chunk) {
                Poll::Pending => return Poll::Ready(true),
                Poll::Ready(written) => accepted += written.unwrap(),
            }
            if accepted > bound {
                return Poll::Ready(false);
            }
        }
    });
    assert!(stalled.await, "{accepted} bytes were accepted");
}

/// Passes a byte at a time, and is not ready every other time.
struct Trickle<IO> {
    io: IO,
    readable: bool,
    writable: bool,
}

impl<IO> Trickle<IO> {
    fn new(io: IO) -> Self {
        Self {
            io,
            readable: false,
            writable: false,
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Trickle<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.readable = !self.readable;
        if !self.readable {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut one = [0];
        let mut small = ReadBuf::new(&mut one);
        std::task::ready!(Pin::new(&mut self.io).poll_read(cx, &mut small))?;
        buf.put_slice(small.filled());
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Trickle<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.writable = !self.writable;
        if !self.writable {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_write(cx, &buf[..buf.len().min(1)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_byte_at_a_time() {
    let (client, server) = contexts();
    let (near, far) = tokio::io::duplex(16);
    let call = async {
        let mut stream = client
            .connect(Trickle::new(near), ConnectOptions::default())
            .await
            .unwrap();
        stream.write_all(b"ping").await.unwrap();
        stream.shutdown().await.unwrap();
        stream
    };
    let serve = async {
        let mut stream = server.accept(Trickle::new(far)).await.unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        received
    };
    let (_near, received) = tokio::time::timeout(LIMIT, async { tokio::join!(call, serve) })
        .await
        .unwrap();
    assert_eq!(received, b"ping");
}

#[tokio::test]
async fn tls_inside_tls() {
    let (client, server) = contexts();
    let (near, far) = pair().await;
    let call = async {
        let mut inner = client.connect(near, ConnectOptions::default()).await.unwrap();
        inner.write_all(&vec![1; 100_000]).await.unwrap();
        inner.flush().await.unwrap();
        inner
    };
    let serve = async {
        let mut inner = server.accept(far).await.unwrap();
        let mut buf = vec![0; 100_000];
        inner.read_exact(&mut buf).await.unwrap();
        (inner, buf)
    };
    let (_near, (_far, buf)) = tokio::time::timeout(LIMIT, async { tokio::join!(call, serve) })
        .await
        .unwrap();
    assert!(buf.iter().all(|b| *b == 1));
}

/// Bytes of heap that this thread holds.
fn held() -> u64 {
    let (allocated, freed) = (
        thread::allocatedp::read().unwrap(),
        thread::deallocatedp::read().unwrap(),
    );
    allocated.get().wrapping_sub(freed.get())
}

/// What an idle connection may hold per side beyond its socket: rustls's connection (1.2 KB), its 4 KB record buffer,
/// key schedules and the peer's certificate. A plaintext or record buffer kept by mistake would be 16 KB more.
const IDLE: u64 = 10 << 10;

#[tokio::test]
async fn an_idle_connection_holds_little() {
    let (client, server) = contexts();
    // Once, so that what is made at first use is not counted.
    drop(handshake(&client, &server).await);
    let before = held();
    let mut connections = Vec::new();
    for _ in 0..10 {
        let (near, far) = handshake(&client, &server).await;
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        echo(&mut near, &mut far, 16 << 10).await;
        for side in [&mut near, &mut far] {
            let mut buf = [0; 1];
            let mut buf = ReadBuf::new(&mut buf);
            std::future::poll_fn(|cx| {
                assert!(Pin::new(&mut *side).poll_read(cx, &mut buf).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        connections.push((near, far));
    }
    let sides = connections.len() as u64 * 2;
    let each = (held() - before) / sides;
    println!("an idle side holds {each} bytes");
    assert!(each < IDLE, "{each} bytes per side");
}

/// Contexts are made per cluster and per filter chain; hundreds of them must not show in the proxy's memory.
const CONTEXT: u64 = 8 << 10;

#[tokio::test]
async fn contexts_hold_little_beside_their_material() {
    let ca = CertificateAuthority::root("test root").unwrap();
    let server_settings = server(svid(&ca, "api"), &ca);
    let client_settings = client(Some(svid(&ca, "web")), &ca);
    drop((
        ServerContext::new(server_settings.clone()),
        ClientContext::new(client_settings.clone()),
    ));
    let before = held();
    let server = ServerContext::new(server_settings).unwrap();
    let between = held();
    let client = ClientContext::new(client_settings).unwrap();
    let (server_size, client_size) = (between - before, held() - between);
    println!("a server context holds {server_size} bytes, a client context {client_size}");
    assert!(
        server_size < CONTEXT && client_size < CONTEXT,
        "{server_size} {client_size}"
    );
    drop((server, client));
}

#[tokio::test]
async fn futures_are_small() {
    let (client, server) = contexts();
    let (near, far) = sockets().await;
    let socket = size_of::<TcpStream>();
    let connect = size_of_val(&client.connect(near, ConnectOptions::default()));
    let accept = size_of_val(&server.accept(far));
    println!(
        "connect {connect}, accept {accept}, stream {}",
        size_of::<TlsStream<TcpStream>>()
    );
    // A future per connection, embedded in the proxy's own: rustls's kilobytes belong on the heap.
    assert!(connect < 1536 && accept < 1536, "connect {connect}, accept {accept}");
    assert!(size_of::<TlsStream<TcpStream>>() <= socket + size_of::<usize>());
}
