//! `cluster.<name>.http1.` and `http2.`, made at the first connection that speaks it and kept, so that counters outlive
//! connections.

use std::cell::OnceCell;

use super::pool::Wanted;
use crate::{
    cluster::Cluster,
    stats::{ClusterPart, ClusterStat, Group, Http1Stat, Http2Stat, Prefix},
    worker,
};

/// One worker's handles of a cluster.
#[derive(Debug, Default)]
pub struct CodecStats {
    http1: OnceCell<Group<Http1Stat>>,
    http2: OnceCell<Group<Http2Stat>>,
}

impl CodecStats {
    /// Counts a connection that will speak this; one for which ALPN decides is counted when it has.
    pub fn announce(&self, protocol: Wanted, cluster: &Cluster, shared: &worker::Shared) {
        let stats = &cluster.state.stats;
        match protocol {
            Wanted::Http1 => {
                stats.inc(ClusterStat::UpstreamCxHttp1Total);
                let part = || Prefix::cluster_part(cluster.stat_name.clone(), ClusterPart::Http1);
                self.http1.get_or_init(|| shared.stats.group(part()));
            }
            Wanted::Http2 => {
                stats.inc(ClusterStat::UpstreamCxHttp2Total);
                self.http2(cluster, shared);
            }
            Wanted::Auto => {}
        }
    }

    pub fn http2(&self, cluster: &Cluster, shared: &worker::Shared) -> &Group<Http2Stat> {
        let part = || Prefix::cluster_part(cluster.stat_name.clone(), ClusterPart::Http2);
        self.http2.get_or_init(|| shared.stats.group(part()))
    }
}
