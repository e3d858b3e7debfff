//! From rustls's errors to named ones, with what was seen on the wire.

use std::sync::Arc;

use rustls::server::ClientHello;
use rustls::{Error, PeerIncompatible};

use crate::certificate::CertificateInfo;
use crate::error::{Alert, HandshakeError};
use crate::tls::ciphers;
use crate::tls::params::TlsParams;
use crate::validation::{PeerRole, VerifyError, verifier};

/// What was seen of a handshake so far.
pub(super) struct Facts<'a> {
    pub(super) role: PeerRole,
    params: &'a TlsParams,
    /// How the peer began, to tell plaintext from TLS.
    first: [u8; FIRST],
    received: u64,
    pub(super) ended: bool,
    pub(super) our_certificate: Option<Box<str>>,
    pub(super) peer_certificate: Option<Arc<CertificateInfo>>,
    cipher_suites: Vec<String>,
    groups: Vec<String>,
}

/// Enough of a plaintext protocol's start to recognise it in a log line.
const FIRST: usize = 16;

impl<'a> Facts<'a> {
    pub(super) fn new(role: PeerRole, params: &'a TlsParams) -> Self {
        Self {
            role,
            params,
            first: [0; FIRST],
            received: 0,
            ended: false,
            our_certificate: None,
            peer_certificate: None,
            cipher_suites: Vec::new(),
            groups: Vec::new(),
        }
    }

    pub(super) fn received(&mut self, bytes: &[u8]) {
        let start = self.first_length();
        let length = bytes.len().min(FIRST - start);
        self.first[start..start + length].copy_from_slice(&bytes[..length]);
        self.received += bytes.len() as u64;
        self.ended |= bytes.is_empty();
    }

    /// Keeps what an error about this hello would list.
    pub(super) fn note(&mut self, hello: &ClientHello<'_>) {
        self.cipher_suites = hello
            .cipher_suites()
            .iter()
            .map(|suite| ciphers::cipher_name(*suite).to_owned())
            .collect();
        let groups = hello.named_groups().unwrap_or_default();
        self.groups = groups
            .iter()
            .map(|group| ciphers::group_name(*group).to_owned())
            .collect();
    }

    fn first_length(&self) -> usize {
        usize::try_from(self.received).unwrap_or(FIRST).min(FIRST)
    }

    pub(super) fn closed(&self) -> HandshakeError {
        match self.began_in_plaintext() {
            true => self.plaintext(),
            false => HandshakeError::ClosedDuringHandshake {
                received: self.received,
            },
        }
    }

    fn plaintext(&self) -> HandshakeError {
        HandshakeError::PlaintextPeer {
            role: self.role,
            first_bytes: self.first[..self.first_length()].to_vec(),
        }
    }

    /// A TLS record starts with a content type (RFC 8446 section 5.1: 20 to 24) and the major version 3.
    fn began_in_plaintext(&self) -> bool {
        match self.first[..self.first_length()] {
            [] => false,
            [kind] => !CONTENT_TYPES.contains(&kind),
            [kind, major, ..] => !CONTENT_TYPES.contains(&kind) || major != MAJOR_VERSION,
        }
    }

    pub(super) fn explain(&self, error: Error) -> HandshakeError {
        let refusal = verifier::take_seen().refusal;
        if self.began_in_plaintext() {
            return self.plaintext();
        }
        match error {
            Error::NoCertificatesPresented => HandshakeError::NoClientCertificate,
            Error::InvalidCertificate(reason) => {
                let unacceptable = || VerifyError::Unacceptable {
                    subject: "of the peer".into(),
                    reason: reason.to_string(),
                };
                HandshakeError::PeerCertificate {
                    role: self.role,
                    error: refusal.unwrap_or_else(unacceptable),
                }
            }
            Error::PeerIncompatible(what) => self.incompatible(&what),
            error => after(error, self.our_certificate.as_deref(), self.peer_certificate.as_deref()),
        }
    }

    fn incompatible(&self, what: &PeerIncompatible) -> HandshakeError {
        use PeerIncompatible as P;
        let parameter = |what, ours, theirs: &[String]| HandshakeError::NoCommonParameter {
            what,
            ours,
            theirs: theirs.to_vec(),
        };
        match what {
            P::Tls12NotOffered
            | P::Tls12NotOfferedOrEnabled
            | P::SupportedVersionsExtensionRequired
            | P::ServerDoesNotSupportTls12Or13
            | P::ServerTlsVersionIsDisabledByOurConfig => HandshakeError::NoCommonVersion {
                ours: self.params.version_range(),
                theirs: Vec::new(),
            },
            P::NoCipherSuitesInCommon => parameter("cipher suite", self.params.cipher_names(), &self.cipher_suites),
            P::NoKxGroupsInCommon | P::NamedGroupsExtensionRequired => {
                parameter("key exchange group", self.params.group_names(), &self.groups)
            }
            P::NoSignatureSchemesInCommon | P::NoCertificateRequestSignatureSchemesInCommon => {
                parameter("signature scheme", vec!["those of our certificate's key".into()], &[])
            }
            other => HandshakeError::Protocol(Error::PeerIncompatible(other.clone()).to_string()),
        }
    }
}

const CONTENT_TYPES: std::ops::RangeInclusive<u8> = 20..=24;
const MAJOR_VERSION: u8 = 3;

/// Names an error that can come at any time, also after the handshake.
pub(in crate::tls) fn after(
    error: Error,
    our_certificate: Option<&str>,
    peer_certificate: Option<&CertificateInfo>,
) -> HandshakeError {
    match error {
        Error::AlertReceived(alert) => HandshakeError::PeerAlert {
            alert: Alert(u8::from(alert)),
            our_certificate: our_certificate.map(str::to_owned),
            peer_certificate: peer_certificate.map(|info| info.display_name().into()),
        },
        other => HandshakeError::Protocol(other.to_string()),
    }
}
