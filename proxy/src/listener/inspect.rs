//! Listener filters: what a connection's first bytes and its socket tell, before a filter chain is chosen.

use std::future::poll_fn;

use bytes::{Bytes, BytesMut};
use certs::client_hello::{self, Peeked};
use tokio::io::{AsyncRead, ReadBuf};

use super::{ConnectionFacts, ListenerFilter, ListenerFilterKind, ListenerFilterPredicate, UpstreamSource};
use crate::io::Socket;

/// Most bytes that inspection reads before it gives up: a ClientHello may be as large as this.
const MAX_PEEK: usize = client_hello::MAX_CLIENT_HELLO;

/// Why a connection ended during inspection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InspectError {
    /// The client closed, or the socket failed, before the inspectors had seen enough.
    Closed,
    /// A filter refused what it saw.
    Refused(&'static str),
}

/// What was read so far, and not yet consumed by anyone.
#[derive(Debug, Default)]
pub struct Peek {
    bytes: BytesMut,
    closed: bool,
}

impl Peek {
    pub fn into_bytes(self) -> Bytes {
        if self.bytes.is_empty() {
            Bytes::new()
        } else {
            self.bytes.freeze()
        }
    }

    /// Reads more; false where the peer has closed.
    async fn more(&mut self, socket: &mut Socket) -> bool {
        const CHUNK: usize = 1024;
        let mut chunk = [0; CHUNK];
        let read = poll_fn(|cx| {
            let mut buf = ReadBuf::new(&mut chunk);
            let poll = match socket {
                Socket::Tcp(s) => std::pin::Pin::new(s).poll_read(cx, &mut buf),
                Socket::Unix(s) => std::pin::Pin::new(s).poll_read(cx, &mut buf),
            };
            poll.map_ok(|()| buf.filled().len())
        })
        .await;
        match read {
            Ok(n) if n > 0 => {
                self.bytes.extend_from_slice(&chunk[..n]);
                true
            }
            _ => {
                self.closed = true;
                false
            }
        }
    }
}

/// Runs the inspectors that need the connection's first bytes. Bytes stay in `peek`, also when a timeout cuts this short.
///
/// # Errors
/// Where the client closed without a byte, or a filter refuses the connection.
pub async fn run(
    filters: &[ListenerFilter],
    socket: &mut Socket,
    facts: &mut ConnectionFacts,
    peek: &mut Peek,
) -> Result<(), InspectError> {
    for filter in filters {
        let disabled = filter.disabled.as_ref().is_some_and(|p| p.holds(facts));
        if disabled {
            continue;
        }
        match &filter.kind {
            // Done by the caller, which owns the socket's addresses.
            ListenerFilterKind::OriginalDst => {}
            ListenerFilterKind::OriginalSrc { mark } => {
                let source = facts.source.ip();
                facts.upstream_source = source.map(|source| UpstreamSource {
                    ip: source.ip(),
                    mark: *mark,
                });
            }
            ListenerFilterKind::TlsInspector { .. } => tls(socket, facts, peek).await?,
            // TLS says by ALPN what is inside.
            ListenerFilterKind::HttpInspector if facts.transport_protocol == TLS => {}
            ListenerFilterKind::HttpInspector => http(socket, facts, peek).await?,
            ListenerFilterKind::ProxyProtocol { .. } => return Err(InspectError::Refused("proxy_protocol")),
        }
    }
    Ok(())
}

/// `transport_protocol` of a connection that begins with a ClientHello.
pub const TLS: &str = "tls";
/// `transport_protocol` of any other.
pub const RAW_BUFFER: &str = "raw_buffer";

async fn tls(socket: &mut Socket, facts: &mut ConnectionFacts, peek: &mut Peek) -> Result<(), InspectError> {
    loop {
        match client_hello::parse(&peek.bytes, MAX_PEEK) {
            Peeked::Hello(hello) => {
                facts.transport_protocol = TLS;
                facts.server_name = hello.sni.map(Into::into);
                facts.application_protocols = hello
                    .alpn
                    .iter()
                    .map(|p| String::from_utf8_lossy(p).into_owned().into())
                    .collect();
                return Ok(());
            }
            Peeked::NotTls(_) => return Ok(()),
            Peeked::TooLarge => return Err(InspectError::Refused("the ClientHello is too large")),
            Peeked::NeedMore => {
                if !peek.more(socket).await {
                    // Half a hello never falls through to plaintext.
                    return Err(InspectError::Closed);
                }
            }
        }
    }
}

/// How an HTTP/2 connection begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A request line longer than this is not looked at further: Envoy's `http_inspector` gives up there too.
const MAX_REQUEST_LINE: usize = 8 * 1024;

async fn http(socket: &mut Socket, facts: &mut ConnectionFacts, peek: &mut Peek) -> Result<(), InspectError> {
    loop {
        match http_version(&peek.bytes) {
            Some(Some(version)) => {
                facts.application_protocols = vec![version.into()];
                return Ok(());
            }
            Some(None) => return Ok(()),
            None => {
                if !peek.more(socket).await {
                    return if peek.bytes.is_empty() {
                        Err(InspectError::Closed)
                    } else {
                        Ok(())
                    };
                }
            }
        }
    }
}

/// The protocol that `bytes` begin, as filter chains name it; `Some(None)`: not HTTP; `None`: more bytes are needed.
fn http_version(bytes: &[u8]) -> Option<Option<&'static str>> {
    if bytes.len() >= PREFACE.len() && bytes.starts_with(PREFACE) {
        return Some(Some("h2c"));
    }
    if PREFACE.starts_with(bytes) {
        return None;
    }
    let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
        let method = bytes.iter().position(|b| *b == b' ').unwrap_or(bytes.len());
        let plausible = bytes[..method]
            .iter()
            .all(|b| b.is_ascii_uppercase() || b"-_".contains(b));
        return if plausible && bytes.len() < MAX_REQUEST_LINE {
            None
        } else {
            Some(None)
        };
    };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    let mut words = line.split(|b| *b == b' ');
    let (method, target, version, rest) = (words.next(), words.next(), words.next(), words.next());
    if method.is_none_or(<[u8]>::is_empty) || target.is_none_or(<[u8]>::is_empty) || rest.is_some() {
        return Some(None);
    }
    match version {
        Some(b"HTTP/1.1") => Some(Some("http/1.1")),
        Some(b"HTTP/1.0") => Some(Some("http/1.0")),
        _ => Some(None),
    }
}

impl ListenerFilterPredicate {
    pub fn holds(&self, facts: &ConnectionFacts) -> bool {
        match self {
            Self::Any => true,
            Self::Not(inner) => !inner.holds(facts),
            Self::And(all) => all.iter().all(|p| p.holds(facts)),
            Self::Or(any) => any.iter().any(|p| p.holds(facts)),
            Self::DestinationPort { start, end } => (*start..*end).contains(&u32::from(facts.destination.port())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_told_by_its_first_line() {
        assert_eq!(http_version(b"GET / HTTP/1.1\r\n"), Some(Some("http/1.1")));
        assert_eq!(http_version(b"GET / HTTP/1.0\r\nHost: a\r\n"), Some(Some("http/1.0")));
        assert_eq!(http_version(PREFACE), Some(Some("h2c")));
        assert_eq!(http_version(b"PRI * HT"), None);
        assert_eq!(http_version(b"GET /"), None);
        assert_eq!(http_version(b"\x00\x01binary"), Some(None));
        assert_eq!(http_version(b"EHLO example.org\r\n"), Some(None));
    }
}
