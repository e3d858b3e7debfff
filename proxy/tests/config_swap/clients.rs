//! Clients that hold one connection and notice everything that happens to it.

use std::fmt::{Display, Formatter};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::super::support::message::{Kind, Message};

/// Nothing takes a tenth of this, also on a loaded machine; what is not there by then never comes.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Fails what takes longer than [`LIMIT`].
pub async fn limited<T>(what: &str, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(LIMIT, work).await {
        Ok(done) => done,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("{what}: not within {LIMIT:?}"),
        )),
    }
}

/// A connection from `source`, by which the listener's filter chains are told apart.
pub async fn connect(source: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let connect = async {
        let socket = TcpSocket::new_v4()?;
        if source != Ipv4Addr::LOCALHOST {
            socket.bind(SocketAddr::new(IpAddr::V4(source), 0))?;
        }
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    limited("connect", connect).await
}

/// An HTTP/1.1 connection.
pub struct Http1 {
    stream: TcpStream,
    read: Vec<u8>,
}

/// A response, and whether the proxy said that it is the connection's last.
pub struct Answer {
    pub message: Message,
    pub last: bool,
}

impl Http1 {
    pub async fn open(source: Ipv4Addr, to: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            stream: connect(source, to).await?,
            read: Vec::new(),
        })
    }

    pub async fn send(&mut self, path: &str) -> io::Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: swap.test\r\n\r\n");
        limited(path, self.stream.write_all(request.as_bytes())).await
    }

    pub async fn receive(&mut self) -> io::Result<Answer> {
        loop {
            if let Some((message, used)) = Message::parse(&self.read, Kind::Response, false)
                && message.complete
            {
                self.read.drain(..used);
                let last = message
                    .header("connection")
                    .is_some_and(|v| v.eq_ignore_ascii_case("close"));
                return Ok(Answer { message, last });
            }
            if limited("response", self.stream.read_buf(&mut self.read)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The answer to a GET, which must be 200 with the path as body.
    pub async fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.send(path).await?;
        let answer = self.receive().await?;
        check(answer.message.status(), &answer.message.body, path)?;
        Ok(answer)
    }

    /// Waits until the proxy closes.
    pub async fn closed(&mut self) -> io::Result<()> {
        match limited("close", self.stream.read_buf(&mut self.read)).await {
            Ok(0) => Ok(()),
            Ok(_) => Err(io::Error::other("more came, and no end")),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Err(e) => Err(e),
        }
    }
}

fn check(status: u16, body: &[u8], path: &str) -> io::Result<()> {
    if status == 200 && body == path.as_bytes() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{path} was answered {status} {:?}",
        String::from_utf8_lossy(body)
    )))
}

/// An HTTP/2 connection with prior knowledge.
#[derive(Clone)]
pub struct Http2 {
    sender: h2::client::SendRequest<Bytes>,
}

/// Why a stream got no answer.
#[derive(Debug)]
pub enum Http2Error {
    /// The connection was told to go before the stream began: the request is for another connection.
    GoAway,
    Failed(io::Error),
}

impl Http2 {
    /// The connection, and the task that ends with it.
    pub async fn open(source: Ipv4Addr, to: SocketAddr) -> io::Result<(Self, JoinHandle<Result<(), h2::Error>>)> {
        let stream = connect(source, to).await?;
        let shake = async { h2::client::handshake(stream).await.map_err(io::Error::other) };
        let (sender, connection) = limited("preface", shake).await?;
        Ok((Self { sender }, tokio::spawn(connection)))
    }

    /// The answer to a GET, which must be 200 with the path as body.
    pub async fn get(&mut self, path: &str) -> Result<http::HeaderMap, Http2Error> {
        let request = http::Request::get(format!("http://swap.test{path}"));
        let request = request.body(()).map_err(|e| Http2Error::Failed(io::Error::other(e)))?;
        let sending = async {
            poll_fn(|cx| self.sender.poll_ready(cx)).await.map_err(of_h2)?;
            let (response, _) = self.sender.send_request(request, true).map_err(of_h2)?;
            let (parts, mut body) = response.await.map_err(of_h2)?.into_parts();
            let mut whole = Vec::new();
            while let Some(chunk) = body.data().await {
                let chunk = chunk.map_err(of_h2)?;
                let _ = body.flow_control().release_capacity(chunk.len());
                whole.extend_from_slice(&chunk);
            }
            check(parts.status.as_u16(), &whole, path).map_err(Http2Error::Failed)?;
            Ok(parts.headers)
        };
        match tokio::time::timeout(LIMIT, sending).await {
            Ok(done) => done,
            Err(_) => Err(Http2Error::Failed(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl Display for Http2Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::GoAway => f.write_str("told to go"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

fn of_h2(error: h2::Error) -> Http2Error {
    if error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR) {
        Http2Error::GoAway
    } else {
        Http2Error::Failed(io::Error::other(error))
    }
}

/// A TCP connection to one of the echoes.
pub struct Tunnel {
    stream: TcpStream,
    /// Which echo it is.
    pub name: String,
}

impl Tunnel {
    pub async fn open(source: Ipv4Addr, to: SocketAddr) -> io::Result<Self> {
        let mut stream = connect(source, to).await?;
        let mut name = Vec::new();
        while name.last() != Some(&b'\n') {
            let mut byte = [0];
            limited("the echo's name", stream.read_exact(&mut byte)).await?;
            name.push(byte[0]);
        }
        name.pop();
        let name = String::from_utf8(name).map_err(io::Error::other)?;
        Ok(Self { stream, name })
    }

    /// Sends `bytes` and reads them back.
    pub async fn echo(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut back = vec![0; bytes.len()];
        limited("write", self.stream.write_all(bytes)).await?;
        limited("echo", self.stream.read_exact(&mut back)).await?;
        if back == bytes {
            Ok(())
        } else {
            Err(io::Error::other("the echo differs"))
        }
    }

    /// Waits until the proxy closes.
    pub async fn closed(&mut self) -> io::Result<()> {
        let mut byte = [0];
        match limited("close", self.stream.read(&mut byte)).await {
            Ok(0) => Ok(()),
            Ok(_) => Err(io::Error::other("more came, and no end")),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Whether the proxy has closed by now.
    pub fn is_closed(&self) -> bool {
        let mut byte = [0];
        !matches!(self.stream.try_read(&mut byte), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }
}
