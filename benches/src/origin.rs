//! What stands behind every proxy: servers that do as little as they can, each on a thread of its own.

pub mod echo;
pub mod http1;
pub mod http2;

pub use http2::WINDOW;

use std::net::SocketAddr;

/// Addresses of the running origins; they end with the process.
#[derive(Debug, Clone, Copy)]
pub struct Origins {
    /// HTTP/1.1; `GET /N` answers with N bytes.
    pub http1: SocketAddr,
    /// HTTP/2 with prior knowledge; `/N` as above, gRPC where the request is gRPC.
    pub http2: SocketAddr,
    /// Sends back what it gets.
    pub echo: SocketAddr,
}

impl Origins {
    pub fn start() -> anyhow::Result<Self> {
        Ok(Self {
            http1: http1::start()?,
            http2: http2::start()?,
            echo: echo::start()?,
        })
    }
}
