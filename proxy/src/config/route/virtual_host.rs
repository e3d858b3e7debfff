//! One virtual host and its routes.

use std::sync::Arc;

use xds_api::envoy::config::route::v3 as pb;

use super::{
    super::{
        at::At,
        cors,
        header_edit::{self, header_fields},
        matcher as shared, metadata,
        rejection::Rejection,
        tracing,
    },
    Defaults, action, matcher, per_filter, redirect, retry,
};
use crate::{
    route::{Action, RetryPolicy, Route, TlsRequirement, VirtualCluster, VirtualHost},
    stats::Prefix,
};

pub(super) fn parse(pb: &pb::VirtualHost, defaults: &Defaults, at: &At) -> Result<VirtualHost, Rejection> {
    use pb::virtual_host::TlsRequirementType as T;
    let name = at.non_empty("name", &pb.name)?;
    if pb.domains.is_empty() {
        return Err(at.field("domains").reject("must not be empty; \"*\" takes every host"));
    }
    at.unsupported("matcher", pb.matcher.is_some())?;
    at.unsupported("route_specifiers", !pb.route_specifiers.is_empty())?;
    at.not_honoured("rate_limits", !pb.rate_limits.is_empty());
    at.not_honoured("hedge_policy", pb.hedge_policy.is_some());
    at.unsupported("retry_policy_typed_config", pb.retry_policy_typed_config.is_some())?;
    let retry = match pb.retry_policy.as_deref() {
        Some(retry) => Some(Arc::new(retry::parse(retry, &at.field("retry_policy"))?)),
        None => None,
    };
    let mut domains = Vec::with_capacity(pb.domains.len());
    for (i, domain) in pb.domains.iter().enumerate() {
        let at = at.item("domains", i);
        domains.push(at.header_text("", domain)?.to_ascii_lowercase().into());
    }
    let mut routes = Vec::with_capacity(pb.routes.len());
    for (i, route) in pb.routes.iter().enumerate() {
        let route = self::route(route, name, retry.as_ref(), defaults, &at.item("routes", i))?;
        routes.push(Arc::new(route));
    }
    let mut virtual_clusters = Vec::with_capacity(pb.virtual_clusters.len());
    for (i, cluster) in pb.virtual_clusters.iter().enumerate() {
        let at = at.item("virtual_clusters", i);
        if cluster.headers.is_empty() {
            return Err(at.field("headers").reject("must not be empty"));
        }
        let cluster_name = at.non_empty("name", &cluster.name)?;
        virtual_clusters.push(VirtualCluster {
            name: cluster_name.into(),
            stats: at.stats(Prefix::virtual_cluster(name, cluster_name)),
            headers: shared::headers(&cluster.headers, "headers", &at)?,
        });
    }
    Ok(VirtualHost {
        name: name.into(),
        domains,
        routes,
        require_tls: match at.enumeration("require_tls", pb.require_tls)? {
            T::None => TlsRequirement::None,
            T::ExternalOnly => TlsRequirement::ExternalOnly,
            T::All => TlsRequirement::All,
        },
        mirrors: action::mirrors(&pb.request_mirror_policies, defaults, at)?,
        cors: match pb.cors.as_deref() {
            Some(policy) => Some(Arc::new(cors::legacy(policy, &at.field("cors"))?)),
            None => None,
        },
        header_edits: header_edit::parse(&header_fields!(pb), at)?,
        per_filter: per_filter::parse(&pb.typed_per_filter_config, at)?,
        include_request_attempt_count: pb.include_request_attempt_count,
        include_attempt_count_in_response: pb.include_attempt_count_in_response,
        include_is_timeout_retry_header: pb.include_is_timeout_retry_header,
        other: (!virtual_clusters.is_empty()).then(|| at.stats(Prefix::virtual_cluster(name, "other"))),
        virtual_clusters,
        per_request_buffer_limit: pb.per_request_buffer_limit_bytes,
    })
}

fn route(
    pb: &pb::Route,
    virtual_host: &str,
    host_retry: Option<&Arc<RetryPolicy>>,
    defaults: &Defaults,
    at: &At,
) -> Result<Route, Rejection> {
    use pb::route::Action as A;
    let matches = matcher::parse(at.required("match", pb.r#match.as_deref())?, &at.field("match"))?;
    at.unsupported("route_specifiers", !pb.route_specifiers.is_empty())?;
    let action = match &pb.action {
        None => return Err(at.reject("does nothing: set route, redirect, direct_response or non_forwarding_action")),
        Some(A::Route(route)) => Action::Route(Box::new(action::parse(
            route,
            host_retry,
            &matches.path,
            defaults,
            &at.field("route"),
        )?)),
        Some(A::Redirect(redirect)) => Action::Redirect(Box::new(redirect::parse(
            redirect,
            &matches.path,
            &at.field("redirect"),
        )?)),
        Some(A::DirectResponse(response)) => Action::DirectResponse(Box::new(redirect::direct_response(
            response,
            defaults.max_direct_response_body,
            &at.field("direct_response"),
        )?)),
        Some(A::NonForwardingAction(_)) => Action::NonForwarding,
        Some(A::FilterAction(_)) => return Err(at.field("filter_action").reject("is not supported by Pillion")),
    };
    Ok(Route {
        name: pb.name.as_str().into(),
        matches,
        action,
        header_edits: header_edit::parse(&header_fields!(pb), at)?,
        per_filter: per_filter::parse(&pb.typed_per_filter_config, at)?,
        stats: match pb.stat_prefix.as_str() {
            "" => None,
            prefix => Some(at.stats(Prefix::route(virtual_host, prefix))),
        },
        per_request_buffer_limit: pb.per_request_buffer_limit_bytes,
        metadata: metadata::parse(pb.metadata.as_deref()),
        decorator: match pb.decorator.as_deref() {
            Some(decorator) => Some(tracing::decorator(decorator, &at.field("decorator"))?),
            None => None,
        },
        tracing: match pb.tracing.as_deref() {
            Some(own) => Some(Box::new(tracing::route(own, &at.field("tracing"))?)),
            None => None,
        },
    })
}
