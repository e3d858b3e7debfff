//! Request heads.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use smallvec::SmallVec;

use super::{
    super::{
        super::message::{Protocol, RequestHead, Spelling},
        CodecError,
    },
    ServerSettings,
    body::Body,
    fields::{self, Bounds, CODEC_ERROR, bad, printable},
    hop::{self, Connection, Framing, Kind},
    target::{Target, is_authority_byte},
};
use crate::{cluster::HeaderCase, http::UnderscoreAction};

/// A decoded head, and what the connection needs to know of it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) head: RequestHead,
    pub(super) body: Body,
    pub(super) keep_alive: bool,
}

/// Methods that Envoy's HTTP/1 codec knows; it answers 400 to any other, and so to lower-case ones.
const METHODS: &[&[u8]] = &[
    b"GET",
    b"POST",
    b"PUT",
    b"DELETE",
    b"HEAD",
    b"OPTIONS",
    b"PATCH",
    b"CONNECT",
    b"TRACE",
    b"ACL",
    b"BIND",
    b"CHECKOUT",
    b"COPY",
    b"LINK",
    b"LOCK",
    b"MERGE",
    b"MKACTIVITY",
    b"MKCALENDAR",
    b"MKCOL",
    b"MOVE",
    b"MSEARCH",
    b"NOTIFY",
    b"PROPFIND",
    b"PROPPATCH",
    b"PURGE",
    b"QUERY",
    b"REBIND",
    b"REPORT",
    b"SEARCH",
    b"SOURCE",
    b"SUBSCRIBE",
    b"UNBIND",
    b"UNLINK",
    b"UNLOCK",
    b"UNSUBSCRIBE",
];

/// Decodes `head`, which starts with the request line and ends with the empty line.
pub(super) fn decode(head: Bytes, settings: &ServerSettings) -> Result<Request, CodecError> {
    let end = memchr::memchr(b'\n', &head).map_or(head.len(), |lf| lf + 1);
    let (line_bytes, block) = (head.slice(..end), head.slice(end..));
    let bounds = Bounds::new(settings.max_headers_kb, settings.max_headers_count);
    let method = method(&line_bytes)?;
    Line::parse(method, &line_bytes)
        .and_then(|line| {
            fields::parse(block, bounds, |block, lines| {
                // Without accept_http_10 the version is what is refused, further down.
                if line.version == Version::Http09 && settings.accept_http_10 && !lines.is_empty() {
                    return Err(bad(
                        400,
                        CODEC_ERROR,
                        "a request without version, as in HTTP/0.9, has header lines",
                    ));
                }
                Gathered::gather(block, lines, settings)?.request(line, &line_bytes, block, settings)
            })
        })
        .map_err(|error| fields::reword(error, &head))
}

/// What cannot become a request is refused at once, not when its head is complete.
pub(super) fn check_line(line: &[u8], settings: &ServerSettings) -> Result<(), CodecError> {
    Line::parse(method(line)?, line)
        .and_then(|line| Target::parse(&line.method, line.target, settings.allow_absolute_url).map(drop))
        .map_err(|error| fields::reword(error, line))
}

fn refuse_line(line: &[u8], what: &str) -> CodecError {
    let line = printable(fields::trim_line(line));
    bad(
        400,
        CODEC_ERROR,
        format!("the request line \"{line}\" has no valid {what}"),
    )
}

/// The method that a request line begins with. Envoy looks at nothing else before it is one.
fn method(line: &[u8]) -> Result<Method, CodecError> {
    let (method, _) = split_word(fields::trim_line(line));
    let known = METHODS.contains(&method).then(|| Method::from_bytes(method).ok());
    known.flatten().ok_or_else(|| refuse_line(line, "method"))
}

/// A request line. Envoy takes runs of white space between its parts, and after them.
struct Line<'a> {
    method: Method,
    target: &'a [u8],
    version: Version,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http09,
    Http10,
    Http11,
}

