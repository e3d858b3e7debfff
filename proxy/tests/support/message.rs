//! HTTP/1.1 as it is on the wire, taken apart leniently: a test wants to see what a proxy sent, not to correct it.

/// A request or a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The request line or status line, without its line end.
    pub start: String,
    /// Names in the case they came in, in order.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// The body ended as its framing says.
    pub complete: bool,
}

/// How far a message goes depends on what it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Request,
    Response,
    /// The answer to HEAD: framing headers without a body.
    ResponseToHead,
}

impl Message {
    /// The status of a response; 0 where the line has none.
    pub fn status(&self) -> u16 {
        self.start
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The method of a request.
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// The first message in `bytes` and how many of them it takes, or `None` before its head is whole.
    /// Without `complete` the message takes everything there is. `eof` ends a body that the connection delimits.
    pub fn parse(bytes: &[u8], kind: Kind, eof: bool) -> Option<(Self, usize)> {
        let (mut message, mut at) = Self::head(bytes)?;
        let no_body = kind == Kind::ResponseToHead
            || (kind == Kind::Response && matches!(message.status(), 100..=199 | 204 | 304));
        if no_body {
            message.complete = true;
            return Some((message, at));
        }
        if message
            .header("transfer-encoding")
            .is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked"))
        {
            at += message.chunks(&bytes[at..]);
        } else if let Some(length) = message
            .header("content-length")
            .and_then(|length| length.trim().parse::<usize>().ok())
        {
            let end = bytes.len().min(at + length);
            message.body = bytes[at..end].to_vec();
            message.complete = end == at + length;
            at = end;
        } else if kind == Kind::Request {
            message.complete = true;
        } else {
            message.body = bytes[at..].to_vec();
            message.complete = eof;
            at = bytes.len();
        }
        Some((message, at))
    }

    fn head(bytes: &[u8]) -> Option<(Self, usize)> {
        let end = find(bytes, b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        Some((
            Self {
                start,
                headers: lines.map(field).collect(),
                ..Self::default()
            },
            end + 4,
        ))
    }

    fn chunks(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(line_end) = find(&bytes[at..], b"\r\n") {
            let line = String::from_utf8_lossy(&bytes[at..at + line_end]).into_owned();
            let Ok(size) = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16) else {
                break;
            };
            let data = at + line_end + 2;
            if size == 0 {
                let Some(trailers) = trailer_block(&bytes[data..]) else {
                    break;
                };
                let text = String::from_utf8_lossy(&bytes[data..data + trailers]);
                self.trailers = text.split("\r\n").filter(|line| !line.is_empty()).map(field).collect();
                self.complete = true;
                return data + trailers;
            }
            let have = bytes.len().saturating_sub(data).min(size);
            self.body.extend_from_slice(&bytes[data..data + have]);
            if bytes.len() < data + size + 2 {
                break;
            }
            at = data + size + 2;
        }
        bytes.len()
    }
}

/// Length of the trailer section with its closing empty line.
fn trailer_block(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"\r\n") {
        Some(2)
    } else {
        find(bytes, b"\r\n\r\n").map(|end| end + 4)
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name.to_owned(), value.trim().to_owned())
}

pub fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
