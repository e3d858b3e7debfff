//! What is verified of the peer: trust anchors, names, pins, revocation.

use std::sync::Arc;

use xds_api::envoy::extensions::transport_sockets::tls::v3 as pb;

use super::{
    super::{
        at::At,
        data_source::{self, DataSource},
        extension::{self, Category, Kind},
        matcher,
        rejection::Rejection,
        secret::SecretType,
        source::SecretReference,
    },
    certificate::watched,
    context::secret,
};
use crate::matcher::StringMatcher;

#[derive(Debug, Clone)]
pub enum Validation {
    /// The peer is not verified.
    None,
    Given(Arc<ValidationContext>),
    Secret(SecretReference),
    /// The secret merged over the default.
    Combined {
        default: Arc<ValidationContext>,
        secret: SecretReference,
    },
}

/// `CertificateValidationContext`.
#[derive(Debug, Clone, Default)]
pub struct ValidationContext {
    pub trusted_ca: Option<TrustedCa>,
    /// One must match a name of the peer's certificate; empty: any name will do.
    pub sans: Vec<SanMatcher>,
    /// SHA-256 of the peer's public key, one must match; empty: any.
    pub spki_pins: Vec<[u8; 32]>,
    /// SHA-256 of the peer's certificate, one must match; empty: any.
    pub certificate_pins: Vec<[u8; 32]>,
    pub crl: Option<DataSource>,
    pub only_verify_leaf_cert_crl: bool,
    pub allow_expired_certificate: bool,
    /// `ACCEPT_UNTRUSTED`: the chain is looked at, and its failure is ignored.
    pub accept_untrusted: bool,
    pub max_verify_depth: Option<u32>,
    /// Do not tell clients which CAs are trusted.
    pub suppress_client_ca_list: bool,
    /// `SPIFFECertValidatorConfig`: bundles by trust domain take the place of `trusted_ca`.
    pub spiffe: Option<Vec<SpiffeTrustDomain>>,
    pub watched_directory: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TrustedCa {
    Pem(DataSource),
    /// What the system trusts.
    System,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SpiffeTrustDomain {
    pub name: Box<str>,
    pub bundle: DataSource,
}

#[derive(Debug, Clone)]
pub struct SanMatcher {
    /// `None`: any type (`match_subject_alt_names`, deprecated).
    pub san_type: Option<SanType>,
    /// Of an `otherName`.
    pub oid: Box<str>,
    pub matcher: StringMatcher,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SanType {
    Email,
    Dns,
    Uri,
    IpAddress,
    OtherName,
}

pub(super) fn parse(
    pb: Option<&pb::common_tls_context::ValidationContextType>,
    at: &At,
) -> Result<Validation, Rejection> {
    use pb::common_tls_context::ValidationContextType as V;
    match pb {
        None => Ok(Validation::None),
        Some(V::ValidationContext(context)) => {
            let at = at.field("validation_context");
            let context = validation_context(context, &at)?;
            check_anchored(&context, &at)?;
            Ok(Validation::Given(Arc::new(context)))
        }
        Some(V::ValidationContextSdsSecretConfig(config)) => Ok(Validation::Secret(secret(
            config,
            SecretType::Validation,
            &at.field("validation_context_sds_secret_config"),
        )?)),
        Some(V::CombinedValidationContext(combined)) => {
            let at = at.field("combined_validation_context");
            let default = combined.default_validation_context.as_deref();
            let config = combined.validation_context_sds_secret_config.as_deref();
            Ok(Validation::Combined {
                default: Arc::new(validation_context(
                    at.required("default_validation_context", default)?,
                    &at.field("default_validation_context"),
                )?),
                secret: secret(
                    at.required("validation_context_sds_secret_config", config)?,
                    SecretType::Validation,
                    &at.field("validation_context_sds_secret_config"),
                )?,
            })
        }
        Some(V::ValidationContextCertificateProvider(_) | V::ValidationContextCertificateProviderInstance(_)) => {
            Err(at.reject("certificate providers are not supported by Pillion; use a validation context or SDS"))
        }
    }
}

/// Names and revocation mean nothing where anybody can sign.
fn check_anchored(context: &ValidationContext, at: &At) -> Result<(), Rejection> {
    if context.trusted_ca.is_some() || context.spiffe.is_some() {
        return Ok(());
    }
    if !context.sans.is_empty() {
        return Err(at
            .field("trusted_ca")
            .reject("is required where names are matched: anybody can put a name in a certificate"));
    }
    if context.crl.is_some() {
        return Err(at.field("trusted_ca").reject("is required beside crl"));
    }
    Ok(())
}

pub(crate) fn validation_context(
    pb: &pb::CertificateValidationContext,
    at: &At,
) -> Result<ValidationContext, Rejection> {
    use pb::certificate_validation_context::TrustChainVerification as T;
    at.unsupported(
        "ca_certificate_provider_instance",
        pb.ca_certificate_provider_instance.is_some(),
    )?;
    at.unsupported(
        "require_signed_certificate_timestamp",
        pb.require_signed_certificate_timestamp == Some(true),
    )?;
    let trusted_ca = match (pb.trusted_ca.as_deref(), &pb.system_root_certs) {
        (Some(_), Some(_)) => {
            return Err(at
                .field("system_root_certs")
                .reject("stands beside trusted_ca; keep one"));
        }
        (Some(source), None) => Some(TrustedCa::Pem(data_source::parse(source, &at.field("trusted_ca"))?)),
        (None, Some(_)) => Some(TrustedCa::System),
        (None, None) => None,
    };
    let spiffe = match pb.custom_validator_config.as_deref() {
        None => None,
        Some(custom) => {
            let at = at.field("custom_validator_config.typed_config");
            extension::dispatch(
                Category::CertificateValidator,
                custom.typed_config.as_ref(),
                false,
                VALIDATORS,
                &at,
            )?
        }
    };
    let pins = |field, pins: &[String], read: fn(&str) -> Option<[u8; 32]>| {
        let parsed = pins
            .iter()
            .enumerate()
            .map(|(i, pin)| read(pin).ok_or_else(|| at.item(field, i).reject(format_args!("{pin:?} is no SHA-256"))));
        parsed.collect::<Result<Vec<_>, _>>()
    };
    Ok(ValidationContext {
        sans: sans(pb, at)?,
        spki_pins: pins("verify_certificate_spki", &pb.verify_certificate_spki, base64_sha256)?,
        certificate_pins: pins("verify_certificate_hash", &pb.verify_certificate_hash, hex_sha256)?,
        crl: match pb.crl.as_deref() {
            Some(crl) => Some(data_source::parse(crl, &at.field("crl"))?),
            None => None,
        },
        only_verify_leaf_cert_crl: pb.only_verify_leaf_cert_crl,
        allow_expired_certificate: pb.allow_expired_certificate,
        accept_untrusted: at.enumeration::<T>("trust_chain_verification", pb.trust_chain_verification)?
            == T::AcceptUntrusted,
        max_verify_depth: at.within("max_verify_depth", pb.max_verify_depth, 0, 100)?,
        suppress_client_ca_list: pb.suppress_client_ca_list,
        spiffe,
        watched_directory: watched(pb.watched_directory.as_deref(), at)?,
        trusted_ca,
    })
}

fn sans(pb: &pb::CertificateValidationContext, at: &At) -> Result<Vec<SanMatcher>, Rejection> {
    use pb::subject_alt_name_matcher::SanType as S;
    let mut sans = Vec::new();
    for (i, san) in pb.match_typed_subject_alt_names.iter().enumerate() {
        let at = at.item("match_typed_subject_alt_names", i);
        let san_type = match at.enumeration("san_type", san.san_type)? {
            S::Unspecified => {
                return Err(at
                    .field("san_type")
                    .reject("is required: EMAIL, DNS, URI, IP_ADDRESS or OTHER_NAME"));
            }
            S::Email => SanType::Email,
            S::Dns => SanType::Dns,
            S::Uri => SanType::Uri,
            S::IpAddress => SanType::IpAddress,
            S::OtherName => SanType::OtherName,
        };
        if san_type == SanType::OtherName {
            at.non_empty("oid", &san.oid)?;
        }
        sans.push(SanMatcher {
            san_type: Some(san_type),
            oid: san.oid.as_str().into(),
            matcher: matcher::string(at.required("matcher", san.matcher.as_deref())?, &at.field("matcher"))?,
        });
    }
    // Deprecated; Envoy reads it only where the typed field is empty.
    for (i, san) in pb.match_subject_alt_names.iter().enumerate() {
        let at = at.item("match_subject_alt_names", i);
        let matcher = matcher::string(san, &at)?;
        if pb.match_typed_subject_alt_names.is_empty() {
            sans.push(SanMatcher {
                san_type: None,
                oid: "".into(),
                matcher,
            });
        }
    }
    Ok(sans)
}

const VALIDATORS: &[Kind<Vec<SpiffeTrustDomain>>] = &[Kind {
    type_name: "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig",
    parse: |extension, at| {
        let pb: pb::SpiffeCertValidatorConfig = extension.message(at)?;
        at.unsupported("trust_bundles", pb.trust_bundles.is_some())?;
        if pb.trust_domains.is_empty() {
            return Err(at.field("trust_domains").reject("must not be empty"));
        }
        let mut domains: Vec<SpiffeTrustDomain> = Vec::with_capacity(pb.trust_domains.len());
        for (i, domain) in pb.trust_domains.iter().enumerate() {
            let at = at.item("trust_domains", i);
            let name = at.non_empty("name", &domain.name)?;
            if domains.iter().any(|known| &*known.name == name) {
                return Err(at.field("name").reject(format_args!("{name:?} stands here twice")));
            }
            at.not_honoured("workload_trust_domain", !domain.workload_trust_domain.is_empty());
            let bundle = at.required("trust_bundle", domain.trust_bundle.as_deref())?;
            domains.push(SpiffeTrustDomain {
                name: name.into(),
                bundle: data_source::parse(bundle, &at.field("trust_bundle"))?,
            });
        }
        Ok(domains)
    },
}];

fn base64_sha256(text: &str) -> Option<[u8; 32]> {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    bytes.try_into().ok()
}

/// 64 hex digits, or 32 pairs with colons between.
fn hex_sha256(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b':').collect();
    let mut hash = [0; 32];
    if digits.len() != 2 * hash.len() || (text.contains(':') && text.len() != 95) {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}
