//! Protocol versions, cipher suites and groups: Envoy's `TlsParameters`, in OpenSSL's names.

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::{ProtocolVersion, SupportedProtocolVersion};

use super::ciphers::{TLS12_CIPHERS, TLS13_CIPHERS, choose_ciphers, choose_groups, cipher_name, group_name};

/// A protocol version. Older ones do not exist here: rustls implements none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

/// Versions, cipher suites and groups, resolved once. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TlsParams {
    minimum: TlsVersion,
    maximum: TlsVersion,
    provider: Arc<CryptoProvider>,
    skipped: Vec<SkippedName>,
}

/// A configured cipher suite or group that is not offered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {name:?} is {}", if *.known_to_envoy { "not implemented and left out" } else { "unknown" })]
pub struct SkippedName {
    /// `cipher suite` or `curve`.
    pub what: &'static str,
    pub name: String,
    /// Whether BoringSSL has it: Envoy refuses a configuration with a name that it does not know.
    pub known_to_envoy: bool,
}

/// Parameters that leave nothing to negotiate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    #[error("tls_minimum_protocol_version {minimum} is above tls_maximum_protocol_version {maximum}")]
    Versions { minimum: TlsVersion, maximum: TlsVersion },
    #[error("none of the configured cipher_suites is usable ({}), and TLS 1.3 is not allowed", .0.join(", "))]
    NoCipher(Vec<String>),
    #[error("none of the configured ecdh_curves is usable: {}", .0.join(", "))]
    NoCurve(Vec<String>),
}

impl TlsParams {
    /// Envoy's defaults for a listener: TLS 1.2 to 1.3.
    pub fn server_default() -> Self {
        Self {
            minimum: TlsVersion::Tls12,
            maximum: TlsVersion::Tls13,
            provider: default_provider(),
            skipped: vec![],
        }
    }

    /// Envoy's defaults for a cluster: TLS 1.2 only (`tls_maximum_protocol_version`).
    pub fn client_default() -> Self {
        Self {
            maximum: TlsVersion::Tls12,
            ..Self::server_default()
        }
    }

    /// From `TlsParameters`. Empty lists mean the defaults. Names that rustls has not are left out and reported by
    /// [`Self::skipped`]; `cipher_suites` decide over TLS 1.2 only, as with BoringSSL.
    pub fn new(
        minimum: TlsVersion,
        maximum: TlsVersion,
        cipher_suites: &[String],
        ecdh_curves: &[String],
    ) -> Result<Self, ParamsError> {
        if minimum > maximum {
            return Err(ParamsError::Versions { minimum, maximum });
        }
        if cipher_suites.is_empty() && ecdh_curves.is_empty() {
            return Ok(Self {
                minimum,
                maximum,
                provider: default_provider(),
                skipped: vec![],
            });
        }
        let mut skipped = Vec::new();
        let mut provider = (*default_provider()).clone();
        if !cipher_suites.is_empty() {
            let chosen = choose_ciphers(cipher_suites, &mut skipped);
            if chosen.is_empty() && maximum < TlsVersion::Tls13 {
                return Err(ParamsError::NoCipher(cipher_suites.to_vec()));
            }
            provider.cipher_suites = TLS13_CIPHERS.iter().copied().chain(chosen).collect();
        }
        if !ecdh_curves.is_empty() {
            provider.kx_groups = choose_groups(ecdh_curves, &mut skipped);
            if provider.kx_groups.is_empty() {
                return Err(ParamsError::NoCurve(ecdh_curves.to_vec()));
            }
        }
        Ok(Self {
            minimum,
            maximum,
            provider: Arc::new(provider),
            skipped,
        })
    }

    /// Configured names that are not offered, for the log.
    pub fn skipped(&self) -> &[SkippedName] {
        &self.skipped
    }

    pub(crate) fn provider(&self) -> Arc<CryptoProvider> {
        Arc::clone(&self.provider)
    }

