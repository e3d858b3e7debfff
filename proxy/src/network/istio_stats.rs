//! `istio.stats` for TCP: a connection counts as soon as it is known who the other end is, its bytes every few seconds,
//! and its end.

use crate::{
    istio::stats::{IstioStats, add},
    stream_info::StreamInfo,
    worker::Worker,
};

/// What of a connection was counted already.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reported {
    opened: bool,
    sent: u64,
    received: u64,
}

/// Counts what is new since the last time, as `info` has it.
pub fn report(filter: &IstioStats, info: &mut StreamInfo, worker: &Worker) {
    let series = filter.connection(info, worker);
    let reported = &mut info.reported;
    if !std::mem::replace(&mut reported.opened, true) {
        add(&series.opened, 1);
    }
    // Seen from the client, as Envoy counts downstream connections.
    add(
        &series.sent,
        info.bytes.sent - std::mem::replace(&mut reported.sent, info.bytes.sent),
    );
    add(
        &series.received,
        info.bytes.received - std::mem::replace(&mut reported.received, info.bytes.received),
    );
}

pub fn ended(filter: &IstioStats, info: &mut StreamInfo, worker: &Worker) {
    report(filter, info, worker);
    add(&filter.connection(info, worker).closed, 1);
}
