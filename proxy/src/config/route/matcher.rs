//! `RouteMatch`.

use xds_api::envoy::config::route::v3 as pb;

use super::super::{at::At, matcher, rejection::Rejection};
use crate::route::{
    RouteMatch,
    matcher::{CookieMatcher, PathMatch, TlsContextMatch},
};

pub(crate) fn parse(pb: &pb::RouteMatch, at: &At) -> Result<RouteMatch, Rejection> {
    let mut query = Vec::with_capacity(pb.query_parameters.len());
    for (i, parameter) in pb.query_parameters.iter().enumerate() {
        query.push(matcher::query(parameter, &at.item("query_parameters", i))?);
    }
    let mut dynamic_metadata = Vec::with_capacity(pb.dynamic_metadata.len());
    for (i, metadata) in pb.dynamic_metadata.iter().enumerate() {
        dynamic_metadata.push(matcher::metadata(metadata, &at.item("dynamic_metadata", i))?);
    }
    let mut cookies = Vec::with_capacity(pb.cookies.len());
    for (i, cookie) in pb.cookies.iter().enumerate() {
        let at = at.item("cookies", i);
        let value = at.required("string_match", cookie.string_match.as_deref())?;
        cookies.push(CookieMatcher {
            name: at.non_empty("name", &cookie.name)?.into(),
            value: matcher::string(value, &at.field("string_match"))?,
            invert: cookie.invert_match,
        });
    }
    at.unsupported("filter_state", !pb.filter_state.is_empty())?;
    let path = path(pb, at)?;
    let case_sensitive = pb.case_sensitive.unwrap_or(true);
    if !case_sensitive && matches!(path, PathMatch::Regex(_)) {
        at.field("case_sensitive")
            .note("has no effect on safe_regex; begin the expression with (?i)");
    }
    Ok(RouteMatch {
        path,
        case_sensitive,
        headers: matcher::headers(&pb.headers, "headers", at)?,
        query,
        cookies,
        runtime_fraction: match pb.runtime_fraction.as_deref() {
            Some(fraction) => Some(matcher::runtime_fraction(fraction, &at.field("runtime_fraction"))?),
            None => None,
        },
        grpc_only: pb.grpc.is_some(),
        tls_context: pb.tls_context.as_ref().map(|tls| TlsContextMatch {
            presented: tls.presented,
            validated: tls.validated,
        }),
        dynamic_metadata,
    })
}

fn path(pb: &pb::RouteMatch, at: &At) -> Result<PathMatch, Rejection> {
    use pb::route_match::PathSpecifier as S;
    match &pb.path_specifier {
        None => Err(at.reject("names no path: set prefix, path, path_separated_prefix, safe_regex or connect_matcher")),
        Some(S::Prefix(prefix)) => Ok(PathMatch::Prefix(prefix.as_str().into())),
        Some(S::Path(path)) => Ok(PathMatch::Exact(path.as_str().into())),
        Some(S::SafeRegex(regex)) => Ok(PathMatch::Regex(matcher::regex(regex, &at.field("safe_regex"))?)),
        Some(S::PathSeparatedPrefix(prefix)) => {
            let well_formed = prefix.len() > 1 && !prefix.ends_with('/') && !prefix.contains(['?', '#']);
            if !well_formed {
                return Err(at.field("path_separated_prefix").reject(format_args!(
                    "{prefix:?} must have a segment, no slash at its end, and no ? or #"
                )));
            }
            Ok(PathMatch::PathSeparatedPrefix(prefix.as_str().into()))
        }
        Some(S::ConnectMatcher(_)) => Ok(PathMatch::Connect),
        Some(S::PathMatchPolicy(policy)) => {
            matcher::path_template(policy, &at.field("path_match_policy")).map(PathMatch::Regex)
        }
    }
}
