//! `RouteAction`: forwarding a request.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use xds_api::envoy::config::{core::v3 as core, route::v3 as pb};

use super::{
    super::{
        at::At,
        cors,
        extension::{self, Category},
        matcher, metadata,
        rejection::Rejection,
    },
    Defaults, retry, target,
};
use crate::{
    cluster::Priority,
    route::{
        RetryPolicy, RouteAction,
        action::{ConnectConfig, HashInput, HashPolicy, HostRewrite, MaxStreamDuration, Mirror, PathRewrite},
        matcher::PathMatch,
    },
};

/// Envoy's default for the whole exchange.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The upgrade type of CONNECT requests, which no `Upgrade` header names.
const CONNECT: &str = "connect";

pub(super) fn parse(
    pb: &pb::RouteAction,
    host_retry: Option<&Arc<RetryPolicy>>,
    path: &PathMatch,
    defaults: &Defaults,
    at: &At,
) -> Result<RouteAction, Rejection> {
    use pb::route_action::ClusterNotFoundResponseCode as N;
    not_honoured(pb, at)?;
    let mut upgrades = smallvec::SmallVec::new();
    let mut connect = None;
    for (i, upgrade) in pb.upgrade_configs.iter().enumerate() {
        let at = at.item("upgrade_configs", i);
        let kind = at.header_text("upgrade_type", at.non_empty("upgrade_type", &upgrade.upgrade_type)?)?;
        let kind: Box<str> = kind.to_ascii_lowercase().into();
        if let Some(config) = &upgrade.connect_config {
            let at = at.field("connect_config");
            if *kind != *CONNECT {
                return Err(at.reject("stands beside an upgrade_type other than CONNECT"));
            }
            at.unsupported("proxy_protocol_config", config.proxy_protocol_config.is_some())?;
            connect = Some(ConnectConfig {
                allow_post: config.allow_post,
            });
        }
        if upgrades.iter().any(|(known, _)| *known == kind) {
            return Err(at
                .field("upgrade_type")
                .reject(format_args!("{kind:?} stands here twice")));
        }
        upgrades.push((kind, upgrade.enabled.unwrap_or(true)));
    }
    Ok(RouteAction {
        target: target::parse(pb, defaults, at)?,
        cluster_not_found: match at
            .enumeration("cluster_not_found_response_code", pb.cluster_not_found_response_code)?
        {
            N::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            N::NotFound => StatusCode::NOT_FOUND,
            N::InternalServerError => StatusCode::INTERNAL_SERVER_ERROR,
        },
        path_rewrite: path_rewrite(pb, path, at)?,
        host_rewrite: host_rewrite(pb, at)?,
        append_x_forwarded_host: pb.append_x_forwarded_host,
        timeout: at.timeout("timeout", pb.timeout.as_ref(), Some(TIMEOUT))?,
        idle_timeout: at.duration("idle_timeout", pb.idle_timeout.as_ref())?,
        max_stream_duration: match &pb.max_stream_duration {
            Some(max) => Some(max_stream_duration(max, &at.field("max_stream_duration"))?),
            None => None,
        },
        max_grpc_timeout: at.duration("max_grpc_timeout", pb.max_grpc_timeout.as_ref())?,
        grpc_timeout_offset: at.duration("grpc_timeout_offset", pb.grpc_timeout_offset.as_ref())?,
        retry: match pb.retry_policy.as_deref() {
            Some(retry) => Some(Arc::new(retry::parse(retry, &at.field("retry_policy"))?)),
            None => host_retry.cloned(),
        },
        priority: match at.enumeration("priority", pb.priority)? {
            core::RoutingPriority::Default => Priority::Default,
            core::RoutingPriority::High => Priority::High,
        },
        hash_policy: hash_policies(&pb.hash_policy, at)?,
        mirrors: mirrors(&pb.request_mirror_policies, defaults, at)?,
        cors: match pb.cors.as_deref() {
            Some(policy) => Some(Arc::new(cors::legacy(policy, &at.field("cors"))?)),
            None => None,
        },
        upgrades,
        connect,
        metadata_match: metadata::parse(pb.metadata_match.as_deref()),
        include_vh_rate_limits: pb.include_vh_rate_limits.unwrap_or(false),
    })
}

