//! The operators of formats: what each `%...%` prints.
//!
//! `plain` is the table of those without argument; `address`, `certificate`, `metadata`, `moment` and `request` hold
//! those whose argument means something.

use std::fmt::{Display, Write};

use http::{HeaderMap, HeaderName};
use serde_json::Value;

mod address;
mod certificate;
mod metadata;
mod moment;
mod plain;
mod request;

use self::{
    address::WithoutPort,
    certificate::CertificateField,
    metadata::Metadata,
    moment::{Interval, Time},
    plain::Plain,
    request::{GrpcForm, PathForm, ServerName},
};
use super::{Facts, Formatters, truncate};
use crate::{
    http::message::{RequestHead, ResponseHead},
    route::matcher::HeaderField,
};

/// One operator with its argument.
#[derive(Debug)]
pub(super) enum Operator {
    /// Takes no argument.
    Plain(&'static Plain),
    /// First header, then the alternative.
    Request(HeaderField, Option<HeaderField>),
    /// `REQ_WITHOUT_QUERY`, which `PATH` replaced.
    RequestWithoutQuery(HeaderField, Option<HeaderField>),
    Response(ResponseField, Option<ResponseField>),
    Trailer(HeaderName, Option<HeaderName>),
    Time(Time),
    Metadata(Metadata),
    /// `RESPONSE_FLAGS` and `RESPONSE_FLAGS_LONG`.
    Flags {
        long: bool,
    },
    /// `RESPONSE_CODE_DETAILS`; blanks become underscores unless they are allowed.
    Details {
        blanks: bool,
    },
    Environment(Box<str>),
    GrpcStatus(GrpcForm),
    CommonDuration(Interval),
    Path(PathForm),
    QueryParameter(Box<str>),
    Query {
        decoded: bool,
    },
    ServerName(ServerName),
    WithoutPort(WithoutPort),
    Certificate(CertificateField),
    /// The first that prints something.
    Coalesce(Vec<(Self, Option<usize>)>),
    /// Of something that Pillion does not have (filter state, CEL): never there.
    Absent,
}

fn put(out: &mut String, value: impl Display) -> bool {
    // Writing to a String cannot fail.
    let _ = write!(out, "{value}");
    true
}

fn put_some(out: &mut String, value: Option<impl Display>) -> bool {
    value.is_some_and(|value| put(out, value))
}

fn put_text(out: &mut String, value: Option<&str>) -> bool {
    match value.filter(|v| !v.is_empty()) {
        Some(value) => {
            out.push_str(value);
            true
        }
        None => false,
    }
}

/// What an operator wants in its parentheses.
#[derive(Clone, Copy)]
struct Argument<'a>(Option<&'a str>);

impl<'a> Argument<'a> {
    fn wanted(self) -> Result<&'a str, String> {
        self.optional()
            .ok_or_else(|| "wants an argument in parentheses".to_owned())
    }

    fn optional(self) -> Option<&'a str> {
        self.0.filter(|a| !a.is_empty())
    }

    /// The argument's parts between colons, as many as there may be; empty where it has fewer.
    fn parts<const N: usize>(self) -> Result<[&'a str; N], String> {
        let mut parts = [""; N];
        for (i, part) in self.optional().into_iter().flat_map(|a| a.split(':')).enumerate() {
            *parts.get_mut(i).ok_or_else(|| format!("takes {N} parts, not more"))? = part;
        }
        Ok(parts)
    }
}

impl Operator {
    /// `argument`: what stands in parentheses; `length`: whether the text is to be cut.
    pub(super) fn parse(name: &str, argument: Option<&str>, length: bool) -> Result<Self, String> {
        let operator = Self::of(name, Argument(argument))?;
        if length && !operator.takes_length(name) {
            return Err("takes no length".to_owned());
        }
        Ok(operator)
    }

