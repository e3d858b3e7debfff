//! TLS contexts of listeners and clusters: the slot that secrets fill and connections read.
//!
//! A slot lives as long as the filter chain or cluster that names it. The control thread builds a new context off the
//! workers whenever a secret changes and stores it here; the next handshake uses it, running connections are untouched.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

/// `DownstreamTlsContext`: empty until its secrets have arrived; a connection that comes before is closed.
#[derive(Debug)]
pub struct DownstreamTls {
    pub context: ArcSwapOption<ServerContext>,
}

/// `UpstreamTlsContext`.
#[derive(Debug)]
pub struct UpstreamTls {
    pub context: ArcSwapOption<ClientContext>,
    /// Server name that is sent; `None`: none, or the request's host with `auto_sni`.
    pub sni: Option<Arc<str>>,
}

/// Either transport of an upstream connection.
#[derive(Debug, Clone)]
pub enum UpstreamTransport {
    Raw,
    Tls(Arc<UpstreamTls>),
}

// Until `certs` has them.
pub type ServerContext = ();
pub type ClientContext = ();
