//! `Secret`: certificates, trust and session ticket keys by name.

use std::sync::Arc;

use xds_api::envoy::extensions::transport_sockets::tls::v3 as pb;

use super::{
    Context,
    at::{At, Scope},
    data_source::{self, DataSource},
    rejection::Rejection,
    tls::{self, Certificate, SessionTicketKeys, ValidationContext},
    wire,
};

pub(crate) const KIND: &str = "secret";
/// The message of such a resource.
const TYPE: &str = "envoy.extensions.transport_sockets.tls.v3.Secret";

/// `envoy.extensions.transport_sockets.tls.v3.Secret`, parsed. Holds where the material is, which may be in the secret itself.
#[derive(Debug, Clone)]
pub struct Secret {
    pub name: Arc<str>,
    pub kind: SecretKind,
    /// Hash of the received resource.
    pub hash: u64,
}

#[derive(Debug, Clone)]
pub enum SecretKind {
    Certificate(Certificate),
    Validation(Arc<ValidationContext>),
    SessionTicketKeys(SessionTicketKeys),
    /// For filters.
    Generic(DataSource),
}

/// Kinds of secrets, which have names of their own: a certificate and a validation context may share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretType {
    Certificate,
    Validation,
    SessionTicketKeys,
    Generic,
}

impl Secret {
    pub fn secret_type(&self) -> SecretType {
        match &self.kind {
            SecretKind::Certificate(_) => SecretType::Certificate,
            SecretKind::Validation(_) => SecretType::Validation,
            SecretKind::SessionTicketKeys(_) => SecretType::SessionTicketKeys,
            SecretKind::Generic(_) => SecretType::Generic,
        }
    }
}

/// # Errors
/// The first thing in it that cannot be honoured.
pub fn parse(bytes: &[u8], context: &mut Context) -> Result<Secret, Rejection> {
    let pb = xds_api::decode_secret(bytes).map_err(|e| Scope::new(KIND, "", context).root().reject(e))?;
    let scope = Scope::new(KIND, &pb.name, context);
    scope.root().conform(TYPE, bytes)?;
    let secret = Secret {
        name: pb.name.as_str().into(),
        kind: kind(&pb, &scope.root())?,
        hash: wire::hash(bytes),
    };
    scope.finish(context);
    Ok(secret)
}

fn kind(pb: &pb::Secret, at: &At) -> Result<SecretKind, Rejection> {
    use pb::secret::Type as T;
    Ok(match &pb.r#type {
        None => return Err(at.reject("is empty: set tls_certificate, validation_context or session_ticket_keys")),
        Some(T::TlsCertificate(certificate)) => {
            SecretKind::Certificate(tls::certificate(certificate, &at.field("tls_certificate"))?)
        }
        Some(T::ValidationContext(context)) => {
            let context = tls::validation_context(context, &at.field("validation_context"))?;
            SecretKind::Validation(Arc::new(context))
        }
        Some(T::SessionTicketKeys(keys)) => {
            SecretKind::SessionTicketKeys(tls::session_ticket_keys(keys, &at.field("session_ticket_keys"))?)
        }
        Some(T::GenericSecret(secret)) => {
            let at = at.field("generic_secret");
            at.not_honoured("secrets", !secret.secrets.is_empty());
            let source = at.required("secret", secret.secret.as_deref())?;
            SecretKind::Generic(data_source::parse(source, &at.field("secret"))?)
        }
    })
}
