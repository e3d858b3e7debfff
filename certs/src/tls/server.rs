//! The downstream side: one immutable context per TLS configuration, shared by every listener worker.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ProducesTickets, StoresServerSessions};
use tokio::io::{AsyncRead, AsyncWrite};

use super::handshake;
use super::params::{ParamsError, TlsParams};
use super::resolver::Identities;
use super::sessions::ServerSessions;
use super::stream::TlsStream;
use super::tickets::{TICKET_KEY_LENGTH, TicketKeys};
use crate::certificate::sha256;
use crate::error::HandshakeError;
use crate::identity::Identity;
use crate::validation::Validation;
use crate::validation::verifier::PeerVerifier;

/// Envoy's `DownstreamTlsContext`, with its secrets resolved.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// At least one; several for several names, or for RSA and ECDSA side by side.
    pub identities: Vec<Identity>,
    /// `full_scan_certs_on_sni_mismatch` (default false).
    pub full_scan_certs_on_sni_mismatch: bool,
    /// None: no certificate is asked of clients, unless one is required. Some: one is asked for, and verified if sent.
    pub validation: Option<Arc<Validation>>,
    /// `require_client_certificate` (default false).
    pub require_client_certificate: bool,
    /// `require_sni` (default false).
    pub require_sni: bool,
    /// `alpn_protocols`, the server's preference first. Empty: no ALPN.
    pub alpn: Vec<Vec<u8>>,
    pub params: TlsParams,
    pub resumption: ServerResumption,
}

/// How a server lets sessions be resumed.
#[derive(Debug, Clone, Default)]
pub struct ServerResumption {
    /// `session_ticket_keys`: the first encrypts, all decrypt. Empty: random keys of this context, rotated.
    pub ticket_keys: Vec<[u8; TICKET_KEY_LENGTH]>,
    /// `disable_stateless_session_resumption`: no tickets.
    pub no_tickets: bool,
    /// `disable_stateful_session_resumption`: no session ids (TLS 1.2).
    pub no_session_ids: bool,
    /// `session_timeout`. None: BoringSSL's default.
    pub timeout: Option<Duration>,
}

/// A context that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    #[error("no TLS certificate is configured; a server needs at least one")]
    NoIdentity,
    #[error(transparent)]
    Params(#[from] ParamsError),
    #[error("alpn protocol {0:?} must have 1 to 255 bytes (RFC 7301 section 3.1)")]
    Alpn(String),
    #[error("TLS context: {0}")]
    Other(String),
}

/// A server's TLS, ready for handshakes. Cheap to clone. A context is built from material and never changes; new
/// material makes a new context, and with it new resumption state.
#[derive(Clone)]
pub struct ServerContext(Arc<Parts>);

pub(super) struct Parts {
    /// For clients that offer one of our protocols.
    pub(super) config: Arc<ServerConfig>,
    /// For the others: rustls would refuse them, Envoy goes on without ALPN. Shares keys and resumption with `config`.
    pub(super) without_alpn: Arc<ServerConfig>,
    pub(super) settings: ServerSettings,
}

impl ServerContext {
    pub fn new(settings: ServerSettings) -> Result<Self, ContextError> {
        if settings.identities.is_empty() {
            return Err(ContextError::NoIdentity);
        }
        check_alpn(&settings.alpn)?;
        let identities = Identities {
            identities: settings.identities.clone(),
            full_scan: settings.full_scan_certs_on_sni_mismatch,
        };
        let builder = ServerConfig::builder_with_provider(settings.params.provider())
            .with_protocol_versions(&settings.params.versions())
            .map_err(|e| ContextError::Other(e.to_string()))?;
        let builder = match (&settings.validation, settings.require_client_certificate) {
            (None, false) => builder.with_no_client_auth(),
            (validation, required) => {
                let validation = validation.clone().unwrap_or_default();
                builder.with_client_cert_verifier(Arc::new(PeerVerifier::of_clients(validation, required)))
            }
        };
        let mut without_alpn = builder.with_cert_resolver(Arc::new(identities));
        // SSL_OP_CIPHER_SERVER_PREFERENCE, which Envoy sets.
        without_alpn.ignore_client_order = true;
        without_alpn.session_storage = settings.session_storage();
        if let Some(ticketer) = settings.ticketer()? {
            without_alpn.ticketer = ticketer;
        } else if settings.resumption.no_session_ids {
            without_alpn.send_tls13_tickets = 0;
        }
        let mut config = without_alpn.clone();
        config.alpn_protocols.clone_from(&settings.alpn);
        Ok(Self(Arc::new(Parts {
            config: Arc::new(config),
            without_alpn: Arc::new(without_alpn),
            settings,
        })))
    }

