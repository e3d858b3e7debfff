//! What a route asks of a request: path, headers, query, runtime fraction, gRPC, TLS context.

use http::HeaderName;

use crate::matcher::{Regex, StringMatcher};

/// `envoy.config.route.v3.RouteMatch`, parsed. All parts must hold.
#[derive(Debug)]
pub struct RouteMatch {
    pub path: PathMatch,
    pub case_sensitive: bool,
    pub headers: Vec<HeaderMatcher>,
    pub query: Vec<QueryMatcher>,
    /// Matches for this share of requests, in millionths; `None`: always.
    pub runtime_fraction: Option<RuntimeFraction>,
    pub grpc_only: bool,
    pub tls_context: Option<TlsContextMatch>,
    /// Per-request metadata conditions (`dynamic_metadata`).
    pub dynamic_metadata: Vec<MetadataMatcher>,
}

#[derive(Debug)]
pub enum PathMatch {
    Prefix(Box<str>),
    Exact(Box<str>),
    /// Matches the whole path without query.
    Regex(Regex),
    /// Without trailing slash; matches the path itself or the path followed by `/`.
    PathSeparatedPrefix(Box<str>),
    /// `connect_matcher`: CONNECT requests (and extended CONNECT) only.
    Connect,
}

#[derive(Debug, Clone)]
pub struct RuntimeFraction {
    pub runtime_key: Box<str>,
    pub default_millionths: u32,
}

#[derive(Debug, Clone, Copy)]
pub struct TlsContextMatch {
    pub presented: Option<bool>,
    pub validated: Option<bool>,
}

/// `envoy.config.route.v3.HeaderMatcher`, parsed. Several values of one header are joined with `,` as in Envoy.
#[derive(Debug)]
pub struct HeaderMatcher {
    pub name: HeaderField,
    pub condition: HeaderCondition,
    pub invert: bool,
    /// A missing header counts as an empty one, rather than never matching.
    pub treat_missing_as_empty: bool,
}

/// A header by name, or a pseudo-header, which [`crate::http::message::RequestHead`] holds as a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderField {
    Method,
    Path,
    /// `:authority` or `host`.
    Authority,
    Scheme,
    Protocol,
    Name(HeaderName),
}

#[derive(Debug)]
pub enum HeaderCondition {
    Present(bool),
    Value(StringMatcher),
    /// Base-10 integer in `start..end`.
    Range {
        start: i64,
        end: i64,
    },
}

#[derive(Debug)]
pub struct QueryMatcher {
    pub name: Box<str>,
    pub condition: QueryCondition,
}

#[derive(Debug)]
pub enum QueryCondition {
    Present(bool),
    Value(StringMatcher),
}

#[derive(Debug)]
pub struct MetadataMatcher {
    pub filter: Box<str>,
    pub path: Vec<Box<str>>,
    pub value: StringMatcher,
    pub invert: bool,
}
