//! [`Validation`] as rustls's verifiers of servers and of clients.
//!
//! rustls chooses an alert by the variant of a verifier's error and drops the rest, and it keeps neither what was parsed
//! nor what signed. So all of that waits in a thread-local for the handshake, which takes it right after the call into
//! rustls that left it there: nothing else can run on the thread between the two.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{PeerRole, Presented, Validation, VerifyError};
use crate::certificate::CertificateInfo;
use crate::tls::params;

thread_local! {
    static SEEN: Cell<Seen> = const { Cell::new(Seen { refusal: None, certificate: None, scheme: None }) };
}

/// What verifiers learned during one call into rustls.
#[derive(Default)]
pub(crate) struct Seen {
    /// Why the certificate was refused.
    pub(crate) refusal: Option<VerifyError>,
    /// The peer's certificate, where it had to be parsed.
    pub(crate) certificate: Option<Arc<CertificateInfo>>,
    /// What the peer signed the handshake with.
    pub(crate) scheme: Option<SignatureScheme>,
}

/// Takes what the last call into rustls on this thread left.
pub(crate) fn take_seen() -> Seen {
    SEEN.take()
}

fn note(change: impl FnOnce(&mut Seen)) {
    let mut seen = SEEN.take();
    change(&mut seen);
    SEEN.set(seen);
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
        if !self.validation.checks_anything() {
            return Ok(());
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
        let outcome = match CertificateInfo::from_der(leaf) {
            Ok(info) => {
                let info = &*note_certificate(info);
                let presented = Presented {
                    leaf,
                    intermediates,
                    info,
                };
                self.validation.verify(role, presented, sni, now)
            }
            Err(reason) => Err(VerifyError::Unacceptable {
                subject: "of the peer".into(),
                reason,
            }),
        };
        match outcome {
            Err(error) if !self.validation.accept_untrusted => {
                let alerting = alerting(&error);
                note(|seen| seen.refusal = Some(error));
                Err(rustls::Error::InvalidCertificate(alerting))
            }
            _ => Ok(()),
        }
    }
}

fn note_certificate(info: CertificateInfo) -> Arc<CertificateInfo> {
    let info = Arc::new(info);
    note(|seen| seen.certificate = Some(Arc::clone(&info)));
    info
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
        note(|seen| seen.scheme = Some(dss.scheme));
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
        note(|seen| seen.scheme = Some(dss.scheme));
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
