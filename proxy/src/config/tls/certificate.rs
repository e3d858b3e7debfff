//! Certificates and session ticket keys.

use std::sync::Arc;

use xds_api::envoy::{config::core::v3 as core, extensions::transport_sockets::tls::v3 as pb};

use super::super::{
    at::At,
    data_source::{self, DataSource},
    rejection::Rejection,
    source::SecretReference,
};

#[derive(Debug, Clone)]
pub enum CertificateSource {
    Given(Certificate),
    Secret(SecretReference),
}

/// `TlsCertificate`: where PEM (or PKCS #12) is to be read from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Certificate {
    pub material: CertificateMaterial,
    /// Of an encrypted key.
    pub password: Option<DataSource>,
    pub ocsp_staple: Option<DataSource>,
    /// Watch this directory for moves, and read chain and key again.
    pub watched_directory: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CertificateMaterial {
    Pem { chain: DataSource, key: DataSource },
    Pkcs12(DataSource),
}

/// Keys of session tickets, 80 bytes each; the first encrypts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionTicketKeys(pub Vec<DataSource>);

pub(crate) fn certificate(pb: &pb::TlsCertificate, at: &At) -> Result<Certificate, Rejection> {
    let source = |field, pb: &Option<Box<core::DataSource>>| {
        pb.as_deref()
            .map(|pb| data_source::parse(pb, &at.field(field)))
            .transpose()
    };
    // With a provider the key never is in the config; without the provider there is no key.
    at.unsupported("private_key_provider", pb.private_key_provider.is_some())?;
    at.not_honoured(
        "signed_certificate_timestamp",
        !pb.signed_certificate_timestamp.is_empty(),
    );
    let material = match (
        source("certificate_chain", &pb.certificate_chain)?,
        source("private_key", &pb.private_key)?,
        source("pkcs12", &pb.pkcs12)?,
    ) {
        (None, None, Some(pkcs12)) => CertificateMaterial::Pkcs12(pkcs12),
        (_, _, Some(_)) => {
            return Err(at
                .field("pkcs12")
                .reject("stands beside certificate_chain or private_key; keep one form"));
        }
        (Some(chain), Some(key), None) => CertificateMaterial::Pem { chain, key },
        (None, _, None) => return Err(at.field("certificate_chain").reject("is required and not set")),
        (Some(_), None, None) => return Err(at.field("private_key").reject("is required and not set")),
    };
    Ok(Certificate {
        material,
        password: source("password", &pb.password)?,
        ocsp_staple: source("ocsp_staple", &pb.ocsp_staple)?,
        watched_directory: watched(pb.watched_directory.as_deref(), at)?,
    })
}

pub(super) fn watched(pb: Option<&core::WatchedDirectory>, at: &At) -> Result<Option<Arc<str>>, Rejection> {
    match pb {
        Some(directory) => Ok(Some(at.non_empty("watched_directory.path", &directory.path)?.into())),
        None => Ok(None),
    }
}

pub(crate) fn session_ticket_keys(pb: &pb::TlsSessionTicketKeys, at: &At) -> Result<SessionTicketKeys, Rejection> {
    if pb.keys.is_empty() {
        return Err(at.field("keys").reject("must not be empty"));
    }
    let keys = pb
        .keys
        .iter()
        .enumerate()
        .map(|(i, key)| data_source::parse(key, &at.item("keys", i)));
    Ok(SessionTicketKeys(keys.collect::<Result<_, _>>()?))
}
