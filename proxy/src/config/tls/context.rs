//! `CommonTlsContext` and the two contexts around it.

use std::sync::Arc;

use certs::{TlsParams, TlsVersion};
use xds_api::envoy::extensions::transport_sockets::tls::v3 as pb;

use super::{
    super::{
        at::At,
        dependencies::RequiredSecret,
        extension::Extension,
        rejection::Rejection,
        secret::SecretType,
        source::{self, SecretReference},
        wire,
    },
    CertificateSource, DownstreamTlsConfig, OcspStaplePolicy, SessionTickets, TlsContextConfig, UpstreamTlsConfig,
    Validation, certificate, params, session_ticket_keys, validation,
};

/// Envoy's default: one session for each upstream context.
const MAX_SESSION_KEYS: u32 = 1;
/// Longest name that SNI can carry.
const SNI_MAX: usize = 255;
/// Longest ALPN protocol name, and longest list on the wire.
const ALPN_NAME_MAX: usize = 255;
const ALPN_LIST_MAX: usize = 65_535;
/// Longest session timeout, in seconds, exclusive.
const SESSION_TIMEOUT_END: u64 = 1 << 32;

pub(super) fn downstream(extension: &Extension, at: &At) -> Result<DownstreamTlsConfig, Rejection> {
    use pb::downstream_tls_context::{OcspStaplePolicy as O, SessionTicketKeysType as T};
    let pb = extension.decode(xds_api::decode_downstream_tls_context, at)?;
    let context = common(
        pb.common_tls_context.as_deref(),
        TlsParams::server_default,
        TlsVersion::Tls13,
        extension,
        at,
    )?;
    if context.certificates.is_empty() {
        return Err(at
            .field("common_tls_context.tls_certificates")
            .reject("is empty, and a server must show a certificate: set it or tls_certificate_sds_secret_configs"));
    }
    let require_client_certificate = pb.require_client_certificate.unwrap_or(false);
    let session_timeout = at.duration("session_timeout", pb.session_timeout.as_ref())?;
    if session_timeout.is_some_and(|t| t.as_secs() >= SESSION_TIMEOUT_END) {
        return Err(at.field("session_timeout").reject("is longer than a session may last"));
    }
    Ok(DownstreamTlsConfig {
        context,
        require_client_certificate,
        require_sni: pb.require_sni.unwrap_or(false),
        tickets: match &pb.session_ticket_keys_type {
            None | Some(T::DisableStatelessSessionResumption(false)) => SessionTickets::Own,
            Some(T::DisableStatelessSessionResumption(true)) => SessionTickets::Disabled,
            Some(T::SessionTicketKeys(keys)) => {
                SessionTickets::Given(session_ticket_keys(keys, &at.field("session_ticket_keys"))?)
            }
            Some(T::SessionTicketKeysSdsSecretConfig(secret)) => SessionTickets::Secret(self::secret(
                secret,
                SecretType::SessionTicketKeys,
                &at.field("session_ticket_keys_sds_secret_config"),
            )?),
        },
        disable_stateful_session_resumption: pb.disable_stateful_session_resumption,
        session_timeout,
        ocsp_staple: match at.enumeration("ocsp_staple_policy", pb.ocsp_staple_policy)? {
            O::LenientStapling => OcspStaplePolicy::Lenient,
            O::StrictStapling => OcspStaplePolicy::Strict,
            O::MustStaple => OcspStaplePolicy::MustStaple,
        },
        full_scan_certs_on_sni_mismatch: pb.full_scan_certs_on_sni_mismatch.unwrap_or(false),
        prefer_client_ciphers: pb.prefer_client_ciphers,
    })
}

pub(super) fn upstream(extension: &Extension, at: &At) -> Result<UpstreamTlsConfig, Rejection> {
    let pb = extension.decode(xds_api::decode_upstream_tls_context, at)?;
    // Envoy's clients speak TLS 1.2 only, unless told otherwise.
    let context = common(
        pb.common_tls_context.as_deref(),
        TlsParams::client_default,
        TlsVersion::Tls12,
        extension,
        at,
    )?;
    if context.certificates.len() > 1 {
        return Err(at
            .field("common_tls_context")
            .reject("has several certificates; a client shows at most one"));
    }
    if pb.sni.len() > SNI_MAX || pb.sni.contains('\0') {
        return Err(at.field("sni").reject(format_args!("{:?} is no server name", pb.sni)));
    }
    if pb.auto_sni_san_validation && matches!(context.validation, Validation::None) {
        return Err(at
            .field("auto_sni_san_validation")
            .reject("needs a validation context with a trusted CA"));
    }
    at.not_honoured("allow_renegotiation", pb.allow_renegotiation);
    Ok(UpstreamTlsConfig {
        context,
        sni: pb.sni.as_str().into(),
        auto_host_sni: pb.auto_host_sni,
        auto_sni_san_validation: pb.auto_sni_san_validation,
        max_session_keys: pb.max_session_keys.unwrap_or(MAX_SESSION_KEYS),
        enforce_rsa_key_usage: pb.enforce_rsa_key_usage.unwrap_or(true),
    })
}

