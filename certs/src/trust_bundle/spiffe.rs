//! Trust bundles in SPIFFE's own format (SPIFFE Trust Domain and Bundle, section 4), as a map by trust domain: Envoy's
//! `SPIFFECertValidatorConfig.trust_bundles`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Trust, TrustBundle};
use crate::pem::MaterialError;
use crate::spiffe_id::TrustDomain;

impl Trust {
    /// Reads `{"trust_domains": {"example.org": {"keys": [{"use": "x509-svid", "x5c": ["<base64 DER>"]}]}}}`. Keys for
    /// other uses (JWT) are left out; a trust domain without an X.509 key is an error, as it could verify nobody.
    pub fn from_spiffe_bundle_map(json: &[u8]) -> Result<Self, MaterialError> {
        let map: Value = serde_json::from_slice(json).map_err(|e| error(format!("it is not JSON: {e}")))?;
        let domains = map["trust_domains"]
            .as_object()
            .ok_or_else(|| error("it has no object \"trust_domains\""))?;
        let domains = domains.iter().map(|(name, bundle)| {
            let domain = TrustDomain::parse(name).map_err(|e| error(e.to_string()))?;
            Ok((domain, bundle_of(name, bundle)?.into()))
        });
        Ok(Self::TrustDomains(domains.collect::<Result<_, MaterialError>>()?))
    }
}

const X509_USE: &str = "x509-svid";

fn bundle_of(domain: &str, bundle: &Value) -> Result<TrustBundle, MaterialError> {
    let keys = bundle["keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut certificates = Vec::new();
    for (index, key) in keys.iter().enumerate().filter(|(_, key)| key["use"] == X509_USE) {
        let at = |what: &str| error(format!("trust domain {domain:?}, keys[{index}]: {what}"));
        // RFC 7517 section 4.7: a chain; SPIFFE's holds exactly the one certificate.
        let [Value::String(base64)] = key["x5c"].as_array().map(Vec::as_slice).unwrap_or_default() else {
            return Err(at("x5c must hold exactly one certificate"));
        };
        certificates.push(
            STANDARD
                .decode(base64)
                .map_err(|e| at(&format!("x5c is not base64: {e}")))?,
        );
    }
    if certificates.is_empty() {
        return Err(error(format!(
            "trust domain {domain:?} has no key with \"use\": \"{X509_USE}\""
        )));
    }
    TrustBundle::from_der(certificates.iter().map(Vec::as_slice))
}

fn error(reason: impl Into<String>) -> MaterialError {
    MaterialError::SpiffeBundle(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::CertificateAuthority;

    #[test]
    fn bundles_by_trust_domain() {
        let pem = CertificateAuthority::root("root").unwrap().bundle_pem().to_owned();
        let x5c = STANDARD.encode(&crate::pem::certificate_chain(pem.as_bytes()).unwrap()[0]);
        let json = format!(
            r#"{{"trust_domains": {{"td": {{"sequence_number": 1, "keys": [
                {{"kty": "EC", "use": "jwt-svid", "kid": "x"}}, {{"kty": "EC", "use": "x509-svid", "x5c": ["{x5c}"]}}
            ]}}}}}}"#
        );
        let Ok(Trust::TrustDomains(domains)) = Trust::from_spiffe_bundle_map(json.as_bytes()) else {
            panic!("{json}")
        };
        assert_eq!(domains["td"].certificates()[0].subject, "CN=root");
        assert_eq!(domains["td"].to_pem(), pem.replace("\r\n", "\n"));
        for (from, to, phrase) in [
            ("x509-svid", "jwt-svid", "\"td\" has no key"),
            ("\"td\"", "\"TD\"", "\"TD\" is not a SPIFFE id"),
            (&*x5c, "!", "keys[1]: x5c is not base64"),
            (&*x5c, "", "it is not X.509 DER"),
            ("trust_domains", "domains", "no object"),
            ("{", "", "not JSON"),
        ] {
            let error = Trust::from_spiffe_bundle_map(json.replace(from, to).as_bytes())
                .unwrap_err()
                .to_string();
            assert!(error.contains(phrase), "{error}");
        }
    }
}
