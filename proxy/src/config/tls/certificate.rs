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

/// `TlsCertificate`: where PEM is to be read from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Certificate {
    pub chain: DataSource,
    pub key: DataSource,
    pub ocsp_staple: Option<DataSource>,
    /// Watch this directory for moves, and read chain and key again.
    pub watched_directory: Option<Arc<str>>,
}

/// Keys of session tickets, 80 bytes each; the first encrypts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionTicketKeys(pub Vec<DataSource>);

pub(crate) fn certificate(pb: &pb::TlsCertificate, at: &At) -> Result<Certificate, Rejection> {
    // With a provider the key never is in the config; without the provider there is no key.
    at.unsupported("private_key_provider", pb.private_key_provider.is_some())?;
    at.unsupported("pkcs12", pb.pkcs12.is_some())?;
    at.unsupported("password", pb.password.is_some())?;
    at.not_honoured(
        "signed_certificate_timestamp",
        !pb.signed_certificate_timestamp.is_empty(),
    );
    let chain = at.required("certificate_chain", pb.certificate_chain.as_deref())?;
    let key = at.required("private_key", pb.private_key.as_deref())?;
    Ok(Certificate {
        chain: data_source::parse(chain, &at.field("certificate_chain"))?,
        key: data_source::parse(key, &at.field("private_key"))?,
        ocsp_staple: match pb.ocsp_staple.as_deref() {
            Some(staple) => Some(data_source::parse(staple, &at.field("ocsp_staple"))?),
            None => None,
        },
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