fn common(
    pb: Option<&pb::CommonTlsContext>,
    default_params: fn() -> TlsParams,
    default_maximum: TlsVersion,
    extension: &Extension,
    at: &At,
) -> Result<TlsContextConfig, Rejection> {
    let default = pb::CommonTlsContext::default();
    let pb = pb.unwrap_or(&default);
    let hash = wire::hash(&extension.bytes);
    let place = at.reject("");
    let at = at.field("common_tls_context");
    for (field, set) in [
        (
            "tls_certificate_provider_instance",
            pb.tls_certificate_provider_instance.is_some(),
        ),
        (
            "custom_tls_certificate_selector",
            pb.custom_tls_certificate_selector.is_some(),
        ),
        (
            "tls_certificate_certificate_provider",
            pb.tls_certificate_certificate_provider.is_some(),
        ),
        (
            "tls_certificate_certificate_provider_instance",
            pb.tls_certificate_certificate_provider_instance.is_some(),
        ),
        ("custom_handshaker", pb.custom_handshaker.is_some()),
    ] {
        at.unsupported(field, set)?;
    }
    at.not_honoured("key_log", pb.key_log.is_some());
    // Exact: an empty Vec would grow to room for four, which is half a kilobyte for each of ten thousand clusters.
    let mut certificates = Vec::with_capacity(pb.tls_certificates.len() + pb.tls_certificate_sds_secret_configs.len());
    for (i, given) in pb.tls_certificates.iter().enumerate() {
        certificates.push(CertificateSource::Given(certificate(
            given,
            &at.item("tls_certificates", i),
        )?));
    }
    for (i, config) in pb.tls_certificate_sds_secret_configs.iter().enumerate() {
        let at = at.item("tls_certificate_sds_secret_configs", i);
        certificates.push(CertificateSource::Secret(secret(config, SecretType::Certificate, &at)?));
    }
    Ok(TlsContextConfig {
        certificates,
        validation: validation::parse(pb.validation_context_type.as_ref(), &at)?,
        alpn: alpn(&pb.alpn_protocols, &at.field("alpn_protocols"))?,
        params: params::parse(
            pb.tls_params.as_deref(),
            default_params,
            default_maximum,
            &at.field("tls_params"),
        )?,
        hash,
        place,
    })
}

/// Envoy takes each item for a comma-separated list.
fn alpn(protocols: &[String], at: &At) -> Result<Vec<Box<str>>, Rejection> {
    let names = protocols
        .iter()
        .flat_map(|p| p.split(','))
        .filter(|name| !name.is_empty());
    let names: Vec<Box<str>> = names.map(Into::into).collect();
    let length: usize = names.iter().map(|name| name.len() + 1).sum();
    if names.iter().any(|name| name.len() > ALPN_NAME_MAX) || length > ALPN_LIST_MAX {
        return Err(at.reject(format_args!("{protocols:?} is no list of protocol names")));
    }
    Ok(names)
}

pub(super) fn secret(pb: &pb::SdsSecretConfig, kind: SecretType, at: &At) -> Result<SecretReference, Rejection> {
    let reference = SecretReference {
        name: at.non_empty("name", &pb.name)?.into(),
        // Most clusters name the same agent.
        source: match pb.sds_config.as_deref() {
            Some(config) => Some(at.shared(source::parse_lazy(config, &at.field("sds_config"))?)),
            None => None,
        },
    };
    at.depend(|dependencies| {
        dependencies.add_secret(reference.clone());
        if reference.source.is_none() {
            dependencies.static_secrets.push(RequiredSecret {
                name: Arc::clone(&reference.name),
                kind,
                rejection: at.field("name").reject(format_args!(
                    "the bootstrap has no such secret {:?}; add it to static_resources.secrets, or set sds_config",
                    pb.name
                )),
            });
        }
    });
    Ok(reference)
}
