//! Keepalives as sockets and codecs want them.

use super::{Http2Keepalive, TcpKeepalive};

impl TcpKeepalive {
    /// What is not given is the system's.
    pub fn for_socket(&self) -> socket2::TcpKeepalive {
        let mut keepalive = socket2::TcpKeepalive::new();
        if let Some(time) = self.time {
            keepalive = keepalive.with_time(time);
        }
        if let Some(interval) = self.interval {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(probes) = self.probes {
            keepalive = keepalive.with_retries(probes);
        }
        keepalive
    }
}

impl Http2Keepalive {
    /// The same in the codec's terms: zero stands for none.
    pub fn for_codec(self) -> crate::http::codec::h2::Keepalive {
        const PERCENT: f64 = 100.0;
        crate::http::codec::h2::Keepalive {
            interval: self.interval.unwrap_or_default(),
            timeout: self.timeout,
            jitter: self.interval_jitter_percent / PERCENT,
            idle_interval: self.connection_idle_interval.unwrap_or_default(),
        }
    }
}
