//! Why something did not work: one type for the whole data path.
//!
//! Envoy's response flags and `response_code_details` are an API (dashboards match on them); the sentence is ours.

use std::{borrow::Cow, fmt};

/// Whose fault it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Downstream,
    Upstream,
    Local,
}

/// What a retry may assume of the failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetrySafety {
    /// No byte of the request reached the application: connect failure, refused stream, reset before the request was sent.
    NothingSent,
    /// The request may have been executed.
    MaybeExecuted,
    /// Never retry (downstream faults, local decisions).
    Never,
}

/// How an upstream attempt ended before a response head, in the terms of `retry_on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetReason {
    ConnectFailure,
    ConnectTimeout,
    /// The connection ended under the stream.
    ConnectionTermination,
    RemoteReset,
    /// HTTP/2 REFUSED_STREAM, or GOAWAY that did not cover the stream.
    RemoteRefused,
    LocalReset,
    /// A circuit breaker refused the request.
    Overflow,
    ProtocolError,
}

impl ResetReason {
    /// Envoy's words, which bodies, details and spans tell.
    pub fn words(self) -> &'static str {
        match self {
            Self::ConnectFailure => "remote connection failure",
            Self::ConnectTimeout => "connection timeout",
            Self::ConnectionTermination => "connection termination",
            Self::RemoteReset => "remote reset",
            Self::RemoteRefused => "remote refused stream reset",
            Self::LocalReset => "local reset",
            Self::Overflow => "overflow",
            Self::ProtocolError => "protocol error",
        }
    }

    pub fn flag(self) -> ResponseFlags {
        match self {
            Self::ConnectFailure | Self::ConnectTimeout => ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
            Self::ConnectionTermination => ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
            Self::RemoteReset | Self::RemoteRefused => ResponseFlags::UPSTREAM_REMOTE_RESET,
            Self::LocalReset => ResponseFlags::LOCAL_RESET,
            Self::Overflow => ResponseFlags::UPSTREAM_OVERFLOW,
            Self::ProtocolError => ResponseFlags::UPSTREAM_PROTOCOL_ERROR,
        }
    }
}

/// Envoy's response flags: a set that remembers the order of insertion, in which Envoy prints it.
#[derive(Debug, Clone, Copy, Default)]
pub struct ResponseFlags {
    bits: u32,
    /// Bit numbers plus one, five bits each, oldest lowest. Twelve fit; a stream that sets more than twelve loses only order.
    order: u64,
}

/// Sets are equal whatever the order.
impl PartialEq for ResponseFlags {
    fn eq(&self, other: &Self) -> bool {
        self.bits == other.bits
    }
}

impl Eq for ResponseFlags {}

/// Width of one entry of [`ResponseFlags::order`].
const ORDER_BITS: u32 = 5;

macro_rules! flags {
    ($($bit:literal $name:ident $short:literal $long:literal;)*) => {
        impl ResponseFlags {
            $(pub const $name: Self = Self { bits: 1 << $bit, order: $bit + 1 };)*
            /// (flag, short form, long form), by bit.
            const TABLE: &'static [(Self, &'static str, &'static str)] = &[$((Self::$name, $short, $long)),*];
        }
    };
}

