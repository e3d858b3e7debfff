//! TLS contexts of listeners and clusters: the slot that secrets fill and connections read.
//!
//! A slot lives as long as the filter chain or cluster that names it. The control thread builds a new context off the
//! workers whenever a secret changes and stores it here; the next handshake uses it, running connections are untouched.

pub mod held;
pub mod refused;

use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;

use crate::{
    config::{
        Rejection,
        tls::{DownstreamTlsConfig, Secrets, UpstreamTlsConfig},
    },
    stats::{Group, SslSocketFactoryStat, SslStat},
    stream_info::TlsInfo,
};

/// `DownstreamTlsContext`: empty until its secrets have arrived; a connection that comes before is closed.
pub struct DownstreamTls {
    /// What the context is built from.
    pub config: Arc<DownstreamTlsConfig>,
    pub context: ArcSwapOption<certs::ServerContext>,
    /// `listener.<address>.ssl.`
    pub stats: Group<SslStat>,
    /// `listener.<address>.server_ssl_socket_factory.`
    pub factory: Group<SslSocketFactoryStat>,
}

/// `UpstreamTlsContext`.
pub struct UpstreamTls {
    /// What the context is built from.
    pub config: Arc<UpstreamTlsConfig>,
    pub context: ArcSwapOption<certs::ClientContext>,
    /// `cluster.<name>.ssl.`
    pub stats: Group<SslStat>,
    /// `cluster.<name>.client_ssl_socket_factory.`
    pub factory: Group<SslSocketFactoryStat>,
}

impl DownstreamTls {
    /// Without a context: a connection that comes before one is stored is closed.
    pub fn new(config: DownstreamTlsConfig, stats: Group<SslStat>, factory: Group<SslSocketFactoryStat>) -> Self {
        Self {
            config: Arc::new(config),
            context: ArcSwapOption::empty(),
            stats,
            factory,
        }
    }
}

impl UpstreamTls {
    /// Without a context: connecting fails until one is stored.
    pub fn new(config: UpstreamTlsConfig, stats: Group<SslStat>, factory: Group<SslSocketFactoryStat>) -> Self {
        Self {
            config: Arc::new(config),
            context: ArcSwapOption::empty(),
            stats,
            factory,
        }
    }
}

impl DownstreamTls {
    /// Builds the context anew and stores it. False: a secret has not arrived.
    ///
    /// # Errors
    /// Material that cannot be used; what was stored before stays.
    pub fn build(&self, secrets: Secrets<'_>) -> Result<bool, Rejection> {
        let context = self.config.build(secrets)?.map(Arc::new);
        let ready = context.is_some();
        if ready {
            self.context.store(context);
        }
        Ok(ready)
    }
}

impl UpstreamTls {
    /// As [`DownstreamTls::build`].
    ///
    /// # Errors
    /// Material that cannot be used; what was stored before stays.
    pub fn build(&self, secrets: Secrets<'_>) -> Result<bool, Rejection> {
        let context = self.config.build(secrets)?.map(Arc::new);
        let ready = context.is_some();
        if ready {
            self.context.store(context);
        }
        Ok(ready)
    }
}

impl fmt::Debug for DownstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DownstreamTls")
            .field("ready", &self.context.load().is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls")
            .field("ready", &self.context.load().is_some())
            .finish_non_exhaustive()
    }
}

/// Either transport of an upstream connection.
#[derive(Debug, Clone)]
pub enum UpstreamTransport {
    Raw,
    Tls(Arc<UpstreamTls>),
}

impl TlsInfo {
    /// What a finished handshake established; `own` is the identity that we presented.
    /// `keep_chain`: XFCC will need the peer's whole chain.
    pub fn of<IO>(stream: &certs::TlsStream<IO>, own: Option<&certs::Identity>, keep_chain: bool) -> Self {
        Self {
            peer: stream.peer().cloned(),
            peer_chain: if keep_chain {
                stream.peer_chain().map(Into::into).collect()
            } else {
                Vec::new()
            },
            local: own.map(|identity| identity.certificate().clone()),
            version: stream.tls_version().as_str(),
            cipher: stream.cipher(),
            alpn: stream.alpn().map(|alpn| String::from_utf8_lossy(alpn).into()),
        }
    }

    /// The peer presented a certificate that a trust bundle vouches for.
    pub fn validated(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.validated)
    }
}

/// Counts a finished handshake of either side.
pub fn count_handshake<IO>(stats: &Group<SslStat>, stream: &certs::TlsStream<IO>) {
    stats.inc(SslStat::Handshake);
    if stream.peer().is_none() {
        stats.inc(SslStat::NoCertificate);
    }
    if stream.resumed() {
        stats.inc(SslStat::SessionReused);
    }
    stats.inc_name(SslStat::Ciphers, stream.cipher());
    stats.inc_name(SslStat::Versions, stream.tls_version().as_str());
    if let Some(group) = stream.group() {
        stats.inc_name(SslStat::Curves, group);
    }
    if let Some(signature) = stream.peer_signature() {
        stats.inc_name(SslStat::Sigalgs, signature);
    }
}

/// Which counter a failed handshake goes under.
pub fn failure_stat(stat: certs::FailureStat) -> SslStat {
    match stat {
        certs::FailureStat::FailVerifyNoCert => SslStat::FailVerifyNoCert,
        certs::FailureStat::FailVerifyError => SslStat::FailVerifyError,
        certs::FailureStat::FailVerifySan => SslStat::FailVerifySan,
        certs::FailureStat::FailVerifyCertHash => SslStat::FailVerifyCertHash,
        certs::FailureStat::ConnectionError => SslStat::ConnectionError,
    }
}
