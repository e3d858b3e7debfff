//! Listener filters: what is found out about a connection before a filter chain is chosen.

use xds_api::envoy::{
    config::listener::v3 as pb,
    extensions::filters::listener::{
        original_src::v3::OriginalSrc, proxy_protocol::v3::ProxyProtocol, tls_inspector::v3::TlsInspector,
    },
};

use super::super::{
    at::At,
    extension::{self, Category, Kind},
    rejection::Rejection,
};
use crate::listener::{ListenerFilter, ListenerFilterKind, ListenerFilterPredicate};

const LISTENER_FILTERS: &[Kind<ListenerFilterKind>] = &[
    Kind {
        type_name: "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
        parse: |_, _| Ok(ListenerFilterKind::OriginalDst),
    },
    Kind {
        type_name: "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
        parse: |extension, at| {
            let pb: TlsInspector = extension.message(at)?;
            at.not_honoured("enable_ja4_fingerprinting", pb.enable_ja4_fingerprinting == Some(true));
            Ok(ListenerFilterKind::TlsInspector {
                detect_ja3: pb.enable_ja3_fingerprinting.unwrap_or(false),
            })
        },
    },
    Kind {
        type_name: "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
        parse: |_, _| Ok(ListenerFilterKind::HttpInspector),
    },
    Kind {
        type_name: "envoy.extensions.filters.listener.original_src.v3.OriginalSrc",
        parse: |extension, at| {
            let pb: OriginalSrc = extension.message(at)?;
            at.not_honoured("bind_port", pb.bind_port);
            Ok(ListenerFilterKind::OriginalSrc { mark: pb.mark })
        },
    },
    Kind {
        type_name: "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
        parse: |extension, at| {
            let pb: ProxyProtocol = extension.message(at)?;
            at.not_honoured("rules", !pb.rules.is_empty());
            at.not_honoured("pass_through_tlvs", pb.pass_through_tlvs.is_some());
            at.unsupported("disallowed_versions", !pb.disallowed_versions.is_empty())?;
            Ok(ListenerFilterKind::ProxyProtocol {
                allow_without: pb.allow_requests_without_proxy_protocol,
            })
        },
    },
];

pub(super) fn parse(pbs: &[pb::ListenerFilter], at: &At) -> Result<Vec<ListenerFilter>, Rejection> {
    use pb::listener_filter::ConfigType as C;
    let mut filters = Vec::with_capacity(pbs.len());
    for (i, filter) in pbs.iter().enumerate() {
        let at = at.item("listener_filters", i);
        at.non_empty("name", &filter.name)?;
        let any = match &filter.config_type {
            None => None,
            Some(C::TypedConfig(any)) => Some(any),
            Some(C::ConfigDiscovery(_)) => {
                return Err(at
                    .field("config_discovery")
                    .reject("listener filters by discovery (ECDS) are not supported by Pillion yet"));
            }
        };
        let at_config = at.field("typed_config");
        let Some(kind) = extension::dispatch(Category::ListenerFilter, any, false, LISTENER_FILTERS, &at_config)?
        else {
            continue;
        };
        filters.push(ListenerFilter {
            kind,
            disabled: match filter.filter_disabled.as_deref() {
                Some(predicate) => Some(self::predicate(predicate, &at.field("filter_disabled"))?),
                None => None,
            },
        });
    }
    Ok(filters)
}

fn predicate(pb: &pb::ListenerFilterChainMatchPredicate, at: &At) -> Result<ListenerFilterPredicate, Rejection> {
    use pb::listener_filter_chain_match_predicate::Rule as R;
    let several = |set: &pb::listener_filter_chain_match_predicate::MatchSet, at: &At| {
        let rules = set.rules.iter().enumerate();
        let rules = rules.map(|(i, rule)| predicate(rule, &at.item("rules", i)));
        rules.collect::<Result<Vec<_>, _>>()
    };
    Ok(match &pb.rule {
        None => return Err(at.reject("names no rule")),
        Some(R::AnyMatch(true)) => ListenerFilterPredicate::Any,
        Some(R::AnyMatch(false)) => return Err(at.field("any_match").reject("can only be true")),
        Some(R::NotMatch(inner)) => ListenerFilterPredicate::Not(Box::new(predicate(inner, &at.field("not_match"))?)),
        Some(R::AndMatch(set)) => ListenerFilterPredicate::And(several(set, &at.field("and_match"))?),
        Some(R::OrMatch(set)) => ListenerFilterPredicate::Or(several(set, &at.field("or_match"))?),
        Some(R::DestinationPortRange(range)) => ListenerFilterPredicate::DestinationPort {
            start: u32::try_from(range.start).unwrap_or_default(),
            end: u32::try_from(range.end).unwrap_or_default(),
        },
    })
}