impl<'a> Line<'a> {
    fn parse(method: Method, line: &'a [u8]) -> Result<Self, CodecError> {
        let (_, rest) = split_word(fields::trim_line(line));
        let (target, version) = split_word(rest);
        if target.is_empty() {
            return Err(refuse_line(line, "target"));
        }
        let version = match version {
            b"HTTP/1.1" => Version::Http11,
            [] => Version::Http09,
            // Any other is taken for HTTP/1.0, where that is accepted.
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
                Version::Http10
            }
            _ => return Err(refuse_line(line, "version")),
        };
        Ok(Self {
            method,
            target,
            version,
        })
    }
}

fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let space = |b: &u8| matches!(b, b' ' | b'\t');
    let end = text.iter().position(space).unwrap_or(text.len());
    let rest = &text[end..];
    let start = rest.iter().position(|b| !space(b)).unwrap_or(rest.len());
    (&text[..end], &rest[start..])
}

/// The header lines, sorted into those of the message and those of the connection.
struct Gathered<'a> {
    headers: HeaderMap,
    hosts: SmallVec<[&'a [u8]; 1]>,
    upgrades: SmallVec<[&'a [u8]; 1]>,
    te: Option<&'a [u8]>,
    connection: Connection<'a>,
    framing: Framing,
    spelling: Spelling,
}

impl<'a> Gathered<'a> {
    fn gather(block: &Bytes, lines: &[httparse::Header<'a>], settings: &ServerSettings) -> Result<Self, CodecError> {
        let spelling = match settings.header_case {
            HeaderCase::Preserve => Spelling::new(lines.iter().map(|line| line.name)),
            _ => Spelling::default(),
        };
        let mut this = Self {
            headers: fields::map_for(lines.len())?,
            hosts: SmallVec::new(),
            upgrades: SmallVec::new(),
            te: None,
            connection: Connection::default(),
            framing: Framing::default(),
            spelling,
        };
        for line in lines {
            match Kind::of(line.name) {
                Kind::Host => this.hosts.push(line.value),
                Kind::Connection => this.connection.add(line.value),
                Kind::ProxyConnection => this.connection.add_proxy(line.value),
                Kind::KeepAlive => {}
                Kind::TransferEncoding => this.framing.transfer_encoding(line.value)?,
                Kind::ContentLength => {
                    this.framing.content_length(line.value)?;
                    fields::append(&mut this.headers, block, line)?;
                }
                Kind::Upgrade => this.upgrades.push(line.value),
                Kind::Te => {
                    this.te = Some(line.value);
                    if let Some(te) = hop::sanitized_te(line.value) {
                        this.headers.insert(header::TE, te);
                    }
                }
                Kind::EndToEnd => {
                    if settings.headers_with_underscores != UnderscoreAction::Allow && line.name.contains('_') {
                        if settings.headers_with_underscores == UnderscoreAction::DropHeader {
                            continue;
                        }
                        let sentence = format!("the header name {} has an underscore", printable(line.name.as_bytes()));
                        return Err(bad(400, "http1.unexpected_underscore", sentence));
                    }
                    fields::append(&mut this.headers, block, line)?;
                }
            }
        }
        Ok(this)
    }

    fn request(
        mut self,
        line: Line<'_>,
        line_bytes: &Bytes,
        block: &Bytes,
        settings: &ServerSettings,
    ) -> Result<Request, CodecError> {
        let connect = line.method == Method::CONNECT;
        if connect {
            self.refuse_connect_body()?;
        }
        self.framing.settle(settings.allow_chunked_length)?;
        if self.framing.chunked {
            self.headers.remove(header::CONTENT_LENGTH);
        }
        let upgrade = self.upgrade(block)?;
        // An upgrade keeps what its `Connection` names, which goes on with it.
        let host_nominated = match upgrade {
            Some(_) => false,
            None => self.connection.remove_nominated(&mut self.headers, self.te)?,
        };
        let target = Target::parse(&line.method, line.target, settings.allow_absolute_url)?;
        if line.version != Version::Http11 && !settings.accept_http_10 {
            return Err(bad(
                426,
                "low_version",
                "the request is not HTTP/1.1, and accept_http_10 is off",
            ));
        }
        let (scheme, authority, path) = match target {
            Target::Origin(path) => {
                let host = if host_nominated { None } else { self.host(block)? };
                (settings.scheme.clone(), host, fields::value(line_bytes, path)?)
            }
            Target::Absolute {
                scheme,
                authority,
                path: [],
            } => (
                scheme,
                Some(fields::value(line_bytes, authority)?),
                HeaderValue::from_static("/"),
            ),
            Target::Absolute {
                scheme,
                authority,
                path,
            } => (
                scheme,
                Some(fields::value(line_bytes, authority)?),
                fields::value(line_bytes, path)?,
            ),
            Target::Authority(authority) => (
                settings.scheme.clone(),
                Some(fields::value(line_bytes, authority)?),
                HeaderValue::from_static(""),
            ),
        };
        let default = || {
            settings
                .default_host_for_http_10
                .clone()
                .filter(|_| line.version != Version::Http11)
        };
        let authority = authority.or_else(default);
        let host_missing = authority.is_none();
        let authority = authority.unwrap_or(HeaderValue::from_static(""));
        let body = match self.framing {
            _ if connect || upgrade.is_some() => Body::Tunnel,
            Framing { chunked: true, .. } => Body::chunked(),
            Framing {
                length: Some(length), ..
            } => Body::length(length),
            Framing { length: None, .. } => Body::Done,
        };
        let connection = &self.connection;
        let keep_alive = if line.version == Version::Http11 {
            !connection.close
        } else {
            connection.keep_alive
        };
        let protocol = if line.version == Version::Http11 {
            Protocol::Http11
        } else {
            Protocol::Http10
        };
        let Self { headers, spelling, .. } = self;
        let head = RequestHead {
            method: line.method,
            scheme,
            authority,
            host_missing,
            path,
            upgrade,
            headers,
            spelling,
            protocol,
        };
        Ok(Request { head, body, keep_alive })
    }

    fn refuse_connect_body(&mut self) -> Result<(), CodecError> {
        if self.framing.chunked {
            let sentence = "CONNECT has Transfer-Encoding: chunked, which would be taken for bytes of the tunnel";
            return Err(bad(501, hop::INVALID_TRANSFER_ENCODING, sentence));
        }
        if self.framing.length.is_some_and(|n| n > 0) {
            return Err(bad(400, "http1.body_disallowed", "CONNECT has a Content-Length"));
        }
        self.headers.remove(header::CONTENT_LENGTH);
        Ok(())
    }

    /// Repeated `Host` lines are joined, as Envoy does; the result is rarely an authority that anything serves.
    fn host(&self, block: &Bytes) -> Result<Option<HeaderValue>, CodecError> {
        let host = match self.hosts.as_slice() {
            [] => return Ok(None),
            [host] => fields::value(block, host)?,
            hosts => joined(hosts)?,
        };
        if let Some(b) = host.as_bytes().iter().find(|b| !is_authority_byte(**b)) {
            let sentence = format!("Host \"{}\" has the byte 0x{b:02x}", printable(host.as_bytes()));
            return Err(bad(400, "http.invalid_authority", sentence));
        }
        Ok(Some(host))
    }

    /// The protocol asked for, as it was written. `h2c` is ignored, as Envoy does: the answer is HTTP/1.1.
    fn upgrade(&mut self, block: &Bytes) -> Result<Option<HeaderValue>, CodecError> {
        if !self.connection.upgrade {
            return Ok(None);
        }
        let upgrade = match self.upgrades.as_slice() {
            [] => return Ok(None),
            [h2c] if h2c.eq_ignore_ascii_case(b"h2c") => {
                self.headers.remove(HTTP2_SETTINGS);
                return Ok(None);
            }
            [upgrade] => fields::value(block, upgrade)?,
            upgrades => joined(upgrades)?,
        };
        // Matchers and logs see both fields, and the upstream gets them as they were written.
        self.headers.insert(header::UPGRADE, upgrade.clone());
        self.headers.insert(header::CONNECTION, self.connection.value(block)?);
        Ok(Some(upgrade))
    }
}

const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

fn joined(values: &[&[u8]]) -> Result<HeaderValue, CodecError> {
    let all = Bytes::from(values.join(&b','));
    fields::value(&all, &all)
}
