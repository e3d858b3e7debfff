//! TLS contexts as descriptions: which certificates, what is verified, which parameters. Contexts are built from them by
//! the control thread, once the secrets that they name are there.

use std::time::Duration;

use super::{at::At, extension::Extension, rejection::Rejection, source::SecretReference};

mod build;
mod certificate;
mod context;
mod files;
mod material;
mod params;
mod validation;

pub use build::Secrets;
pub use certificate::{Certificate, CertificateSource, SessionTicketKeys};
pub use files::Watched;
pub use material::{Material, Unusable};
pub use validation::{SpiffeTrustDomain, Trust, Validation, ValidationContext};

pub(crate) use certificate::{certificate, session_ticket_keys};
pub(crate) use validation::validation_context;

/// `CommonTlsContext`.
#[derive(Debug, Clone)]
pub struct TlsContextConfig {
    pub certificates: Vec<CertificateSource>,
    pub validation: Validation,
    /// In order of preference; empty: no ALPN.
    pub alpn: Vec<Box<str>>,
    /// `None`: no version is left to speak, and every handshake fails.
    pub params: Option<certs::TlsParams>,
    /// Hash of the received context: equal descriptions may share what is built from them.
    pub hash: u64,
    /// Where the context stands, for what is found wrong when it is built.
    pub place: Rejection,
}

/// `DownstreamTlsContext`.
#[derive(Debug, Clone)]
pub struct DownstreamTlsConfig {
    pub context: TlsContextConfig,
    pub require_client_certificate: bool,
    pub require_sni: bool,
    pub tickets: SessionTickets,
    pub disable_stateful_session_resumption: bool,
    /// `None`: the library's default.
    pub session_timeout: Option<Duration>,
    pub ocsp_staple: OcspStaplePolicy,
    pub full_scan_certs_on_sni_mismatch: bool,
    pub prefer_client_ciphers: bool,
}

/// Keys of stateless session resumption.
#[derive(Debug, Clone)]
pub enum SessionTickets {
    /// Keys that the process makes up.
    Own,
    Given(SessionTicketKeys),
    Secret(SecretReference),
    Disabled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OcspStaplePolicy {
    Lenient,
    Strict,
    MustStaple,
}

/// `UpstreamTlsContext`.
#[derive(Debug, Clone)]
pub struct UpstreamTlsConfig {
    pub context: TlsContextConfig,
    /// Empty: none.
    pub sni: Box<str>,
    /// Send the endpoint's host name as SNI where there is one.
    pub auto_host_sni: bool,
    /// Verify that the peer's certificate carries the SNI that was sent.
    pub auto_sni_san_validation: bool,
    /// Sessions kept for resumption; 0: none. Envoy's default: 1.
    pub max_session_keys: u32,
    pub enforce_rsa_key_usage: bool,
}

impl TlsContextConfig {
    /// The secrets that must be there before the context can be built.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretReference> {
        let certificates = self.certificates.iter().filter_map(|certificate| match certificate {
            CertificateSource::Secret(secret) => Some(secret),
            CertificateSource::Given(_) => None,
        });
        let validation = match &self.validation {
            Validation::Secret(secret) | Validation::Combined { secret, .. } => Some(secret),
            Validation::None | Validation::Given(_) => None,
        };
        certificates.chain(validation)
    }
}

impl DownstreamTlsConfig {
    /// The secrets of the context, and of the session tickets.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretReference> {
        let tickets = match &self.tickets {
            SessionTickets::Secret(secret) => Some(secret),
            _ => None,
        };
        self.context.secrets().chain(tickets)
    }
}

pub(crate) fn downstream(extension: &Extension, at: &At) -> Result<DownstreamTlsConfig, Rejection> {
    context::downstream(extension, at)
}

pub(crate) fn upstream(extension: &Extension, at: &At) -> Result<UpstreamTlsConfig, Rejection> {
    context::upstream(extension, at)
}

#[cfg(test)]
mod tests;