    /// Serves one handshake. Bytes that were peeked before must come out of `io` again. No time limit is applied.
    pub async fn accept<IO: AsyncRead + AsyncWrite + Unpin>(&self, io: IO) -> Result<TlsStream<IO>, HandshakeError> {
        handshake::accept(&self.0, io).await
    }

    /// Whether both are one context: what pools and caches key on.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The certificates that it shows.
    pub fn identities(&self) -> &[Identity] {
        &self.0.settings.identities
    }

    pub fn validation(&self) -> Option<&Arc<Validation>> {
        self.0.settings.validation.as_ref()
    }

    /// When the first certificate in use, own or trusted, expires.
    pub fn expires_at(&self) -> Option<SystemTime> {
        first_expiry(self.identities(), self.validation().map(|validation| &**validation))
    }
}

impl std::fmt::Debug for ServerContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ServerContext").field(&self.identities()).finish()
    }
}

pub(super) fn first_expiry(identities: &[Identity], validation: Option<&Validation>) -> Option<SystemTime> {
    let own = identities.iter().map(Identity::expires_at);
    let bundles = validation
        .and_then(|validation| validation.trust.as_ref())
        .into_iter()
        .flat_map(|t| t.bundles());
    own.chain(bundles.filter_map(|bundle| bundle.expires_at())).min()
}

/// RFC 7301 section 3.1.
const LONGEST_PROTOCOL: usize = 255;

pub(super) fn check_alpn(protocols: &[Vec<u8>]) -> Result<(), ContextError> {
    match protocols
        .iter()
        .find(|protocol| protocol.is_empty() || protocol.len() > LONGEST_PROTOCOL)
    {
        Some(bad) => Err(ContextError::Alpn(String::from_utf8_lossy(bad).into_owned())),
        None => Ok(()),
    }
}

impl ServerSettings {
    /// Identities and nothing else: no client certificate, no ALPN, Envoy's default parameters.
    pub fn new(identities: Vec<Identity>) -> Self {
        Self {
            identities,
            full_scan_certs_on_sni_mismatch: false,
            validation: None,
            require_client_certificate: false,
            require_sni: false,
            alpn: Vec::new(),
            params: TlsParams::server_default(),
            resumption: ServerResumption::default(),
        }
    }

    fn session_storage(&self) -> Arc<dyn StoresServerSessions> {
        match self.resumption.no_session_ids {
            true => Arc::new(NoServerSessionStorage {}),
            false => Arc::new(ServerSessions::default()),
        }
    }

    fn ticketer(&self) -> Result<Option<Arc<dyn ProducesTickets>>, ContextError> {
        if self.resumption.no_tickets {
            return Ok(None);
        }
        if self.resumption.ticket_keys.is_empty() {
            let ticketer = rustls::crypto::aws_lc_rs::Ticketer::new();
            return ticketer.map(Some).map_err(|e| ContextError::Other(e.to_string()));
        }
        let lifetime = self
            .resumption
            .timeout
            .map(|timeout| u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX));
        let keys = TicketKeys::new(&self.resumption.ticket_keys, self.verified_against(), lifetime);
        let keys = keys.ok_or_else(|| ContextError::Other("session_ticket_keys were refused".into()))?;
        Ok(Some(Arc::new(keys)))
    }

    /// A digest of all that a client certificate is verified against.
    fn verified_against(&self) -> [u8; 32] {
        let Some(validation) = &self.validation else {
            return sha256(&[u8::from(self.require_client_certificate)]);
        };
        let bundles = validation.trust.iter().flat_map(|trust| trust.bundles());
        let trusted = bundles.flat_map(|bundle| bundle.certificates()).map(|info| info.sha256);
        let mut description = format!("{validation:?} {}", self.require_client_certificate).into_bytes();
        description.extend(trusted.flatten());
        sha256(&description)
    }
}