flags! {
    0 FAILED_LOCAL_HEALTH_CHECK "LH" "FailedLocalHealthCheck";
    1 NO_HEALTHY_UPSTREAM "UH" "NoHealthyUpstream";
    2 UPSTREAM_REQUEST_TIMEOUT "UT" "UpstreamRequestTimeout";
    3 LOCAL_RESET "LR" "LocalReset";
    4 UPSTREAM_REMOTE_RESET "UR" "UpstreamRemoteReset";
    5 UPSTREAM_CONNECTION_FAILURE "UF" "UpstreamConnectionFailure";
    6 UPSTREAM_CONNECTION_TERMINATION "UC" "UpstreamConnectionTermination";
    7 UPSTREAM_OVERFLOW "UO" "UpstreamOverflow";
    8 NO_ROUTE_FOUND "NR" "NoRouteFound";
    9 DELAY_INJECTED "DI" "DelayInjected";
    10 FAULT_INJECTED "FI" "FaultInjected";
    11 RATE_LIMITED "RL" "RateLimited";
    12 UNAUTHORIZED_EXTERNAL_SERVICE "UAEX" "UnauthorizedExternalService";
    13 RATE_LIMIT_SERVICE_ERROR "RLSE" "RateLimitServiceError";
    14 DOWNSTREAM_CONNECTION_TERMINATION "DC" "DownstreamConnectionTermination";
    15 UPSTREAM_RETRY_LIMIT_EXCEEDED "URX" "UpstreamRetryLimitExceeded";
    16 STREAM_IDLE_TIMEOUT "SI" "StreamIdleTimeout";
    17 INVALID_ENVOY_REQUEST_HEADERS "IH" "InvalidEnvoyRequestHeaders";
    18 DOWNSTREAM_PROTOCOL_ERROR "DPE" "DownstreamProtocolError";
    19 UPSTREAM_MAX_STREAM_DURATION_REACHED "UMSDR" "UpstreamMaxStreamDurationReached";
    20 RESPONSE_FROM_CACHE_FILTER "RFCF" "ResponseFromCacheFilter";
    21 NO_FILTER_CONFIG_FOUND "NFCF" "NoFilterConfigFound";
    22 DURATION_TIMEOUT "DT" "DurationTimeout";
    23 UPSTREAM_PROTOCOL_ERROR "UPE" "UpstreamProtocolError";
    24 NO_CLUSTER_FOUND "NC" "NoClusterFound";
    25 OVERLOAD_MANAGER "OM" "OverloadManagerTerminated";
    26 DNS_RESOLUTION_FAILED "DF" "DnsResolutionFailed";
    27 DROP_OVERLOAD "DO" "DropOverload";
    28 DOWNSTREAM_REMOTE_RESET "DR" "DownstreamRemoteReset";
    29 UNCONDITIONAL_DROP_OVERLOAD "UDO" "UnconditionalDropOverload";
}

impl ResponseFlags {
    pub fn insert(&mut self, other: Self) {
        let new = other.bits & !self.bits;
        self.bits |= new;
        for bit in (0..u32::BITS).filter(|bit| new & (1 << bit) != 0) {
            let at = self.order.checked_ilog2().map_or(0, |top| top / ORDER_BITS + 1) * ORDER_BITS;
            if at + ORDER_BITS <= u64::BITS {
                self.order |= u64::from(bit + 1) << at;
            }
        }
    }

    /// Equal where the same flags print the same.
    pub fn key(self) -> (u32, u64) {
        (self.bits, self.order)
    }

    pub fn contains(self, other: Self) -> bool {
        self.bits & other.bits != 0
    }

    pub fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// The flag of a short name (`UH`), as access-log filters spell it.
    pub fn from_short(name: &str) -> Option<Self> {
        Self::TABLE
            .iter()
            .find(|(_, short, _)| *short == name)
            .map(|(flag, ..)| *flag)
    }

    /// The long names (`NoHealthyUpstream`), joined as `%RESPONSE_FLAGS_LONG%` prints them.
    pub fn long(self) -> impl fmt::Display {
        Names(self, true)
    }
}

/// `UH,URX`, or `-` when empty: `%RESPONSE_FLAGS%`.
impl fmt::Display for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Names(*self, false).fmt(f)
    }
}

struct Names(ResponseFlags, bool);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("-");
        }
        let mut order = self.0.order;
        let mut first = true;
        while order != 0 {
            let bit = (order & ((1 << ORDER_BITS) - 1)) as usize - 1;
            order >>= ORDER_BITS;
            if !first {
                f.write_str(",")?;
            }
            first = false;
            let (_, short, long) = ResponseFlags::TABLE[bit];
            f.write_str(if self.1 { long } else { short })?;
        }
        Ok(())
    }
}

/// A failure of the data path.
#[derive(Debug, Clone)]
pub struct Failure {
    pub side: Side,
    pub retry: RetrySafety,
    pub reset: Option<ResetReason>,
    pub flags: ResponseFlags,
    /// Envoy's `response_code_details`, e.g. `upstream_reset_before_response_started{connection_termination}`.
    pub details: Cow<'static, str>,
    /// One sentence that names the object and the value. Built only when something failed.
    pub sentence: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_print_as_envoy_prints_them() {
        let mut f = ResponseFlags::default();
        assert_eq!(f.to_string(), "-");
        f.insert(ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
        f.insert(ResponseFlags::UPSTREAM_CONNECTION_FAILURE);
        assert_eq!(f.to_string(), "URX,UF");
        assert_eq!(
            f.long().to_string(),
            "UpstreamRetryLimitExceeded,UpstreamConnectionFailure"
        );
        assert_eq!(ResponseFlags::from_short("NR"), Some(ResponseFlags::NO_ROUTE_FOUND));
    }
}
