//! Hosts of an ORIGINAL_DST cluster: whatever clients meant to reach. Workers share them, so that each has one state.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hashbrown::HashMap;

use super::{Cluster, Discovery, Endpoint, EndpointConfig, EndpointState};
use crate::address::Address;

/// A worker comes here for a destination that it does not know yet; the lock is no part of a request's usual path.
#[derive(Debug, Default)]
pub struct OriginalHosts(Mutex<Hosts>);

#[derive(Debug, Default)]
struct Hosts {
    by_address: HashMap<SocketAddr, Arc<OriginalHost>>,
    cleaned: Option<Instant>,
}

#[derive(Debug)]
pub struct OriginalHost {
    pub endpoint: Arc<Endpoint>,
    /// Since the last clean-up.
    chosen: AtomicBool,
}

impl OriginalHost {
    /// The endpoint, for one more use; `None` where a clean-up took it away.
    pub fn choose(&self) -> Option<Arc<Endpoint>> {
        if !self.chosen.load(Ordering::Relaxed) {
            self.chosen.store(true, Ordering::Relaxed);
        }
        let gone = self.endpoint.state.removed.load(Ordering::Relaxed);
        (!gone).then(|| self.endpoint.clone())
    }
}

impl OriginalHosts {
    /// The host for a destination, made at its first use.
    pub fn get(&self, cluster: &Cluster, to: SocketAddr) -> Arc<OriginalHost> {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || {
            let config = EndpointConfig {
                // As Envoy names them.
                hostname: format!("{}{to}", cluster.name).into(),
                ..EndpointConfig::plain()
            };
            Arc::new(OriginalHost {
                endpoint: Arc::new(Endpoint {
                    address: Address::Ip(to),
                    locality: Arc::default(),
                    priority: 0,
                    config,
                    transport: cluster.transport.default.clone(),
                    state: Arc::new(EndpointState::default()),
                }),
                chosen: AtomicBool::new(true),
            })
        };
        hosts.by_address.entry(to).or_insert_with(made).clone()
    }

    /// In the order of their addresses.
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        let hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hosts: Vec<_> = hosts
            .by_address
            .iter()
            .map(|(at, host)| (*at, host.endpoint.clone()))
            .collect();
        hosts.sort_by_key(|(at, _)| *at);
        hosts.into_iter().map(|(_, endpoint)| endpoint).collect()
    }

    /// Forgets hosts that nobody chose for `interval` and nobody is connected to.
    fn clean_up(&self, interval: Duration, now: Instant) {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *hosts.cleaned.get_or_insert(now);
        if now.duration_since(since) < interval {
            return;
        }
        hosts.cleaned = Some(now);
        hosts.by_address.retain(|_, host| {
            let state = &host.endpoint.state;
            let used =
                host.chosen.swap(false, Ordering::Relaxed) || state.active_connections.load(Ordering::Relaxed) > 0;
            state.removed.store(!used, Ordering::Relaxed);
            used
        });
    }
}

/// What is due every second.
pub fn tick(cluster: &Cluster, now: Instant) {
    if let Discovery::OriginalDst { cleanup_interval, .. } = &cluster.discovery {
        cluster.originals.clean_up(*cleanup_interval, now);
    }
}