    fn of(name: &str, argument: Argument<'_>) -> Result<Self, String> {
        if let Some(plain) = plain::find(name) {
            return match argument.optional() {
                None => Ok(Self::Plain(plain)),
                Some(_) => Err("takes no argument".to_owned()),
            };
        }
        if let Some(field) = CertificateField::parse(name) {
            return match argument.optional() {
                None => Ok(Self::Certificate(field)),
                Some(_) => Err("takes no argument".to_owned()),
            };
        }
        if let Some(address) = WithoutPort::parse(name, argument) {
            return address.map(Self::WithoutPort);
        }
        if let Some(time) = Time::parse(name, argument) {
            return Ok(Self::Time(time));
        }
        if let Some(metadata) = Metadata::parse(name, argument) {
            return metadata.map(Self::Metadata);
        }
        Ok(match name {
            "REQ" | "REQUEST_HEADER" => {
                let (first, second) = alternatives(argument.wanted()?, field)?;
                Self::Request(first, second)
            }
            "REQ_WITHOUT_QUERY" => {
                let (first, second) = alternatives(argument.wanted()?, field)?;
                Self::RequestWithoutQuery(first, second)
            }
            "RESP" | "RESPONSE_HEADER" => {
                let (first, second) = alternatives(argument.wanted()?, ResponseField::parse)?;
                Self::Response(first, second)
            }
            "TRAILER" | "RESPONSE_TRAILER" => {
                let (first, second) = alternatives(argument.wanted()?, header)?;
                Self::Trailer(first, second)
            }
            "RESPONSE_FLAGS" => Self::Flags { long: false },
            "RESPONSE_FLAGS_LONG" => Self::Flags { long: true },
            "RESPONSE_CODE_DETAILS" => Self::Details {
                blanks: argument.optional() == Some("ALLOW_WHITESPACES"),
            },
            "ENVIRONMENT" => Self::Environment(argument.wanted()?.into()),
            "GRPC_STATUS" => Self::GrpcStatus(GrpcForm::parse(argument)?),
            "GRPC_STATUS_NUMBER" => Self::GrpcStatus(GrpcForm::Number),
            "PATH" => Self::Path(PathForm::parse(argument)?),
            "QUERY_PARAM" => Self::QueryParameter(argument.wanted()?.into()),
            "QUERY_PARAMS" => Self::Query {
                decoded: match argument.optional() {
                    None | Some("ORIG") => false,
                    Some("DECODED") => true,
                    Some(other) => return Err(format!("{other:?} is neither ORIG nor DECODED")),
                },
            },
            "REQUESTED_SERVER_NAME" => Self::ServerName(ServerName::parse(argument)?),
            "COMMON_DURATION" => Self::CommonDuration(Interval::parse(argument)?),
            "COALESCE" => Self::Coalesce(coalesce(argument.wanted()?)?),
            "FILTER_STATE" | "UPSTREAM_FILTER_STATE" | "CEL" | "TYPED_CEL" => {
                argument.wanted()?;
                Self::Absent
            }
            _ => return Err("this operator is not known".to_owned()),
        })
    }

    /// # Errors
    /// Where its formatter is not configured.
    pub(super) fn admitted(self, formatters: Formatters) -> Result<Self, String> {
        match self {
            Self::RequestWithoutQuery(..) if !formatters.req_without_query => {
                Err("is known only beside envoy.formatter.req_without_query; PATH replaced it".to_owned())
            }
            admitted => Ok(admitted),
        }
    }

    fn takes_length(&self, name: &str) -> bool {
        matches!(
            self,
            Self::Request(..)
                | Self::RequestWithoutQuery(..)
                | Self::Response(..)
                | Self::Trailer(..)
                | Self::Metadata(_)
                | Self::Environment(_)
                | Self::Path(_)
                | Self::QueryParameter(_)
                | Self::Query { .. }
                | Self::Coalesce(_)
                | Self::Absent
        ) || name == "LOCAL_REPLY_BODY"
    }

    /// Appends the value; false where it is absent.
    pub(super) fn write(&self, out: &mut String, facts: &Facts<'_>) -> bool {
        match self {
            Self::Plain(plain) => (plain.write)(out, facts),
            Self::Request(first, second) => {
                let Some(request) = facts.request else { return false };
                std::iter::once(first).chain(second).any(|f| put_field(out, f, request))
            }
            Self::RequestWithoutQuery(first, second) => {
                let Some(request) = facts.request else { return false };
                let start = out.len();
                let found = std::iter::once(first).chain(second).any(|f| put_field(out, f, request));
                if let Some(query) = out[start..].find('?') {
                    out.truncate(start + query);
                }
                found
            }
            Self::Response(first, second) => {
                let Some(response) = facts.response else { return false };
                std::iter::once(first)
                    .chain(second)
                    .any(|field| field.write(out, response))
            }
            Self::Trailer(first, second) => facts.response_trailers.is_some_and(|trailers| {
                let mut names = std::iter::once(first).chain(second);
                names.any(|name| put_header(out, trailers, name))
            }),
            Self::Time(time) => time.write(out, facts),
            Self::Metadata(metadata) => metadata.write(out, facts),
            Self::Flags { long: false } => put(out, facts.info.flags),
            Self::Flags { long: true } => put(out, facts.info.flags.long()),
            Self::Details { blanks } => {
                let details = facts.info.response_code_details.as_deref();
                match details {
                    Some(details) if !blanks && details.contains(char::is_whitespace) => {
                        put(out, details.replace(char::is_whitespace, "_"))
                    }
                    // Empty details are details, too.
                    Some(details) => put(out, details),
                    None => false,
                }
            }
            // As in Envoy, a variable that is not set is a dash of its own.
            Self::Environment(name) => put(out, std::env::var(&**name).as_deref().unwrap_or("-")),
            Self::GrpcStatus(form) => form.write(out, facts),
            Self::CommonDuration(interval) => interval.write(out, facts),
            Self::Path(form) => form.write(out, facts),
            Self::QueryParameter(name) => request::put_query_parameter(out, facts, name),
            Self::Query { decoded } => request::put_query(out, facts, *decoded),
            Self::ServerName(name) => name.write(out, facts),
            Self::WithoutPort(address) => address.write(out, facts),
            Self::Certificate(field) => field.write(out, facts),
            Self::Coalesce(operators) => operators.iter().any(|(operator, max_length)| {
                let start = out.len();
                let found = operator.write(out, facts);
                if let Some(max) = max_length {
                    truncate(out, start + max);
                }
                found && out.len() > start
            }),
            Self::Absent => false,
        }
    }

