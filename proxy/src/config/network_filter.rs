//! Network filters of filter chains. [`FILTERS`] is the one place where a filter becomes known.

use std::sync::Arc;

use xds_api::envoy::config::listener::v3 as pb;

use super::{
    at::At,
    extension::{self, Category, Kind},
    http_connection_manager, istio, rbac,
    rejection::Rejection,
    tcp_proxy,
};
use crate::{
    http::HttpConnectionManager,
    listener::TerminalFilter,
    network::{NetworkFilter, NetworkFilterKind},
    stats::Prefix,
    tcp::TcpProxy,
};

/// A network filter before its listener is known to it.
enum Parsed {
    Before(NetworkFilterKind),
    Http(Box<HttpConnectionManager>),
    Tcp(TcpProxy),
}

/// Every filter that is known; adding one is adding a line here.
const FILTERS: &[Kind<Parsed>] = &[
    Kind {
        type_name: "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        parse: |extension, at| http_connection_manager::parse(extension, at).map(|http| Parsed::Http(Box::new(http))),
    },
    Kind {
        type_name: "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        parse: |extension, at| tcp_proxy::parse(extension, at).map(Parsed::Tcp),
    },
    Kind {
        type_name: "envoy.extensions.filters.network.rbac.v3.RBAC",
        parse: |extension, at| {
            rbac::network(extension, at).map(|rbac| Parsed::Before(NetworkFilterKind::Rbac(Box::new(rbac))))
        },
    },
    Kind {
        type_name: "envoy.extensions.filters.network.sni_cluster.v3.SniCluster",
        parse: |_, _| Ok(Parsed::Before(NetworkFilterKind::SniCluster)),
    },
    Kind {
        type_name: "envoy.tcp.metadataexchange.config.MetadataExchange",
        parse: |extension, at| {
            let filter = istio::metadata_exchange(extension, at)?;
            Ok(Parsed::Before(NetworkFilterKind::MetadataExchange(filter)))
        },
    },
    Kind {
        type_name: "stats.PluginConfig",
        parse: |extension, at| {
            let filter = istio::stats(extension, at)?;
            Ok(Parsed::Before(NetworkFilterKind::IstioStats(filter)))
        },
    },
];

/// The filters of one chain: those before the terminal one, and that.
pub(super) struct Filters {
    pub(super) before: Box<[NetworkFilter]>,
    pub(super) terminal: TerminalFilter,
}

pub(super) fn parse(pbs: &[pb::Filter], stat_prefix: &str, at: &At) -> Result<Filters, Rejection> {
    use pb::filter::ConfigType as C;
    let mut before = Vec::new();
    let mut terminal = TerminalFilter::None;
    for (i, filter) in pbs.iter().enumerate() {
        let at = at.item("filters", i);
        let name = at.non_empty("name", &filter.name)?;
        if !matches!(terminal, TerminalFilter::None) {
            return Err(at.reject(format_args!(
                "{name:?} would never see a byte: the filter before it takes the connection"
            )));
        }
        let any = match &filter.config_type {
            None => None,
            Some(C::TypedConfig(any)) => Some(any),
            Some(C::ConfigDiscovery(_)) => {
                return Err(at.field("config_discovery").reject(format_args!(
                    "the filter {name:?} comes by discovery (ECDS), which Pillion does not support yet"
                )));
            }
        };
        let typed_config = at.field("typed_config");
        match extension::dispatch(Category::NetworkFilter, any, false, FILTERS, &typed_config)? {
            Some(Parsed::Http(mut http)) => {
                http.listener_stats = Some(at.stats(Prefix::listener_http(stat_prefix, &http.stat_prefix)));
                terminal = TerminalFilter::Http(Arc::new(*http));
            }
            Some(Parsed::Tcp(tcp)) => terminal = TerminalFilter::Tcp(Arc::new(tcp)),
            Some(Parsed::Before(_)) if i + 1 == pbs.len() => {
                return Err(at.reject(format_args!(
                    "{name:?} takes no connection; the last filter must, as the TCP proxy and the connection manager do"
                )));
            }
            Some(Parsed::Before(kind)) => before.push(NetworkFilter {
                name: name.into(),
                kind,
            }),
            None => {}
        }
    }
    Ok(Filters {
        before: before.into(),
        terminal,
    })
}
