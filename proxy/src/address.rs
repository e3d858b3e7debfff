//! Where a connection comes from or goes to, as Envoy prints it.

use std::{fmt, net::SocketAddr, sync::Arc};

/// A network address of a listener, a peer or an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    Ip(SocketAddr),
    /// A Unix socket by path; an abstract one begins with `@`.
    Pipe(Arc<str>),
    /// An Envoy internal listener by name. Accepted in config; never connected to.
    Internal(Arc<str>),
}

impl Address {
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(a) => Some(*a),
            Self::Pipe(_) | Self::Internal(_) => None,
        }
    }

    /// The port, or 0 where an address has none.
    pub fn port(&self) -> u16 {
        self.ip().map_or(0, |a| a.port())
    }
}

/// `127.0.0.1:80`, `[::1]:80`, `/var/run/x.sock`, `envoy://name/`: Envoy's forms in logs and admin output.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(a) => a.fmt(f),
            Self::Pipe(p) => f.write_str(p),
            Self::Internal(n) => write!(f, "envoy://{n}/"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(a: SocketAddr) -> Self {
        // A dual-stack socket shows IPv4 peers as ::ffff:a.b.c.d; every match and log wants the IPv4 form, as in Envoy.
        match a {
            SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
                Some(v4) => Self::Ip(SocketAddr::new(v4.into(), v6.port())),
                None => Self::Ip(a),
            },
            SocketAddr::V4(_) => Self::Ip(a),
        }
    }
}