fn not_honoured(pb: &pb::RouteAction, at: &At) -> Result<(), Rejection> {
    at.unsupported("retry_policy_typed_config", pb.retry_policy_typed_config.is_some())?;
    at.not_honoured("internal_redirect_policy", pb.internal_redirect_policy.is_some());
    at.not_honoured("hedge_policy", pb.hedge_policy.is_some());
    at.not_honoured("rate_limits", !pb.rate_limits.is_empty());
    at.not_honoured("flush_timeout", pb.flush_timeout.is_some());
    at.not_honoured("metadata_match", pb.metadata_match.is_some());
    if let Some(policy) = pb.early_data_policy.as_deref() {
        at.field("early_data_policy")
            .note(format_args!("{:?} is not honoured: no early data is sent", policy.name));
    }
    Ok(())
}

fn path_rewrite(pb: &pb::RouteAction, path: &PathMatch, at: &At) -> Result<Option<PathRewrite>, Rejection> {
    at.unsupported("path_rewrite", !pb.path_rewrite.is_empty())?;
    if let Some(policy) = pb.path_rewrite_policy.as_deref() {
        let at = at.field("path_rewrite_policy.typed_config");
        return extension::dispatch(Category::PathRewriter, policy.typed_config.as_ref(), false, &[], &at);
    }
    match (pb.prefix_rewrite.as_str(), pb.regex_rewrite.as_deref()) {
        ("", None) => Ok(None),
        ("", Some(rewrite)) => Ok(Some(PathRewrite::Regex(matcher::regex_rewrite(
            rewrite,
            &at.field("regex_rewrite"),
        )?))),
        (prefix, None) => {
            if matches!(path, PathMatch::Connect) {
                at.field("prefix_rewrite").note("has no effect on CONNECT");
            }
            Ok(Some(PathRewrite::Prefix(
                at.header_text("prefix_rewrite", prefix)?.into(),
            )))
        }
        (_, Some(_)) => Err(at
            .field("regex_rewrite")
            .reject("stands beside prefix_rewrite; keep one")),
    }
}

fn host_rewrite(pb: &pb::RouteAction, at: &At) -> Result<Option<HostRewrite>, Rejection> {
    use pb::route_action::HostRewriteSpecifier as H;
    Ok(match &pb.host_rewrite_specifier {
        None | Some(H::AutoHostRewrite(false)) => None,
        Some(H::AutoHostRewrite(true)) => Some(HostRewrite::Auto),
        Some(H::HostRewriteLiteral(host)) if host.is_empty() => None,
        Some(H::HostRewriteLiteral(host)) => Some(HostRewrite::Literal(at.header_value("host_rewrite_literal", host)?)),
        Some(H::HostRewriteHeader(name)) if name.is_empty() => None,
        Some(H::HostRewriteHeader(name)) => Some(HostRewrite::Header(at.header_name("host_rewrite_header", name)?)),
        Some(H::HostRewritePathRegex(rewrite)) => Some(HostRewrite::PathRegex(matcher::regex_rewrite(
            rewrite,
            &at.field("host_rewrite_path_regex"),
        )?)),
        Some(H::HostRewrite(_)) => return Err(at.field("host_rewrite").reject("is not supported by Pillion")),
    })
}

fn max_stream_duration(pb: &pb::route_action::MaxStreamDuration, at: &At) -> Result<MaxStreamDuration, Rejection> {
    let grpc_max = pb.grpc_timeout_header_max.as_ref();
    let grpc_offset = pb.grpc_timeout_header_offset.as_ref();
    Ok(MaxStreamDuration {
        max_stream_duration: at.duration("max_stream_duration", pb.max_stream_duration.as_ref())?,
        grpc_timeout_header_max: at.duration("grpc_timeout_header_max", grpc_max)?,
        grpc_timeout_header_offset: at.duration("grpc_timeout_header_offset", grpc_offset)?,
    })
}

