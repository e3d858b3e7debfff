//! What is verified of the peer: trust anchors, names, pins, revocation.

use std::sync::Arc;

use certs::{Pins, SanKind, SanMatcher, StringMatcher, TrustDomain};
use xds_api::envoy::{
    extensions::transport_sockets::tls::v3 as pb,
    r#type::matcher::v3::{StringMatcher as PbStringMatcher, string_matcher::MatchPattern},
};

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
use crate::matcher::StringPattern;

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

/// `CertificateValidationContext`: conditions, compiled, and where the trust anchors are to be read from.
#[derive(Debug, Clone, Default)]
pub struct ValidationContext {
    pub trust: Option<Trust>,
    /// One must match a name of the peer's certificate; empty: any name will do.
    pub sans: Vec<SanMatcher>,
    pub pins: Pins,
    pub crl: Option<DataSource>,
    pub only_verify_leaf_cert_crl: bool,
    pub allow_expired_certificate: bool,
    /// `ACCEPT_UNTRUSTED`: the chain is looked at, and its failure is ignored.
    pub accept_untrusted: bool,
    pub max_verify_depth: Option<u32>,
    pub watched_directory: Option<Arc<str>>,
}

/// Where trust anchors come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Trust {
    /// `trusted_ca`.
    Pem(DataSource),
    /// `system_root_certs`.
    System,
    /// `SPIFFECertValidatorConfig.trust_domains`.
    TrustDomains(Vec<SpiffeTrustDomain>),
    /// `SPIFFECertValidatorConfig.trust_bundles`: a map of bundles in SPIFFE's format.
    TrustBundles(DataSource),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SpiffeTrustDomain {
    pub name: TrustDomain,
    pub bundle: DataSource,
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
    if context.trust.is_some() {
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
    at.not_honoured("suppress_client_ca_list", pb.suppress_client_ca_list);
    let verification: T = at.enumeration("trust_chain_verification", pb.trust_chain_verification)?;
    Ok(ValidationContext {
        trust: trust(pb, at)?,
        sans: sans(pb, at)?,
        pins: pins(pb, at)?,
        crl: match pb.crl.as_deref() {
            Some(crl) => Some(data_source::parse(crl, &at.field("crl"))?),
            None => None,
        },
        only_verify_leaf_cert_crl: pb.only_verify_leaf_cert_crl,
        allow_expired_certificate: pb.allow_expired_certificate,
        accept_untrusted: verification == T::AcceptUntrusted,
        max_verify_depth: pb.max_verify_depth,
        watched_directory: watched(pb.watched_directory.as_deref(), at)?,
    })
}

fn trust(pb: &pb::CertificateValidationContext, at: &At) -> Result<Option<Trust>, Rejection> {
    if let Some(custom) = pb.custom_validator_config.as_deref() {
        let any = custom.typed_config.as_ref();
        let at = at.field("custom_validator_config.typed_config");
        return extension::dispatch(Category::CertificateValidator, any, false, VALIDATORS, &at);
    }
    match (pb.trusted_ca.as_deref(), &pb.system_root_certs) {
        (Some(_), Some(_)) => Err(at
            .field("system_root_certs")
            .reject("stands beside trusted_ca; keep one")),
        (Some(source), None) => {
            let source = data_source::parse(source, &at.field("trusted_ca"))?;
            Ok(Some(Trust::Pem(source)))
        }
        (None, Some(_)) => Ok(Some(Trust::System)),
        (None, None) => Ok(None),
    }
}

fn pins(pb: &pb::CertificateValidationContext, at: &At) -> Result<Pins, Rejection> {
    let mut pins = Pins::default();
    for (i, pin) in pb.verify_certificate_spki.iter().enumerate() {
        pins.add_spki(pin)
            .map_err(|e| at.item("verify_certificate_spki", i).reject(e))?;
    }
    for (i, pin) in pb.verify_certificate_hash.iter().enumerate() {
        pins.add_certificate_hash(pin)
            .map_err(|e| at.item("verify_certificate_hash", i).reject(e))?;
    }
    Ok(pins)
}

/// No name: IA5String has no line end to give.
const NEVER: &str = "\n";

fn sans(pb: &pb::CertificateValidationContext, at: &At) -> Result<Vec<SanMatcher>, Rejection> {
    use pb::subject_alt_name_matcher::SanType as S;
    let mut sans = Vec::with_capacity(
        pb.match_typed_subject_alt_names
            .len()
            .max(pb.match_subject_alt_names.len()),
    );
    for (i, san) in pb.match_typed_subject_alt_names.iter().enumerate() {
        let at = at.item("match_typed_subject_alt_names", i);
        let kind = match at.enumeration("san_type", san.san_type)? {
            S::Email => SanKind::Email,
            S::Dns => SanKind::Dns,
            S::Uri => SanKind::Uri,
            S::IpAddress => SanKind::Ip,
            S::OtherName => {
                at.field("san_type")
                    .note("OTHER_NAME is not read from certificates; the matcher never matches");
                // One of the list must match, so leaving this one out could leave an empty list, which matches anybody.
                sans.push(SanMatcher::typed(SanKind::Uri, StringMatcher::exact(NEVER)));
                continue;
            }
            S::Unspecified => {
                return Err(at
                    .field("san_type")
                    .reject("is required: EMAIL, DNS, URI or IP_ADDRESS"));
            }
        };
        let matcher = at.required("matcher", san.matcher.as_deref())?;
        sans.push(SanMatcher::typed(kind, name(matcher, &at.field("matcher"))?));
    }
    // Deprecated; Envoy reads it only where the typed field is empty.
    for (i, san) in pb.match_subject_alt_names.iter().enumerate() {
        let matcher = name(san, &at.item("match_subject_alt_names", i))?;
        if pb.match_typed_subject_alt_names.is_empty() {
            sans.push(SanMatcher::any(matcher));
        }
    }
    Ok(sans)
}

/// `StringMatcher` for a name in a certificate.
fn name(pb: &PbStringMatcher, at: &At) -> Result<StringMatcher, Rejection> {
    // What is refused, and how it is worded, is the same for every string.
    let matcher = match matcher::string(pb, at)?.pattern {
        StringPattern::Exact(text) => StringMatcher::exact(text),
        StringPattern::Prefix(text) => StringMatcher::prefix(text),
        StringPattern::Suffix(text) => StringMatcher::suffix(text),
        StringPattern::Contains(text) => StringMatcher::contains(text),
        StringPattern::Regex(_) => {
            let pattern = match &pb.match_pattern {
                Some(MatchPattern::SafeRegex(regex)) => &regex.regex,
                _ => "",
            };
            StringMatcher::regex(pattern).map_err(|e| at.field("safe_regex.regex").reject(e))?
        }
    };
    Ok(if pb.ignore_case {
        matcher.ignoring_case()
    } else {
        matcher
    })
}

const VALIDATORS: &[Kind<Trust>] = &[Kind {
    type_name: "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig",
    parse: |extension, at| {
        let pb: pb::SpiffeCertValidatorConfig = extension.message(at)?;
        if let Some(bundles) = pb.trust_bundles.as_deref() {
            return data_source::parse(bundles, &at.field("trust_bundles")).map(Trust::TrustBundles);
        }
        if pb.trust_domains.is_empty() {
            return Err(at.field("trust_domains").reject("must not be empty"));
        }
        let mut domains: Vec<SpiffeTrustDomain> = Vec::with_capacity(pb.trust_domains.len());
        for (i, domain) in pb.trust_domains.iter().enumerate() {
            let at = at.item("trust_domains", i);
            let name =
                TrustDomain::parse(at.non_empty("name", &domain.name)?).map_err(|e| at.field("name").reject(e))?;
            if domains.iter().any(|known| known.name == name) {
                return Err(at
                    .field("name")
                    .reject(format_args!("{:?} stands here twice", domain.name)));
            }
            at.not_honoured("workload_trust_domain", !domain.workload_trust_domain.is_empty());
            let bundle = at.required("trust_bundle", domain.trust_bundle.as_deref())?;
            domains.push(SpiffeTrustDomain {
                name,
                bundle: data_source::parse(bundle, &at.field("trust_bundle"))?,
            });
        }
        Ok(Trust::TrustDomains(domains))
    },
}];
