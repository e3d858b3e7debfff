//! What a route asks of a request: path, headers, query, runtime fraction, gRPC, TLS context.

use std::borrow::Cow;

use http::HeaderName;

use super::RouteFacts;
use crate::{
    http::message::RequestHead,
    matcher::{Regex, StringMatcher},
    stream_info::TlsInfo,
};

/// `envoy.config.route.v3.RouteMatch`, parsed. All parts must hold.
#[derive(Debug)]
pub struct RouteMatch {
    pub path: PathMatch,
    pub case_sensitive: bool,
    pub headers: Vec<HeaderMatcher>,
    pub query: Vec<QueryMatcher>,
    pub cookies: Vec<CookieMatcher>,
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

/// `envoy.config.route.v3.HeaderMatcher`, parsed. Of several values of one header each counts by itself, as in Envoy 1.40.
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

/// A cookie that is missing does not match, whatever the matcher; `invert` then makes it match.
#[derive(Debug)]
pub struct CookieMatcher {
    pub name: Box<str>,
    pub value: StringMatcher,
    pub invert: bool,
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

impl RouteMatch {
    /// The first part that the request does not satisfy, by its field's name; `None`: the route takes the request.
    pub fn first_failure(&self, path: &str, facts: &RouteFacts<'_>) -> Option<&'static str> {
        let request = facts.request;
        if !self.matches_path(path, request) {
            return Some("path");
        }
        if !self.headers.iter().all(|h| h.matches(request)) {
            return Some("headers");
        }
        if !self.query.is_empty() && !self.query.iter().all(|q| q.matches(request.query().unwrap_or(""))) {
            return Some("query_parameters");
        }
        if !self.cookies.iter().all(|c| c.matches(&request.headers)) {
            return Some("cookies");
        }
        if self.grpc_only && !crate::http::local_reply::is_grpc(request) {
            return Some("grpc");
        }
        if self.tls_context.is_some_and(|wanted| !wanted.matches(facts.tls)) {
            return Some("tls_context");
        }
        if !self.dynamic_metadata.iter().all(|m| m.matches(facts.dynamic_metadata)) {
            return Some("dynamic_metadata");
        }
        if self.runtime_fraction.as_ref().is_some_and(|f| !f.holds(facts)) {
            return Some("runtime_fraction");
        }
        None
    }

    fn matches_path(&self, path: &str, request: &RequestHead) -> bool {
        let connect = request.method == http::Method::CONNECT;
        match &self.path {
            PathMatch::Connect => connect,
            // CONNECT without a path is taken by a connect_matcher only.
            _ if connect && path.is_empty() => false,
            PathMatch::Prefix(p) => starts_with(path, p, self.case_sensitive),
            PathMatch::Exact(p) => path.len() == p.len() && starts_with(path, p, self.case_sensitive),
            PathMatch::Regex(r) => r.is_full_match(path.as_bytes()),
            PathMatch::PathSeparatedPrefix(p) => {
                starts_with(path, p, self.case_sensitive) && matches!(path.as_bytes().get(p.len()), None | Some(b'/'))
            }
        }
    }
}

fn starts_with(path: &str, prefix: &str, case_sensitive: bool) -> bool {
    let Some(head) = path.as_bytes().get(..prefix.len()) else {
        return false;
    };
    if case_sensitive {
        head == prefix.as_bytes()
    } else {
        head.eq_ignore_ascii_case(prefix.as_bytes())
    }
}

impl HeaderField {
    /// The field's value: borrowed, or several values of one header joined with `,`.
    pub fn value<'a>(&self, request: &'a RequestHead) -> Option<Cow<'a, [u8]>> {
        let some = |v: &'a [u8]| (!v.is_empty()).then_some(Cow::Borrowed(v));
        match self {
            Self::Method => some(request.method.as_str().as_bytes()),
            Self::Path => some(request.path.as_bytes()),
            Self::Authority => (!request.host_missing).then_some(Cow::Borrowed(request.authority.as_bytes())),
            Self::Scheme => some(request.scheme.as_bytes()),
            Self::Protocol => request.upgrade.as_ref().map(|u| Cow::Borrowed(u.as_bytes())),
            Self::Name(name) => joined(&request.headers, name),
        }
    }
}

/// The values of a header joined with `,`, as Envoy matches them; one value is borrowed.
pub fn joined<'a>(headers: &'a http::HeaderMap, name: &HeaderName) -> Option<Cow<'a, [u8]>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    let Some(second) = values.next() else {
        return Some(Cow::Borrowed(first.as_bytes()));
    };
    let mut all = first.as_bytes().to_vec();
    for value in std::iter::once(second).chain(values) {
        all.push(b',');
        all.extend_from_slice(value.as_bytes());
    }
    Some(Cow::Owned(all))
}

