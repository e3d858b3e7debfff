//! `TlsParameters`: versions, ciphers, groups.

use certs::{ParamsError, TlsParams, TlsVersion};
use xds_api::envoy::extensions::transport_sockets::tls::v3 as pb;

use super::super::{at::At, rejection::Rejection};

/// Names of signature algorithms that Envoy takes. Which ones are offered is not configurable here.
const SIGNATURE_ALGORITHMS: [&str; 13] = [
    "ecdsa_secp256r1_sha256",
    "ecdsa_secp384r1_sha384",
    "ecdsa_secp521r1_sha512",
    "ed25519",
    "rsa_pkcs1_sha256",
    "rsa_pkcs1_sha384",
    "rsa_pkcs1_sha512",
    "rsa_pss_rsae_sha256",
    "rsa_pss_rsae_sha384",
    "rsa_pss_rsae_sha512",
    "ecdsa_sha1",
    "rsa_pkcs1_sha1",
    "rsa_pkcs1_md5_sha1",
];

/// `None`: the versions leave nothing to negotiate, which Envoy takes too; every handshake fails.
pub(super) fn parse(
    pb: Option<&pb::TlsParameters>,
    default: fn() -> TlsParams,
    default_maximum: TlsVersion,
    at: &At,
) -> Result<Option<TlsParams>, Rejection> {
    use pb::tls_parameters::TlsProtocol as P;
    let Some(pb) = pb else { return Ok(Some(default())) };
    at.not_honoured("compliance_policies", !pb.compliance_policies.is_empty());
    at.not_honoured("signature_algorithms", !pb.signature_algorithms.is_empty());
    let mut algorithms = pb.signature_algorithms.iter();
    if let Some(unknown) = algorithms.find(|name| !SIGNATURE_ALGORITHMS.contains(&name.as_str())) {
        return Err(at
            .field("signature_algorithms")
            .reject(format_args!("{unknown:?} is no signature algorithm")));
    }
    let minimum = match at.enumeration("tls_minimum_protocol_version", pb.tls_minimum_protocol_version)? {
        P::TlsAuto | P::TlSv12 => TlsVersion::Tls12,
        P::TlSv13 => TlsVersion::Tls13,
        P::TlSv10 | P::TlSv11 => {
            at.field("tls_minimum_protocol_version")
                .note("TLS 1.0 and 1.1 are not spoken; the minimum is TLS 1.2");
            TlsVersion::Tls12
        }
    };
    let maximum = match at.enumeration("tls_maximum_protocol_version", pb.tls_maximum_protocol_version)? {
        P::TlsAuto => Some(default_maximum),
        P::TlSv13 => Some(TlsVersion::Tls13),
        P::TlSv12 => Some(TlsVersion::Tls12),
        P::TlSv10 | P::TlSv11 => None,
    };
    let Some(maximum) = maximum.filter(|maximum| minimum <= *maximum) else {
        at.note("leaves no TLS version that is spoken: every handshake will fail");
        return Ok(None);
    };
    let params = TlsParams::new(minimum, maximum, &pb.cipher_suites, &pb.ecdh_curves).map_err(|e| {
        let field = match &e {
            ParamsError::Versions { .. } => "tls_minimum_protocol_version",
            ParamsError::NoCipher(_) => "cipher_suites",
            ParamsError::NoCurve(_) => "ecdh_curves",
        };
        at.field(field).reject(e)
    })?;
    for skipped in params.skipped() {
        let field = if skipped.what == "curve" {
            "ecdh_curves"
        } else {
            "cipher_suites"
        };
        let at = at.field(field);
        if !skipped.known_to_envoy {
            return Err(at.reject(skipped));
        }
        at.note(skipped);
    }
    Ok(Some(params))
}