    pub(crate) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        // A list of ciphers without one for TLS 1.2 leaves TLS 1.3 alone; rustls would refuse the pair.
        let has_tls12_cipher = self.provider.cipher_suites.iter().any(|suite| suite.tls13().is_none());
        let mut versions = Vec::with_capacity(2);
        if self.maximum == TlsVersion::Tls13 {
            versions.push(&rustls::version::TLS13);
        }
        if self.minimum == TlsVersion::Tls12 && has_tls12_cipher {
            versions.push(&rustls::version::TLS12);
        }
        versions
    }

    /// `TLSv1.2 to TLSv1.3`, for errors.
    pub(crate) fn version_range(&self) -> String {
        match self.minimum == self.maximum {
            true => format!("{} only", self.minimum),
            false => format!("{} to {}", self.minimum, self.maximum),
        }
    }

    pub(crate) fn cipher_names(&self) -> Vec<String> {
        self.provider
            .cipher_suites
            .iter()
            .map(|suite| cipher_name(suite.suite()).to_owned())
            .collect()
    }

    pub(crate) fn group_names(&self) -> Vec<String> {
        self.provider
            .kx_groups
            .iter()
            .map(|group| group_name(group.name()).to_owned())
            .collect()
    }
}

/// The one provider of the process, with Envoy's default suites and groups. Passed explicitly everywhere: rustls would
/// otherwise look for a process-wide default and panic without one.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        Arc::new(CryptoProvider {
            cipher_suites: TLS13_CIPHERS
                .into_iter()
                .chain(TLS12_CIPHERS.map(|(_, suite)| suite))
                .collect(),
            kx_groups: vec![kx_group::X25519, kx_group::SECP256R1],
            ..aws_lc_rs::default_provider()
        })
    })
}

fn default_provider() -> Arc<CryptoProvider> {
    Arc::clone(provider())
}

impl TlsVersion {
    pub(crate) fn of(version: ProtocolVersion) -> Self {
        if version == ProtocolVersion::TLSv1_3 {
            Self::Tls13
        } else {
            Self::Tls12
        }
    }

    /// As Envoy's `ssl.versions.*` and access logs name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }
}

impl std::fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn params(minimum: TlsVersion, ciphers: &[&str], curves: &[&str]) -> Result<TlsParams, ParamsError> {
        TlsParams::new(minimum, TlsVersion::Tls13, &names(ciphers), &names(curves))
    }

    #[test]
    fn x25519_leads() {
        assert_eq!(TlsParams::server_default().group_names(), ["X25519", "P-256"]);
        assert_eq!(TlsParams::client_default().version_range(), "TLSv1.2 only");
    }

    #[test]
    fn istio_cipher_list() {
        let list = [
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-RSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
        ];
        let params = params(TlsVersion::Tls12, &list, &[]).unwrap();
        assert_eq!(params.cipher_names()[TLS13_CIPHERS.len()..], list);
        assert!(params.skipped().is_empty());
    }

    #[test]
    fn groups_of_ciphers_and_unknown_names() {
        let list = [
            "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]",
            "AES128-SHA",
            "BOGUS",
        ];
        let params = params(TlsVersion::Tls12, &list, &["P-521", "P-384", "Q-1"]).unwrap();
        let tls12 = &params.cipher_names()[TLS13_CIPHERS.len()..];
        assert_eq!(tls12, ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-CHACHA20-POLY1305"]);
        assert_eq!(params.group_names(), ["P-384"]);
        let skipped: Vec<_> = params
            .skipped()
            .iter()
            .map(|s| (s.name.as_str(), s.known_to_envoy))
            .collect();
        assert_eq!(
            skipped,
            [("AES128-SHA", true), ("BOGUS", false), ("P-521", true), ("Q-1", false)]
        );
        assert_eq!(params.skipped()[1].to_string(), "cipher suite \"BOGUS\" is unknown");
    }

    #[test]
    fn nothing_left() {
        let only12 = TlsParams::new(TlsVersion::Tls12, TlsVersion::Tls12, &names(&["AES128-SHA"]), &[]);
        assert!(matches!(only12, Err(ParamsError::NoCipher(_))));
        let tls13_left = params(TlsVersion::Tls12, &["AES128-SHA"], &[]).unwrap();
        assert_eq!(tls13_left.versions().len(), 1);
        assert!(matches!(
            params(TlsVersion::Tls12, &[], &["P-521"]),
            Err(ParamsError::NoCurve(_))
        ));
        let crossed = TlsParams::new(TlsVersion::Tls13, TlsVersion::Tls12, &[], &[]);
        assert!(matches!(crossed, Err(ParamsError::Versions { .. })));
    }
}