    /// The value in JSON: numbers as numbers, absent as null.
    pub(super) fn value(&self, facts: &Facts<'_>, max_length: Option<usize>) -> Value {
        if let Self::Metadata(metadata) = self
            && let Some(value) = metadata.typed(facts)
        {
            return value.into_owned();
        }
        let mut text = String::new();
        if !self.write(&mut text, facts) {
            return Value::Null;
        }
        if let Some(max) = max_length {
            truncate(&mut text, max);
        }
        let number = match self {
            Self::Plain(plain) => plain.number,
            Self::GrpcStatus(GrpcForm::Number) | Self::CommonDuration(_) => true,
            _ => false,
        };
        match text.parse::<u64>() {
            Ok(n) if number => Value::from(n),
            _ => Value::String(text),
        }
    }
}

fn alternatives<T>(argument: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<(T, Option<T>), String> {
    let mut names = argument.split('?');
    let first = parse(names.next().unwrap_or_default())?;
    let second = names.next().map(parse).transpose()?;
    match names.next() {
        None => Ok((first, second)),
        Some(_) => Err(format!("{argument:?} names more than one alternative")),
    }
}

fn header(name: &str) -> Result<HeaderName, String> {
    name.parse().map_err(|_| format!("{name:?} is not a header name"))
}

fn field(name: &str) -> Result<HeaderField, String> {
    Ok(match &*name.to_ascii_lowercase() {
        ":method" => HeaderField::Method,
        ":path" => HeaderField::Path,
        ":authority" | "host" => HeaderField::Authority,
        ":scheme" => HeaderField::Scheme,
        ":protocol" => HeaderField::Protocol,
        other => HeaderField::Name(header(other)?),
    })
}

fn put_field(out: &mut String, field: &HeaderField, request: &RequestHead) -> bool {
    let HeaderField::Name(name) = field else {
        return field
            .value(request)
            .is_some_and(|v| put(out, String::from_utf8_lossy(&v)));
    };
    request
        .headers
        .get(name)
        .is_some_and(|v| put(out, String::from_utf8_lossy(v.as_bytes())))
}

fn put_header(out: &mut String, headers: &HeaderMap, name: &HeaderName) -> bool {
    put_some(out, headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes())))
}

/// What `RESP` names.
#[derive(Debug)]
pub(super) enum ResponseField {
    Status,
    Name(HeaderName),
}

impl ResponseField {
    fn parse(name: &str) -> Result<Self, String> {
        match name.eq_ignore_ascii_case(":status") {
            true => Ok(Self::Status),
            false => header(name).map(Self::Name),
        }
    }

    fn write(&self, out: &mut String, response: &ResponseHead) -> bool {
        match self {
            Self::Status => put(out, response.status.as_str()),
            Self::Name(name) => put_header(out, &response.headers, name),
        }
    }
}

/// `{"operators": ["NAME", {"command": "NAME", "param": "...", "max_length": 1}]}`.
fn coalesce(argument: &str) -> Result<Vec<(Operator, Option<usize>)>, String> {
    let config: Value = serde_json::from_str(argument).map_err(|e| format!("its argument is no JSON: {e}"))?;
    let operators = config
        .get("operators")
        .and_then(Value::as_array)
        .filter(|o| !o.is_empty());
    let operators = operators.ok_or("its argument has no list \"operators\"")?;
    let one = |entry: &Value| {
        let text = |key: &str| entry.get(key).and_then(Value::as_str);
        let name = entry
            .as_str()
            .or(text("command"))
            .ok_or("an operator has no \"command\"")?;
        let max_length = entry.get("max_length").and_then(Value::as_u64).map(|n| n as usize);
        let operator = Operator::parse(name, text("param"), max_length.is_some());
        operator
            .map(|operator| (operator, max_length))
            .map_err(|why| format!("{name}: {why}"))
    };
    operators.iter().map(one).collect()
}
