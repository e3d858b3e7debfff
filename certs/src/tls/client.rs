//! The upstream side: one immutable context per TLS configuration of a cluster, shared by the workers.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};

use super::handshake;
use super::params::TlsParams;
use super::resolver::Identities;
use super::server::{ContextError, check_alpn, first_expiry};
use super::sessions::Sessions;
use super::stream::TlsStream;
use crate::error::HandshakeError;
use crate::identity::Identity;
use crate::validation::Validation;
use crate::validation::san::SanMatcher;
use crate::validation::verifier::PeerVerifier;

/// Envoy's `UpstreamTlsContext`, with its secrets resolved.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// None: a server that asks for a certificate gets none.
    pub identity: Option<Identity>,
    /// None: the server is not verified, as in Envoy.
    pub validation: Option<Arc<Validation>>,
    /// `alpn_protocols`.
    pub alpn: Vec<Vec<u8>>,
    /// `sni`. None: no SNI is sent.
    pub sni: Option<String>,
    pub params: TlsParams,
    /// `max_session_keys`: sessions kept for resumption. Envoy's default is 1; 0 disables resumption.
    pub max_session_keys: u32,
}

/// What one connection wants otherwise than its context.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectOptions<'a> {
    /// `auto_sni`: sent instead of the context's SNI.
    pub sni: Option<&'a str>,
    /// Offered instead of the context's list (Istio's ALPN filter, `AUTO` HTTP).
    pub alpn: Option<&'a [Vec<u8>]>,
    /// `auto_san_validation` and the like: one of them must match besides the context's own. Empty: no further check.
    pub verify_sans: &'a [SanMatcher],
}

/// A client's TLS, ready for handshakes. Cheap to clone. Never changes; new material makes a new context, and with it
/// new resumption state.
#[derive(Clone)]
pub struct ClientContext(Arc<Parts>);

pub(super) struct Parts {
    pub(super) config: Arc<ClientConfig>,
    pub(super) settings: ClientSettings,
}

impl ClientContext {
    pub fn new(settings: ClientSettings) -> Result<Self, ContextError> {
        check_alpn(&settings.alpn)?;
        let identities = Identities {
            identities: settings.identity.iter().cloned().collect(),
            full_scan: true,
        };
        let verifier = PeerVerifier::of_servers(settings.validation.clone().unwrap_or_default());
        let mut config = ClientConfig::builder_with_provider(settings.params.provider())
            .with_protocol_versions(&settings.params.versions())
            .map_err(|e| ContextError::Other(e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(identities));
        config.alpn_protocols.clone_from(&settings.alpn);
        config.resumption = match settings.max_session_keys {
            0 => Resumption::disabled(),
            capacity => Resumption::store(Arc::new(Sessions::new(capacity as usize))),
        };
        Ok(Self(Arc::new(Parts {
            config: Arc::new(config),
            settings,
        })))
    }

    /// Makes one handshake over a connected `io`. No time limit is applied.
    pub async fn connect<IO: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: IO,
        options: ConnectOptions<'_>,
    ) -> Result<TlsStream<IO>, HandshakeError> {
        handshake::connect(&self.0, io, options).await
    }

    /// Whether both are one context: what pools and caches key on.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub fn identity(&self) -> Option<&Identity> {
        self.0.settings.identity.as_ref()
    }

    pub fn validation(&self) -> Option<&Arc<Validation>> {
        self.0.settings.validation.as_ref()
    }

    /// What is offered on a connection without options of its own.
    pub fn alpn(&self) -> &[Vec<u8>] {
        &self.0.settings.alpn
    }

    /// The SNI of a connection without options of its own.
    pub fn sni(&self) -> Option<&str> {
        self.0.settings.sni.as_deref()
    }

    /// When the first certificate in use, own or trusted, expires.
    pub fn expires_at(&self) -> Option<SystemTime> {
        first_expiry(
            self.0.settings.identity.as_slice(),
            self.validation().map(|validation| &**validation),
        )
    }
}

impl std::fmt::Debug for ClientContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ClientContext").field(&self.identity()).finish()
    }
}

impl ClientSettings {
    /// Envoy's defaults: no identity, no verification, no ALPN, TLS 1.2, one session kept.
    pub fn new() -> Self {
        Self {
            identity: None,
            validation: None,
            alpn: Vec::new(),
            sni: None,
            params: TlsParams::client_default(),
            max_session_keys: DEFAULT_SESSION_KEYS,
        }
    }
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// `UpstreamTlsContext.max_session_keys`.
const DEFAULT_SESSION_KEYS: u32 = 1;

impl Parts {
    pub(super) fn server_name(&self, options: ConnectOptions<'_>) -> Result<ServerName<'static>, HandshakeError> {
        match options
            .sni
            .or(self.settings.sni.as_deref())
            .filter(|sni| !sni.is_empty())
        {
            Some(sni) => {
                ServerName::try_from(sni.to_owned()).map_err(|_| HandshakeError::SniNotDnsName { sni: sni.to_owned() })
            }
            // rustls sends no SNI for an address, and needs something as key of its sessions.
            None => Ok(ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into())),
        }
    }
}
