//! A case as data: what the client does, on which listener, and what the upstreams answer.

use std::time::Duration;

use crate::support::h1::Step;
use crate::support::h2c::Request;
use crate::support::message::Kind;
use crate::support::upstream::{Fields, Reply};

/// Cases that share a bootstrap and so a process.
pub struct Suite {
    pub name: &'static str,
    pub bootstrap: &'static str,
    pub cases: Vec<Case>,
}

pub struct Case {
    pub name: &'static str,
    /// `{{port:NAME}}` in the bootstrap.
    pub listener: &'static str,
    pub client: Client,
    pub script: Vec<Reply>,
}

pub enum Client {
    /// One request that the builder below still shapes.
    H1Request {
        text: String,
        body: Vec<u8>,
        kind: Kind,
    },
    H1 {
        steps: Vec<Step>,
        kinds: Vec<Kind>,
    },
    H2(Vec<Request>),
}

/// `GET path` for `a.test` over HTTP/1.1.
pub fn get(name: &'static str, path: &str) -> Case {
    request(name, "GET", path)
}

pub fn request(name: &'static str, method: &str, path: &str) -> Case {
    let kind = if method == "HEAD" {
        Kind::ResponseToHead
    } else {
        Kind::Response
    };
    let text = format!("{method} {path} HTTP/1.1\r\nhost: a.test\r\n");
    new(
        name,
        Client::H1Request {
            text,
            body: Vec::new(),
            kind,
        },
    )
}

/// These bytes, one response.
pub fn raw(name: &'static str, bytes: impl Into<Vec<u8>>) -> Case {
    steps(name, vec![Step::Send(bytes.into())])
}

pub fn steps(name: &'static str, steps: Vec<Step>) -> Case {
    new(
        name,
        Client::H1 {
            steps,
            kinds: vec![Kind::Response],
        },
    )
}

/// One HTTP/2 request with prior knowledge.
pub fn h2(name: &'static str, request: Request) -> Case {
    new(name, Client::H2(vec![request]))
}

/// Several HTTP/2 requests at once.
pub fn h2_all(name: &'static str, requests: Vec<Request>) -> Case {
    new(name, Client::H2(requests))
}

fn new(name: &'static str, client: Client) -> Case {
    Case {
        name,
        listener: "main",
        client,
        script: Vec::new(),
    }
}

impl Case {
    pub fn on(mut self, listener: &'static str) -> Self {
        self.listener = listener;
        self
    }

    /// What the next request that reaches an upstream is answered with; the last reply repeats.
    pub fn reply(mut self, reply: Reply) -> Self {
        self.script.push(reply);
        self
    }

    /// How many responses come, and what each answers.
    pub fn kinds(mut self, wanted: &[Kind]) -> Self {
        let Client::H1 { kinds, .. } = &mut self.client else {
            panic!("{}: only raw HTTP/1.1 has kinds", self.name)
        };
        *kinds = wanted.to_vec();
        self
    }

    pub fn host(mut self, host: &str) -> Self {
        match &mut self.client {
            Client::H1Request { text, .. } => *text = text.replacen("host: a.test", &format!("host: {host}"), 1),
            _ => panic!("{}: no host to replace", self.name),
        }
        self
    }

    /// A header line without its CRLF.
    pub fn header(mut self, line: &str) -> Self {
        match &mut self.client {
            Client::H1Request { text, .. } => {
                text.push_str(line);
                text.push_str("\r\n");
            }
            _ => panic!("{}: no head to add to", self.name),
        }
        self
    }

    /// With its content-length.
    pub fn body(self, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        let mut case = self.header(&format!("content-length: {}", bytes.len()));
        if let Client::H1Request { body, .. } = &mut case.client {
            *body = bytes;
        }
        case
    }

    pub fn chunked(self, chunks: &[&str], trailers: &str) -> Self {
        let mut case = self.header("transfer-encoding: chunked");
        if let Client::H1Request { body, .. } = &mut case.client {
            *body = chunked(chunks, trailers).into_bytes();
        }
        case
    }

    /// What the HTTP/1.1 client does, and what it reads.
    pub fn h1_steps(&self) -> Option<(Vec<Step>, Vec<Kind>)> {
        match &self.client {
            Client::H1Request { text, body, kind } => {
                let bytes = [text.as_bytes(), b"\r\n", body].concat();
                Some((vec![Step::Send(bytes)], vec![*kind]))
            }
            Client::H1 { steps, kinds } => Some((steps.clone(), kinds.clone())),
            Client::H2(_) => None,
        }
    }
}

pub fn chunked(chunks: &[&str], trailers: &str) -> String {
    let data: String = chunks
        .iter()
        .map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len()))
        .collect();
    format!("{data}0\r\n{trailers}\r\n")
}

pub fn send(bytes: impl Into<Vec<u8>>) -> Step {
    Step::Send(bytes.into())
}

pub fn sleep(milliseconds: u64) -> Step {
    Step::Sleep(Duration::from_millis(milliseconds))
}

/// Shapes an HTTP/2 request in a table.
impl Request {
    pub fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    pub fn authority(mut self, authority: &'static str) -> Self {
        self.authority = authority;
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn data(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.data_after(0, bytes)
    }

    pub fn data_after(mut self, milliseconds: u64, bytes: impl Into<Vec<u8>>) -> Self {
        self.data.push((Duration::from_millis(milliseconds), bytes.into()));
        self
    }

    pub fn trailers(mut self, trailers: Fields) -> Self {
        self.trailers = trailers;
        self
    }

    pub fn unfinished(mut self) -> Self {
        self.unfinished = true;
        self
    }

    pub fn cancel_after(mut self, requests: usize) -> Self {
        self.cancel_after = Some(requests);
        self
    }

    pub fn protocol(mut self, protocol: &'static str) -> Self {
        self.protocol = Some(protocol);
        self
    }
}
