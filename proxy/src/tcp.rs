//! TCP proxying: a connection goes to an endpoint of a cluster, bytes are copied both ways.

use std::{sync::Arc, time::Duration};

pub mod copy;
pub mod proxy;
mod report;

use crate::{access_log::AccessLog, route::action::HashPolicy, stats};

/// `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`, parsed.
#[derive(Debug)]
pub struct TcpProxy {
    pub stat_prefix: Arc<str>,
    pub target: TcpTarget,
    /// `None`: no limit. Envoy's default: 1 h.
    pub idle_timeout: Option<Duration>,
    pub max_downstream_connection_duration: Option<Duration>,
    /// Connect attempts before the downstream is closed; at least 1.
    pub max_connect_attempts: u32,
    pub access_log: Vec<AccessLog>,
    pub hash_policy: Vec<HashPolicy>,
    pub stats: stats::Group<stats::TcpStat>,
}

#[derive(Debug)]
pub enum TcpTarget {
    Cluster(Arc<str>),
    /// (cluster, weight) and the sum of weights, which is never 0.
    Weighted(Vec<(Arc<str>, u32)>, u64),
}
