//! Envoy's substitution formats (`%REQ(X)% %RESPONSE_CODE%...`), compiled once; used by access logs, header edits,
//! direct responses and local replies.
//!
//! `parse` compiles, `operator` says what each `%...%` prints, `time` formats moments, `json` builds JSON log lines.
//! Source: Envoy's docs, "Access logging", "Command operators".

mod json;
mod operator;
mod parse;
mod time;

pub use json::JsonFormat;
use operator::Operator;
pub use time::iso8601;

use crate::{
    http::message::{RequestHead, ResponseHead},
    stream_info::StreamInfo,
    worker::Node,
};

/// What a format may look at. Absent parts print as `-`, as in Envoy.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    pub info: &'a StreamInfo,
    pub node: Option<&'a Node>,
    pub request: Option<&'a RequestHead>,
    pub response: Option<&'a ResponseHead>,
    pub response_trailers: Option<&'a http::HeaderMap>,
    /// `%LOCAL_REPLY_BODY%`.
    pub local_reply_body: &'a str,
}

impl<'a> Facts<'a> {
    /// A connection's facts, without any request.
    pub fn of_connection(info: &'a StreamInfo) -> Self {
        Self {
            info,
            node: None,
            request: None,
            response: None,
            response_trailers: None,
            local_reply_body: "",
        }
    }

    /// The gRPC status of the response: from its trailers, (trailers-only) its head, or its HTTP status.
    pub fn grpc_status(&self) -> Option<u32> {
        let of = |headers: &http::HeaderMap| headers.get("grpc-status")?.to_str().ok()?.parse().ok();
        let told = self.response_trailers.and_then(of);
        told.or_else(|| of(&self.response?.headers)).or_else(|| {
            let status = http::StatusCode::from_u16(self.info.response_code?).ok()?;
            Some(xds_client::grpc::of_http(status))
        })
    }
}

/// Operators that are known only where the config names their formatter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Formatters {
    /// `REQ_WITHOUT_QUERY`.
    pub req_without_query: bool,
}

/// A compiled text format.
#[derive(Debug, Default)]
pub struct Format {
    parts: Vec<Part>,
    /// Print nothing, rather than `-`, for what is absent (`omit_empty_values`).
    omit_empty: bool,
}

#[derive(Debug)]
enum Part {
    Text(Box<str>),
    Operator {
        operator: Operator,
        max_length: Option<usize>,
    },
}

impl Format {
    /// # Errors
    /// A sentence that names the operator that is unknown or malformed.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::with(Formatters::default(), text)
    }

    /// # Errors
    /// As [`Self::parse`].
    pub fn with(formatters: Formatters, text: &str) -> Result<Self, String> {
        Ok(Self {
            parts: parse::parts(text, formatters)?,
            omit_empty: false,
        })
    }

    /// The same format, printing nothing for what is absent.
    pub fn omitting_empty(mut self) -> Self {
        self.omit_empty = true;
        self
    }

    /// Appends the text to `out`.
    pub fn write(&self, out: &mut String, facts: &Facts<'_>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Operator { operator, max_length } => {
                    let start = out.len();
                    if !operator.write(out, facts) && !self.omit_empty {
                        out.push('-');
                    }
                    if let Some(max) = max_length {
                        truncate(out, start + max);
                    }
                }
            }
        }
    }

    /// The whole text where the format is one literal.
    pub fn as_literal(&self) -> Option<&str> {
        match &*self.parts {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The one operator that makes up the format, if it does, and how much of it is wanted.
    fn only_operator(&self) -> Option<(&Operator, Option<usize>)> {
        match &*self.parts {
            [Part::Operator { operator, max_length }] => Some((operator, *max_length)),
            _ => None,
        }
    }
}

fn truncate(out: &mut String, mut to: usize) {
    if out.len() > to {
        while !out.is_char_boundary(to) {
            to -= 1;
        }
        out.truncate(to);
    }
}
