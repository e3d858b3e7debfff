//! Moments, and the time between two of them.

use std::time::{Duration, Instant, SystemTime};

use super::{Argument, Facts, certificate::peer_certificate, put_some};
use crate::{format::time, stream_info::Times};

/// `START_TIME` and the others that take a format.
#[derive(Debug)]
pub(in crate::format) struct Time {
    of: fn(&Facts<'_>) -> Option<SystemTime>,
    format: Option<Box<str>>,
    /// In the machine's time zone, not UTC.
    local: bool,
}

impl Time {
    pub(super) fn parse(name: &str, argument: Argument<'_>) -> Option<Self> {
        let of: fn(&Facts<'_>) -> Option<SystemTime> = match name.strip_suffix("_LOCAL").unwrap_or(name) {
            "START_TIME" => |f| Some(f.info.start_time),
            "EMIT_TIME" => |_| Some(SystemTime::now()),
            "DOWNSTREAM_PEER_CERT_V_START" => |f| peer_certificate(f, false).map(|c| c.not_before),
            "DOWNSTREAM_PEER_CERT_V_END" => |f| peer_certificate(f, false).map(|c| c.not_after),
            "UPSTREAM_PEER_CERT_V_START" => |f| peer_certificate(f, true).map(|c| c.not_before),
            "UPSTREAM_PEER_CERT_V_END" => |f| peer_certificate(f, true).map(|c| c.not_after),
            _ => return None,
        };
        Some(Self {
            of,
            format: argument.optional().map(Into::into),
            local: name.ends_with("_LOCAL"),
        })
    }

    pub(super) fn write(&self, out: &mut String, facts: &Facts<'_>) -> bool {
        let Some(at) = (self.of)(facts) else { return false };
        time::write(out, at, self.format.as_deref(), self.local);
        true
    }
}

/// `COMMON_DURATION(FROM:TO:UNIT)`.
#[derive(Debug)]
pub(in crate::format) struct Interval {
    from: Moment,
    to: Moment,
    unit: Unit,
}

#[derive(Debug, Clone, Copy)]
enum Moment {
    DownstreamStart,
    DownstreamRxEnd,
    UpstreamConnectStart,
    UpstreamConnectEnd,
    UpstreamTxStart,
    UpstreamTxEnd,
    UpstreamRxStart,
    UpstreamRxEnd,
    DownstreamTxStart,
    DownstreamTxEnd,
    /// One that is not kept, or that a filter of Envoy's may set.
    Absent,
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    Millis,
    Micros,
    Nanos,
}

impl Interval {
    pub(super) fn parse(argument: Argument<'_>) -> Result<Self, String> {
        argument.wanted()?;
        let [from, to, unit] = argument.parts()?;
        if from.is_empty() || to.is_empty() {
            return Err("wants FROM:TO:UNIT, such as DS_RX_BEG:DS_TX_END:ms".to_owned());
        }
        let unit = match unit {
            "" | "ms" => Unit::Millis,
            "us" => Unit::Micros,
            "ns" => Unit::Nanos,
            other => return Err(format!("{other:?} is not a unit: ms, us or ns")),
        };
        let (from, to) = (Moment::parse(from), Moment::parse(to));
        Ok(Self { from, to, unit })
    }

    pub(super) fn write(&self, out: &mut String, facts: &Facts<'_>) -> bool {
        let between = self
            .to
            .of(facts)
            .zip(self.from.of(facts))
            .map(|(to, from)| to.saturating_duration_since(from));
        put_some(out, between.map(|d| self.unit.of(d)))
    }
}

impl Unit {
    fn of(self, d: Duration) -> u128 {
        match self {
            Self::Millis => d.as_millis(),
            Self::Micros => d.as_micros(),
            Self::Nanos => d.as_nanos(),
        }
    }
}

impl Moment {
    fn parse(name: &str) -> Self {
        match name {
            "DS_RX_BEG" => Self::DownstreamStart,
            "DS_RX_END" => Self::DownstreamRxEnd,
            "US_CX_BEG" => Self::UpstreamConnectStart,
            "US_CX_END" => Self::UpstreamConnectEnd,
            "US_TX_BEG" => Self::UpstreamTxStart,
            "US_TX_END" => Self::UpstreamTxEnd,
            "US_RX_BEG" => Self::UpstreamRxStart,
            "US_RX_END" => Self::UpstreamRxEnd,
            "DS_TX_BEG" => Self::DownstreamTxStart,
            "DS_TX_END" => Self::DownstreamTxEnd,
            _ => Self::Absent,
        }
    }

    fn of(self, facts: &Facts<'_>) -> Option<Instant> {
        let times: &Times = &facts.info.times;
        match self {
            Self::DownstreamStart => Some(facts.info.start),
            Self::DownstreamRxEnd => times.last_downstream_rx,
            Self::UpstreamConnectStart => times.upstream_connect.map(|(at, _)| at),
            Self::UpstreamConnectEnd => times.upstream_connect.map(|(_, at)| at),
            Self::UpstreamTxStart => times.first_upstream_tx,
            Self::UpstreamTxEnd => times.last_upstream_tx,
            Self::UpstreamRxStart => times.first_upstream_rx,
            Self::UpstreamRxEnd => times.last_upstream_rx,
            Self::DownstreamTxStart => times.first_downstream_tx,
            Self::DownstreamTxEnd => times.last_downstream_tx,
            Self::Absent => None,
        }
    }
}
