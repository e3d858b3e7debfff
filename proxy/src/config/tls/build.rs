//! Descriptions and material to contexts.

use std::sync::Arc;

use certs::{
    ClientContext, ClientSettings, Identity, ServerContext, ServerResumption, ServerSettings, Validation as Built,
};

use super::{
    super::{rejection::Rejection, secret::SecretType, source::SecretReference},
    CertificateSource, DownstreamTlsConfig, SessionTickets, TlsContextConfig, UpstreamTlsConfig, Validation,
    material::{Material, Unusable},
};

/// Looks a secret up; `None`: it has not arrived.
pub type Secrets<'a> = &'a dyn Fn(&SecretReference, SecretType) -> Option<Material>;

impl DownstreamTlsConfig {
    /// The context, built from its own material and that of its secrets. `None`: a secret has not arrived, or no protocol
    /// version is left to speak.
    ///
    /// # Errors
    /// The field whose material cannot be used.
    pub fn build(&self, secrets: Secrets<'_>) -> Result<Option<ServerContext>, Rejection> {
        let Some(parts) = self.context.parts(secrets)? else {
            return Ok(None);
        };
        let ticket_keys = match &self.tickets {
            SessionTickets::Own | SessionTickets::Disabled => Vec::new(),
            SessionTickets::Given(keys) => {
                let loaded = keys
                    .load()
                    .map_err(|e| self.context.unusable("session_ticket_keys", &e))?;
                loaded.to_vec()
            }
            SessionTickets::Secret(secret) => match secrets(secret, SecretType::SessionTicketKeys) {
                Some(Material::TicketKeys(keys)) => keys.to_vec(),
                _ => return Ok(None),
            },
        };
        let settings = ServerSettings {
            full_scan_certs_on_sni_mismatch: self.full_scan_certs_on_sni_mismatch,
            validation: parts.validation.map(Arc::new),
            require_client_certificate: self.require_client_certificate,
            require_sni: self.require_sni,
            alpn: parts.alpn,
            params: parts.params,
            resumption: ServerResumption {
                ticket_keys,
                no_tickets: matches!(self.tickets, SessionTickets::Disabled),
                no_session_ids: self.disable_stateful_session_resumption,
                timeout: self.session_timeout,
            },
            ..ServerSettings::new(parts.identities)
        };
        let context = ServerContext::new(settings).map_err(|e| self.context.place.within("common_tls_context", e))?;
        Ok(Some(context))
    }
}

impl UpstreamTlsConfig {
    /// As [`DownstreamTlsConfig::build`].
    ///
    /// # Errors
    /// The field whose material cannot be used.
    pub fn build(&self, secrets: Secrets<'_>) -> Result<Option<ClientContext>, Rejection> {
        let Some(parts) = self.context.parts(secrets)? else {
            return Ok(None);
        };
        let validation = parts.validation.map(|validation| Built {
            match_sni: self.auto_sni_san_validation,
            ..validation
        });
        let settings = ClientSettings {
            identity: parts.identities.into_iter().next(),
            validation: validation.map(Arc::new),
            alpn: parts.alpn,
            sni: (!self.sni.is_empty()).then(|| self.sni.to_string()),
            params: parts.params,
            max_session_keys: self.max_session_keys,
        };
        let context = ClientContext::new(settings).map_err(|e| self.context.place.within("common_tls_context", e))?;
        Ok(Some(context))
    }
}

/// What both sides are made of.
struct Parts {
    identities: Vec<Identity>,
    validation: Option<Built>,
    alpn: Vec<Vec<u8>>,
    params: certs::TlsParams,
}

impl TlsContextConfig {
    fn parts(&self, secrets: Secrets<'_>) -> Result<Option<Parts>, Rejection> {
        // What the context holds itself is looked at even while a secret is missing: it will not get better.
        let mut identities = Vec::with_capacity(self.certificates.len());
        let (mut given, mut arrived) = (0, true);
        for certificate in &self.certificates {
            match certificate {
                CertificateSource::Given(certificate) => {
                    let field = format!("common_tls_context.tls_certificates[{given}]");
                    identities.push(certificate.load().map_err(|e| self.unusable(&field, &e))?);
                    given += 1;
                }
                CertificateSource::Secret(secret) => match secrets(secret, SecretType::Certificate) {
                    Some(Material::Identity(identity)) => identities.push(identity),
                    _ => arrived = false,
                },
            }
        }
        let load = |context: &super::ValidationContext, field| context.load().map_err(|e| self.unusable(field, &e));
        let mut secret = |secret| match secrets(secret, SecretType::Validation) {
            Some(Material::Validation(validation)) => (*validation).clone(),
            _ => {
                arrived = false;
                Built::default()
            }
        };
        let validation = match &self.validation {
            Validation::None => None,
            Validation::Given(context) => Some(load(context, "common_tls_context.validation_context")?),
            Validation::Secret(reference) => Some(secret(reference)),
            Validation::Combined {
                default,
                secret: reference,
            } => {
                let field = "common_tls_context.combined_validation_context.default_validation_context";
                Some(merged(load(default, field)?, &secret(reference)))
            }
        };
        let Some(params) = self.params.clone().filter(|_| arrived) else {
            return Ok(None);
        };
        Ok(Some(Parts {
            identities,
            validation,
            alpn: self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect(),
            params,
        }))
    }

    fn unusable(&self, field: &str, unusable: &Unusable) -> Rejection {
        self.place
            .within(&format!("{field}.{}", unusable.field), &unusable.problem)
    }
}

/// As protobuf merges the secret's message over the default: lists are joined, what is set replaces.
fn merged(default: Built, secret: &Built) -> Built {
    let mut pins = default.pins;
    pins.extend(&secret.pins);
    Built {
        trust: secret.trust.clone().or(default.trust),
        san_matchers: [default.san_matchers, secret.san_matchers.clone()].concat(),
        pins,
        revocation: secret.revocation.clone().or(default.revocation),
        allow_expired: secret.allow_expired || default.allow_expired,
        accept_untrusted: secret.accept_untrusted || default.accept_untrusted,
        max_verify_depth: secret.max_verify_depth.or(default.max_verify_depth),
        ..default
    }
}
