//! Stats under Envoy's names, counted by each thread for itself.
//!
//! An owner (a cluster, a listener) holds a [`Group`]; what it never writes costs nothing, and its stats leave with it.
//! A hot counter is a cell that one thread writes with a plain load and store; a scrape sums the threads' cells. That is
//! why the `metrics` facade is not used: its handles are one atomic shared by all threads.
//!
//! ```text
//! owner -> Group<ClusterStat> -> Core -> Table: a row per thread -> Block: 15 cells, made at first use
//! scrape -> Store: groups by name -> Render: text, JSON, Prometheus, in chunks
//! ```

mod cells;
mod config;
mod core;
mod families;
mod group;
mod histogram;
mod labelled;
mod prefix;
mod render;
pub mod schema;
mod store;
mod tags;
mod thread;

pub use config::{HistogramBuckets, StatsConfig, StatsMatcher, StatsTag, TagValue};
pub use group::Group;
pub use histogram::{DEFAULT_BOUNDS, HistogramSnapshot, PERCENTILES};
pub use labelled::{Labelled, LabelledKind, OVERFLOW, Series};
pub use prefix::{ClusterPart, Prefix};
pub use render::{Buckets, Format, Query, Render};
pub use schema::admin::{AdminHttpStat, AdminListenerStat};
pub use schema::cluster::{ClusterStat, EdsStat, HealthCheckStat, OutlierDetectionStat, RemainingStat};
pub use schema::codec::{Http1Stat, Http2Stat};
pub use schema::filters::*;
pub use schema::http::{AsyncClientStat, HttpStat, ListenerHttpStat};
pub use schema::listener::*;
pub use schema::route::RouteStat;
pub use schema::server::*;
pub use schema::tcp::TcpStat;
pub use schema::xds::*;
pub use schema::{Kind, Schema, Scope, Spec};
pub use store::Store;
pub use thread::{CONTROL, enter_control, enter_worker, set_thread_index};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A panic ends its connection, not the stats: what a poisoned lock guards here is whole at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