impl HeaderMatcher {
    pub fn matches(&self, request: &RequestHead) -> bool {
        match &self.name {
            HeaderField::Name(name) => self.matches_values(request.headers.get_all(name).iter().map(|v| v.as_bytes())),
            field => self.matches_values(field.value(request).as_deref().into_iter()),
        }
    }

    /// The same for a response's headers; pseudo-headers are missing there.
    pub fn matches_headers(&self, headers: &http::HeaderMap) -> bool {
        match &self.name {
            HeaderField::Name(name) => self.matches_values(headers.get_all(name).iter().map(|v| v.as_bytes())),
            _ => self.matches_values(std::iter::empty()),
        }
    }

    /// Each value of a header counts by itself: one that matches is enough.
    fn matches_values<'v>(&self, values: impl Iterator<Item = &'v [u8]>) -> bool {
        let mut values = values.peekable();
        if let HeaderCondition::Present(wanted) = &self.condition {
            let present = values.peek().is_some() || self.treat_missing_as_empty;
            return (present == *wanted) != self.invert;
        }
        if values.peek().is_none() {
            // A missing header fails every condition on its value, inverted or not.
            return self.treat_missing_as_empty && self.holds(b"") != self.invert;
        }
        values.any(|value| self.holds(value)) != self.invert
    }

    fn holds(&self, value: &[u8]) -> bool {
        match &self.condition {
            HeaderCondition::Present(wanted) => *wanted,
            HeaderCondition::Value(matcher) => matcher.matches(value),
            HeaderCondition::Range { start, end } => std::str::from_utf8(value)
                .ok()
                .and_then(|v| v.parse::<i64>().ok())
                .is_some_and(|n| (*start..*end).contains(&n)),
        }
    }
}

impl CookieMatcher {
    fn matches(&self, headers: &http::HeaderMap) -> bool {
        let values = headers
            .get_all(http::header::COOKIE)
            .iter()
            .filter_map(|v| v.to_str().ok());
        let mut cookies = values
            .flat_map(|v| v.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        let value = cookies.find(|(name, _)| *name == &*self.name).map(|(_, value)| value);
        value.is_some_and(|value| self.value.matches(value.trim_matches('"').as_bytes())) != self.invert
    }
}

impl QueryMatcher {
    fn matches(&self, query: &str) -> bool {
        let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let value = pairs.find(|(name, _)| *name == &*self.name).map(|(_, value)| value);
        match (&self.condition, value) {
            (QueryCondition::Present(wanted), value) => value.is_some() == *wanted,
            (QueryCondition::Value(matcher), Some(value)) => matcher.matches(value.as_bytes()),
            (QueryCondition::Value(_), None) => false,
        }
    }
}

impl TlsContextMatch {
    fn matches(self, tls: Option<&TlsInfo>) -> bool {
        let presented = tls.is_some_and(|t| t.peer.is_some());
        let validated = tls.is_some_and(TlsInfo::validated);
        self.presented.is_none_or(|wanted| wanted == presented)
            && self.validated.is_none_or(|wanted| wanted == validated)
    }
}

impl MetadataMatcher {
    fn matches(&self, metadata: Option<&serde_json::Map<String, serde_json::Value>>) -> bool {
        self.found(metadata).unwrap_or(self.invert)
    }

    /// Whether the value that is there matches; `None` where none is.
    pub fn found(&self, metadata: Option<&serde_json::Map<String, serde_json::Value>>) -> Option<bool> {
        let start = metadata?.get(&*self.filter)?;
        let found = self.path.iter().try_fold(start, |at, key| at.get(&**key))?;
        let holds = found.as_str().is_some_and(|v| self.value.matches(v.as_bytes()));
        Some(holds != self.invert)
    }
}

/// Denominator of [`RuntimeFraction::default_millionths`].
const MILLION: u64 = 1_000_000;

impl RuntimeFraction {
    /// Whether this request falls into the fraction. A runtime key is a percentage, as in Envoy.
    pub fn holds(&self, facts: &RouteFacts<'_>) -> bool {
        facts.random % MILLION < self.millionths(facts.runtime)
    }

    /// What the runtime says now, else the default.
    pub fn millionths(&self, runtime: &serde_json::Map<String, serde_json::Value>) -> u64 {
        /// Millionths in one percent.
        const PERCENT: f64 = 10_000.0;
        let configured = runtime.get(&*self.runtime_key).and_then(|value| match value {
            serde_json::Value::Object(fraction) => {
                let numerator = fraction.get("numerator").map_or(Some(0), serde_json::Value::as_u64)?;
                let denominator = match fraction.get("denominator").and_then(serde_json::Value::as_str) {
                    None | Some("HUNDRED") => 100,
                    Some("TEN_THOUSAND") => 10_000,
                    Some("MILLION") => MILLION,
                    Some(_) => return None,
                };
                Some(numerator.saturating_mul(MILLION / denominator))
            }
            percent => percent.as_f64().map(|percent| (percent * PERCENT) as u64),
        });
        configured.unwrap_or(u64::from(self.default_millionths))
    }
}
