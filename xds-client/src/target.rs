//! Where a management server listens, and the socket to it.

use socket2::{SockRef, TcpKeepalive};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// A peer whose packets are dropped (iptables DROP, a lost node) is found by the kernel 12 s after its last packet, which
/// leaves time to be connected elsewhere within 15 s. gRPC servers police HTTP/2 pings (Go's allow one in five minutes
/// unless told otherwise) but never see these probes.
const PROBE_AFTER: Duration = Duration::from_secs(4);
const PROBE_INTERVAL: Duration = Duration::from_secs(4);
const PROBES: u32 = 2;
/// The same for data that is never acknowledged, for which the kernel would try a quarter of an hour.
const USER_TIMEOUT: Duration = Duration::from_secs(12);

/// Address of a management server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The name is resolved again at each connection; all its addresses are tried.
    Tcp { host: String, port: u16 },
    /// A Unix socket; a relative path counts from the working directory, a leading `@` is Linux' abstract namespace
    /// (`core.v3.Pipe.path`).
    Unix(PathBuf),
}

/// A connection to a management server.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Target {
    /// Opens the plaintext connection; a TLS connector starts with it.
    ///
    /// # Errors
    /// The system's, with the address in the text.
    pub async fn connect(&self) -> io::Result<Box<dyn Io>> {
        let name_it = |error: io::Error| io::Error::new(error.kind(), format!("{self}: {error}"));
        match self {
            Self::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(name_it)?;
                stream.set_nodelay(true)?;
                let socket = SockRef::from(&stream);
                let keepalive = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_INTERVAL);
                socket.set_tcp_keepalive(&keepalive.with_retries(PROBES))?;
                socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
                Ok(Box::new(stream))
            }
            Self::Unix(path) => {
                let stream = match path.to_str().and_then(|path| path.strip_prefix('@')) {
                    Some(name) => UnixStream::connect(format!("\0{name}")).await,
                    None => UnixStream::connect(path).await,
                };
                Ok(Box::new(stream.map_err(name_it)?))
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