/// Of a route, a virtual host or a configuration.
pub(super) fn mirrors(
    pbs: &[pb::route_action::RequestMirrorPolicy],
    defaults: &Defaults,
    at: &At,
) -> Result<Vec<Mirror>, Rejection> {
    let mut mirrors = Vec::with_capacity(pbs.len());
    for (i, mirror) in pbs.iter().enumerate() {
        let at = at.item("request_mirror_policies", i);
        let cluster_header = match (mirror.cluster.as_str(), mirror.cluster_header.as_str()) {
            ("", "") => return Err(at.reject("names no cluster: set cluster or cluster_header")),
            ("", header) => Some(at.header_name("cluster_header", header)?),
            (name, "") => {
                target::require(name, defaults, &at.field("cluster"));
                None
            }
            _ => return Err(at.field("cluster_header").reject("stands beside cluster; keep one")),
        };
        at.not_honoured(
            "request_headers_mutations",
            !mirror.request_headers_mutations.is_empty(),
        );
        mirrors.push(Mirror {
            cluster: mirror.cluster.as_str().into(),
            cluster_header,
            runtime_fraction: match mirror.runtime_fraction.as_deref() {
                Some(fraction) => Some(matcher::runtime_fraction(fraction, &at.field("runtime_fraction"))?),
                None => None,
            },
            trace_sampled: mirror.trace_sampled,
            disable_shadow_host_suffix_append: mirror.disable_shadow_host_suffix_append,
            host_rewrite: match mirror.host_rewrite_literal.as_str() {
                "" => None,
                host => Some(at.header_value("host_rewrite_literal", host)?),
            },
        });
    }
    Ok(mirrors)
}

fn hash_policies(pbs: &[pb::route_action::HashPolicy], at: &At) -> Result<Vec<HashPolicy>, Rejection> {
    let mut policies = Vec::with_capacity(pbs.len());
    for (i, policy) in pbs.iter().enumerate() {
        policies.extend(hash_policy(policy, &at.item("hash_policy", i))?);
    }
    Ok(policies)
}

fn hash_policy(pb: &pb::route_action::HashPolicy, at: &At) -> Result<Option<HashPolicy>, Rejection> {
    use pb::route_action::hash_policy::PolicySpecifier as P;
    let input = match &pb.policy_specifier {
        None => return Err(at.reject("names nothing to hash")),
        Some(P::Header(header)) => {
            let at = at.field("header");
            HashInput::Header {
                name: at.header_name("header_name", &header.header_name)?,
                rewrite: match header.regex_rewrite.as_deref() {
                    Some(rewrite) => Some(matcher::regex_rewrite(rewrite, &at.field("regex_rewrite"))?),
                    None => None,
                },
            }
        }
        Some(P::Cookie(cookie)) => {
            let at = at.field("cookie");
            let mut attributes = Vec::with_capacity(cookie.attributes.len());
            for (i, attribute) in cookie.attributes.iter().enumerate() {
                let at = at.item("attributes", i);
                at.header_name("name", &attribute.name)?;
                at.header_text("value", &attribute.value)?;
                attributes.push((attribute.name.as_str().into(), attribute.value.as_str().into()));
            }
            HashInput::Cookie {
                name: at.non_empty("name", &cookie.name)?.into(),
                ttl: at.duration("ttl", cookie.ttl.as_ref())?,
                path: cookie.path.as_str().into(),
                attributes,
            }
        }
        // `source_ip: false` is a policy that never makes a hash.
        Some(P::ConnectionProperties(properties)) if !properties.source_ip => return Ok(None),
        Some(P::ConnectionProperties(_)) => HashInput::SourceIp,
        Some(P::QueryParameter(query)) => {
            HashInput::QueryParameter(at.non_empty("query_parameter.name", &query.name)?.into())
        }
        Some(P::FilterState(state)) => HashInput::FilterState(at.non_empty("filter_state.key", &state.key)?.into()),
    };
    Ok(Some(HashPolicy {
        input,
        terminal: pb.terminal,
    }))
}
