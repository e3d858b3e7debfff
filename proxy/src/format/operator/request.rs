//! Parts of the request, and the gRPC status that answered it.

use http::HeaderName;
use percent_encoding::percent_decode_str;
use xds_client::grpc;

use super::{Argument, Facts, put, put_some, put_text};
use crate::http::{local_reply::is_grpc, message::RequestHead};

const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
const ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-envoy-original-host");

/// Before or after the route rewrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Original,
    Current,
    OriginalOrCurrent,
}

impl Source {
    fn parse(name: &str, current: &'static str) -> Result<Self, String> {
        match name {
            "ORIG" => Ok(Self::Original),
            _ if name == current => Ok(Self::Current),
            "" => Ok(Self::OriginalOrCurrent),
            _ if name.strip_prefix("ORIG_OR_") == Some(current) => Ok(Self::OriginalOrCurrent),
            _ => Err(format!("{name:?} is none of ORIG, {current}, ORIG_OR_{current}")),
        }
    }

    fn of<'a>(self, request: &'a RequestHead, original: &HeaderName, current: &'a str) -> Option<&'a str> {
        let original = || request.headers.get(original)?.to_str().ok();
        match self {
            Self::Original => original(),
            Self::Current => Some(current),
            Self::OriginalOrCurrent => original().or(Some(current)),
        }
    }
}

/// `PATH(WQ|NQ:ORIG|PATH|ORIG_OR_PATH)`.
#[derive(Debug)]
pub(in crate::format) struct PathForm {
    query: bool,
    source: Source,
}

impl PathForm {
    pub(super) fn parse(argument: Argument<'_>) -> Result<Self, String> {
        let [query, source] = argument.parts()?;
        let query = match query {
            "" | "WQ" => true,
            "NQ" => false,
            other => return Err(format!("{other:?} is neither WQ nor NQ")),
        };
        let source = Source::parse(source, "PATH")?;
        Ok(Self { query, source })
    }

    pub(super) fn write(&self, out: &mut String, facts: &Facts<'_>) -> bool {
        let path = facts
            .request
            .and_then(|r| self.source.of(r, &ORIGINAL_PATH, r.path_str()));
        let path = match path {
            Some(path) if !self.query => path.split_once('?').map_or(path, |(path, _)| path),
            Some(path) => path,
            None => return false,
        };
        put_text(out, Some(path))
    }
}

/// `REQUESTED_SERVER_NAME(SNI_ONLY|SNI_FIRST|HOST_FIRST:ORIG|HOST|ORIG_OR_HOST)`.
#[derive(Debug)]
pub(in crate::format) struct ServerName {
    which: Which,
    source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Sni,
    SniFirst,
    HostFirst,
}

impl ServerName {
    pub(super) fn parse(argument: Argument<'_>) -> Result<Self, String> {
        let [which, source] = argument.parts()?;
        let which = match which {
            "" | "SNI_ONLY" => Which::Sni,
            "SNI_FIRST" => Which::SniFirst,
            "HOST_FIRST" => Which::HostFirst,
            other => return Err(format!("{other:?} is none of SNI_ONLY, SNI_FIRST, HOST_FIRST")),
        };
        let source = Source::parse(source, "HOST")?;
        Ok(Self { which, source })
    }

    pub(super) fn write(&self, out: &mut String, facts: &Facts<'_>) -> bool {
        let sni = facts.info.connection.requested_server_name.as_deref();
        let host = || {
            let request = facts.request?;
            let host = self.source.of(request, &ORIGINAL_HOST, request.authority_str())?;
            Some(crate::http::admission::host_without_port(host))
        };
        let name = match self.which {
            Which::Sni => sni,
            Which::SniFirst => sni.or_else(host),
            Which::HostFirst => host().or(sni),
        };
        put_text(out, name)
    }
}

/// Values of the query's pairs named `name`: the first.
pub(super) fn put_query_parameter(out: &mut String, facts: &Facts<'_>, name: &str) -> bool {
    let query = facts.request.and_then(RequestHead::query).unwrap_or_default();
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let value = pairs.find(|(have, _)| *have == name).map(|(_, value)| value);
    put_some(out, value)
}

pub(super) fn put_query(out: &mut String, facts: &Facts<'_>, decoded: bool) -> bool {
    let Some(query) = facts.request.and_then(RequestHead::query) else {
        return false;
    };
    match decoded {
        true => put_text(out, Some(&percent_decode_str(query).decode_utf8_lossy())),
        false => put_text(out, Some(query)),
    }
}

/// How `GRPC_STATUS` prints a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::format) enum GrpcForm {
    Camel,
    Snake,
    Number,
}

impl GrpcForm {
    pub(super) fn parse(argument: Argument<'_>) -> Result<Self, String> {
        match argument.optional() {
            None | Some("CAMEL_STRING") => Ok(Self::Camel),
            Some("SNAKE_STRING") => Ok(Self::Snake),
            Some("NUMBER") => Ok(Self::Number),
            Some(other) => Err(format!("{other:?} is none of CAMEL_STRING, SNAKE_STRING, NUMBER")),
        }
    }

    /// Only of requests that are gRPC by their content type.
    pub(super) fn write(self, out: &mut String, facts: &Facts<'_>) -> bool {
        if !facts.request.is_some_and(is_grpc) {
            return false;
        }
        let Some(status) = facts.grpc_status() else {
            return false;
        };
        let names = usize::try_from(status).ok().and_then(|at| grpc::CODES.get(at));
        match (self, names) {
            (Self::Camel, Some((camel, _))) => put(out, camel),
            (Self::Snake, Some((_, snake))) => put(out, snake),
            _ => put(out, status),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let decoded = percent_decode_str("a=%41%2f&b=%zz%4").decode_utf8_lossy();
        assert_eq!(decoded, "a=A/&b=%zz%4");
    }

    #[test]
    fn forms_are_strict() {
        assert!(PathForm::parse(Argument(Some("NQ:ORIG"))).is_ok());
        assert!(PathForm::parse(Argument(Some("NQ:HOST"))).is_err());
        assert!(PathForm::parse(Argument(Some("NQ:ORIG:x"))).is_err());
        assert!(ServerName::parse(Argument(Some("SNI_FIRST:ORIG_OR_HOST"))).is_ok());
        assert!(GrpcForm::parse(Argument(Some("UPPER"))).is_err());
    }
}
