//! As much HTTP/1.1 as the demo's clients and applications need: kept connections, bodies with a length.

use std::{io, net::SocketAddr};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Nothing here sends more.
const MAX_HEADERS: usize = 64;

/// One side of a connection.
pub(crate) struct Wire {
    socket: TcpStream,
    input: BytesMut,
}

/// A request's or a response's first part.
pub(crate) struct Head {
    /// A request's; empty for a response.
    pub(crate) path: String,
    /// A response's; 0 for a request.
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn closes(&self) -> bool {
        self.header("connection")
            .is_some_and(|c| c.eq_ignore_ascii_case("close"))
    }
}

impl Wire {
    pub(crate) fn new(socket: TcpStream) -> Self {
        // Without it small writes wait for acknowledgements; where it fails they only do that.
        let _ = socket.set_nodelay(true);
        Self {
            socket,
            input: BytesMut::new(),
        }
    }

    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        TcpStream::connect(address).await.map(Self::new)
    }

    pub(crate) async fn send(&mut self, text: &str) -> io::Result<()> {
        self.socket.write_all(text.as_bytes()).await
    }

    /// The next request; `None` where the peer is done.
    pub(crate) async fn request(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some((length, head)) = parse_request(&self.input)? {
                let _ = self.input.split_to(length);
                return Ok(Some(head));
            }
            if self.more().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next response, final ones only.
    pub(crate) async fn response(&mut self) -> io::Result<(Head, Bytes)> {
        let head = loop {
            if let Some((length, head)) = parse_response(&self.input)? {
                let _ = self.input.split_to(length);
                break head;
            }
            if self.more().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let length = head.header("content-length").and_then(|v| v.parse::<usize>().ok());
        while length.is_none_or(|length| self.input.len() < length) {
            if self.more().await? == 0 {
                if length.is_none() {
                    break;
                }
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let body = self.input.split_to(length.unwrap_or(self.input.len()));
        Ok((head, body.freeze()))
    }

    async fn more(&mut self) -> io::Result<usize> {
        self.socket.read_buf(&mut self.input).await
    }
}

fn parse_request(input: &[u8]) -> io::Result<Option<(usize, Head)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(input).map_err(io::Error::other)?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    let head = Head {
        path: request.path.unwrap_or_default().to_owned(),
        status: 0,
        headers: owned(request.headers),
    };
    Ok(Some((length, head)))
}

fn parse_response(input: &[u8]) -> io::Result<Option<(usize, Head)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(input).map_err(io::Error::other)?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    let head = Head {
        path: String::new(),
        status: response.code.unwrap_or(0),
        headers: owned(response.headers),
    };
    Ok(Some((length, head)))
}

fn owned(headers: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    let text = |h: &httparse::Header<'_>| (h.name.to_owned(), String::from_utf8_lossy(h.value).into_owned());
    headers.iter().map(text).collect()
}
