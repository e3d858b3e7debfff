//! Answers that a route gives itself: redirects and direct responses.

use bytes::Bytes;
use http::StatusCode;
use xds_api::envoy::config::route::v3 as pb;

use super::super::{access_log, at::At, data_source, matcher, rejection::Rejection};
use crate::route::{
    action::{DirectResponse, Redirect, RedirectPath},
    matcher::PathMatch,
};

pub(super) fn parse(pb: &pb::RedirectAction, path: &PathMatch, at: &At) -> Result<Redirect, Rejection> {
    use pb::redirect_action::{PathRewriteSpecifier as P, RedirectResponseCode as C, SchemeRewriteSpecifier as S};
    let text = |text: &str| match text {
        "" => None,
        text => Some(text.into()),
    };
    let redirect_path = match &pb.path_rewrite_specifier {
        None => RedirectPath::Keep,
        Some(P::PathRedirect(path)) => RedirectPath::Path(at.header_text("path_redirect", path)?.into()),
        Some(P::PrefixRewrite(prefix)) => RedirectPath::Prefix(at.header_text("prefix_rewrite", prefix)?.into()),
        Some(P::RegexRewrite(rewrite)) => {
            RedirectPath::Regex(matcher::regex_rewrite(rewrite, &at.field("regex_rewrite"))?)
        }
        Some(P::PathRewrite(_)) => return Err(at.field("path_rewrite").reject("is not supported by Pillion")),
    };
    if matches!(path, PathMatch::Connect) {
        at.note("a redirect of CONNECT has no path to rewrite");
    }
    Ok(Redirect {
        https: matches!(pb.scheme_rewrite_specifier, Some(S::HttpsRedirect(true))),
        scheme: match &pb.scheme_rewrite_specifier {
            Some(S::SchemeRedirect(scheme)) => text(scheme),
            _ => None,
        },
        host: text(at.header_text("host_redirect", &pb.host_redirect)?),
        port: match at.within("port_redirect", Some(pb.port_redirect), 0, 65_535)? {
            None | Some(0) => None,
            Some(port) => u16::try_from(port).ok(),
        },
        path: redirect_path,
        strip_query: pb.strip_query,
        code: match at.enumeration("response_code", pb.response_code)? {
            C::MovedPermanently => StatusCode::MOVED_PERMANENTLY,
            C::Found => StatusCode::FOUND,
            C::SeeOther => StatusCode::SEE_OTHER,
            C::TemporaryRedirect => StatusCode::TEMPORARY_REDIRECT,
            C::PermanentRedirect => StatusCode::PERMANENT_REDIRECT,
        },
    })
}

pub(super) fn direct_response(
    pb: &pb::DirectResponseAction,
    max_body: usize,
    at: &At,
) -> Result<DirectResponse, Rejection> {
    let status = u16::try_from(pb.status).ok();
    let status = status
        .and_then(|s| StatusCode::from_u16(s).ok())
        .unwrap_or(StatusCode::OK);
    let body = match pb.body.as_deref() {
        Some(body) => data_source::read(body, &at.field("body"))?,
        None => Bytes::new(),
    };
    if body.len() > max_body {
        return Err(at.field("body").reject(format_args!(
            "{} bytes are more than the {max_body} allowed; raise max_direct_response_body_size_bytes",
            body.len()
        )));
    }
    Ok(DirectResponse {
        status,
        body,
        format: match pb.body_format.as_deref() {
            Some(format) => Some(access_log::reply_body(format, &at.field("body_format"))?),
            None => None,
        },
    })
}
