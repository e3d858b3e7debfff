//! `JwtProvider`: an issuer, its keys, and what becomes of its tokens.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Uri};
use xds_api::envoy::{config::core::v3::http_uri::HttpUpstreamType, extensions::filters::http::jwt_authn::v3 as pb};

use super::{
    super::{at::At, data_source, matcher, rejection::Rejection},
    Provider, audiences,
};
use crate::{
    http::filter::jwt_authn::{ClaimToHeader, FromHeader, Keys, remote::RemoteKeys},
    jwt::Jwks,
};

/// Envoy's defaults.
const CLOCK_SKEW_SECONDS: u64 = 60;
const CACHE_DURATION: Duration = Duration::from_secs(600);

pub(super) fn parse(pb: &pb::JwtProvider, at: &At) -> Result<Provider, Rejection> {
    if pb.jwt_cache_config.is_some() {
        at.field("jwt_cache_config").note("tokens are verified anew each time");
    }
    let mut from_headers = Vec::with_capacity(pb.from_headers.len());
    for (i, from) in pb.from_headers.iter().enumerate() {
        from_headers.push(FromHeader {
            name: at.item("from_headers", i).header_name("name", &from.name)?,
            value_prefix: from.value_prefix.as_str().into(),
        });
    }
    let mut claim_to_headers = Vec::with_capacity(pb.claim_to_headers.len());
    for (i, claim) in pb.claim_to_headers.iter().enumerate() {
        let at = at.item("claim_to_headers", i);
        let path: Box<[Box<str>]> = match &*claim.claim_path {
            [] => at
                .non_empty("claim_name", &claim.claim_name)?
                .split('.')
                .map(Box::from)
                .collect(),
            segments => segments.iter().map(|segment| segment.key.as_str().into()).collect(),
        };
        claim_to_headers.push(ClaimToHeader {
            header: at.header_name("header_name", &claim.header_name)?,
            claim: path,
        });
    }
    let forward_payload_header = match &*pb.forward_payload_header {
        "" => None,
        name => Some(at.header_name("forward_payload_header", name)?),
    };
    let normalize = pb.normalize_payload_in_metadata.as_deref();
    let boxed = |texts: &[String]| texts.iter().map(|text| text.as_str().into()).collect();
    Ok(Provider {
        issuer: pb.issuer.as_str().into(),
        audiences: audiences(&pb.audiences),
        subjects: match pb.subjects.as_deref() {
            Some(subjects) => Some(matcher::string(subjects, &at.field("subjects"))?),
            None => None,
        },
        require_expiration: pb.require_expiration,
        max_lifetime: at.duration("max_lifetime", pb.max_lifetime.as_ref())?,
        clock_skew: match pb.clock_skew_seconds {
            0 => CLOCK_SKEW_SECONDS,
            seconds => u64::from(seconds),
        },
        keys: keys(pb, at)?,
        from_headers: from_headers.into(),
        from_params: boxed(&pb.from_params),
        from_cookies: boxed(&pb.from_cookies),
        forward: pb.forward,
        forward_payload_header,
        pad_forward_payload_header: pb.pad_forward_payload_header,
        payload_in_metadata: pb.payload_in_metadata.as_str().into(),
        header_in_metadata: pb.header_in_metadata.as_str().into(),
        failed_status_in_metadata: pb.failed_status_in_metadata.as_str().into(),
        space_delimited_claims: normalize.map(|n| boxed(&n.space_delimited_claims)).unwrap_or_default(),
        claim_to_headers: claim_to_headers.into(),
        clear_route_cache: pb.clear_route_cache,
    })
}

fn keys(pb: &pb::JwtProvider, at: &At) -> Result<Keys, Rejection> {
    use pb::jwt_provider::JwksSourceSpecifier as S;
    match &pb.jwks_source_specifier {
        None => Err(at.reject("has no keys: set remote_jwks or local_jwks")),
        Some(S::LocalJwks(source)) => {
            let at = at.field("local_jwks");
            let source = data_source::parse(source, &at)?;
            let text = source.read().map_err(|problem| at.reject(problem))?;
            let keys = Jwks::parse(&text).map_err(|problem| at.reject(format_args!("is no JWKS: {problem}")))?;
            Ok(Keys::Local(Arc::new(keys)))
        }
        Some(S::RemoteJwks(remote)) => self::remote(remote, &at.field("remote_jwks")).map(Keys::Remote),
    }
}

fn remote(pb: &pb::RemoteJwks, at: &At) -> Result<RemoteKeys, Rejection> {
    if pb.async_fetch.is_some() {
        at.field("async_fetch")
            .note("keys are fetched when a request first asks for them");
    }
    at.not_honoured("retry_policy", pb.retry_policy.is_some());
    let cache_duration = at.duration("cache_duration", pb.cache_duration.as_ref())?;
    let http_uri = at.required("http_uri", pb.http_uri.as_deref())?;
    let at = at.field("http_uri");
    let Some(HttpUpstreamType::Cluster(cluster)) = &http_uri.http_upstream_type else {
        return Err(at.field("cluster").reject("is required and not set"));
    };
    let bad = |problem: &str| at.field("uri").reject(format_args!("{:?} {problem}", http_uri.uri));
    let uri: Uri = http_uri.uri.parse().map_err(|_| bad("is no URI"))?;
    let authority = uri.authority().ok_or_else(|| bad("names no host"))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let text = |text: &str| HeaderValue::try_from(text).map_err(|_| bad("cannot stand in a request"));
    let timeout = at.duration("timeout", http_uri.timeout.as_ref())?;
    Ok(RemoteKeys::new(
        at.non_empty("cluster", cluster)?.into(),
        text(authority.as_str())?,
        text(path)?,
        timeout.ok_or_else(|| at.field("timeout").reject("is required and not set"))?,
        cache_duration.unwrap_or(CACHE_DURATION),
    ))
}
