//! [`Validation`] as rustls's verifiers of servers and of clients.
//!
//! What rustls does with a verifier's error is to choose an alert by its variant and drop the rest, so the full
//! [`VerifyError`] waits in a thread-local for the handshake, which reads it right after the call that failed: both
//! happen within one synchronous call into rustls.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{PeerRole, Validation, VerifyError};
use crate::tls::params;

thread_local! {
    static REFUSAL: Cell<Option<VerifyError>> = const { Cell::new(None) };
}

/// The refusal behind the error that rustls has just returned on this thread.
pub(crate) fn take_refusal() -> Option<VerifyError> {
    REFUSAL.take()
}

/// Verifies a peer's certificate against a [`Validation`]; never a host name but by its rules.
#[derive(Debug)]
pub(crate) struct PeerVerifier {
    validation: Arc<Validation>,
    client_certificate_required: bool,
    root_hints: Vec<DistinguishedName>,
}

impl PeerVerifier {
    pub(crate) fn of_servers(validation: Arc<Validation>) -> Self {
        Self {
            validation,
            client_certificate_required: false,
            root_hints: Vec::new(),
        }
    }

    pub(crate) fn of_clients(validation: Arc<Validation>, required: bool) -> Self {
        let bundles = validation.trust.iter().flat_map(|trust| trust.bundles());
        let root_hints = bundles
            .flat_map(|bundle| &bundle.anchors)
            .map(|anchor| DistinguishedName::in_sequence(&anchor.subject))
            .collect();
        Self {
            validation,
            client_certificate_required: required,
            root_hints,
        }
    }

    fn verify(
        &self,
        role: PeerRole,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        sni: Option<&str>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
        match self.validation.verify(role, leaf, intermediates, sni, now) {
            Err(error) if !self.validation.accept_untrusted => {
                let alerting = alerting(&error);
                REFUSAL.set(Some(error));
                Err(rustls::Error::InvalidCertificate(alerting))
            }
            _ => Ok(()),
        }
    }
}

/// The rustls error whose alert is the one that BoringSSL sends for this refusal.
fn alerting(error: &VerifyError) -> CertificateError {
    match error {
        VerifyError::UnknownIssuer { .. } | VerifyError::UnknownTrustDomain { .. } => CertificateError::UnknownIssuer,
        VerifyError::Expired { .. } => CertificateError::Expired,
        VerifyError::NotYetValid { .. } => CertificateError::NotValidYet,
        VerifyError::Revoked { .. } => CertificateError::Revoked,
        VerifyError::RevocationUnknown { .. } => CertificateError::UnknownRevocationStatus,
        _ => CertificateError::Other(OtherError(Arc::new(error.clone()))),
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let sni = match server_name {
            ServerName::DnsName(name) => Some(name.as_ref()),
            _ => None,
        };
        self.verify(PeerRole::Server, leaf, intermediates, sni, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &params::provider().signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &params::provider().signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        params::provider().signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.client_certificate_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.root_hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify(PeerRole::Client, leaf, intermediates, None, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ServerCertVerifier::verify_tls12_signature(self, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(self)
    }
}
