//! SPIFFE identities (SPIFFE-ID specification, sections 2 and 2.1 to 2.4), parsed once and then compared as bytes.

use std::fmt;
use std::sync::Arc;

/// `spiffe://trust-domain/path`: who a workload is. Cheap to clone.
///
/// Equality is byte equality: the specification allows no percent-encoding, no case folding and no dot segments, so
/// that two spellings of one identity cannot exist.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    uri: Arc<str>,
    /// Where the trust domain ends in `uri`; 255 bytes at most, so that scheme and domain fit.
    domain_end: u16,
}

/// The trust domain of a SPIFFE identity: the name of the authority whose bundle verifies it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(Arc<str>);

/// Why a URI is no SPIFFE identity; the text quotes the URI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{uri:?} is not a SPIFFE id: {reason}")]
pub struct SpiffeIdError {
    pub uri: String,
    pub reason: &'static str,
}

const SCHEME: &str = "spiffe://";

/// SPIFFE-ID section 2.3: implementations must support, and must not generate more than, 2048 bytes.
const MAX_ID_LENGTH: usize = 2048;

/// SPIFFE-ID section 2.3: a trust domain, as a host component, has at most 255 bytes.
const MAX_TRUST_DOMAIN_LENGTH: usize = 255;

/// Bytes of an offending URI that an error quotes: a hostile certificate must not fill the log.
const QUOTED: usize = 128;

impl SpiffeId {
    /// Parses a URI SAN. Errors say which rule of the specification is broken.
    pub fn parse(uri: &str) -> Result<Self, SpiffeIdError> {
        let error = |reason| SpiffeIdError {
            uri: uri.chars().take(QUOTED).collect(),
            reason,
        };
        if uri.len() > MAX_ID_LENGTH {
            return Err(error("longer than 2048 bytes"));
        }
        let rest = uri
            .strip_prefix(SCHEME)
            .ok_or_else(|| error("the scheme is not spiffe://"))?;
        let (domain, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        check_trust_domain(domain).map_err(error)?;
        check_path(path).map_err(error)?;
        Ok(Self {
            uri: uri.into(),
            domain_end: (SCHEME.len() + domain.len()) as u16,
        })
    }

    /// Builds `spiffe://domain/segment/segment…`.
    pub fn from_segments(domain: &TrustDomain, segments: &[&str]) -> Result<Self, SpiffeIdError> {
        let mut uri = format!("{SCHEME}{domain}");
        for segment in segments {
            uri.push('/');
            uri.push_str(segment);
        }
        Self::parse(&uri)
    }

    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// The trust domain's name, without scheme.
    pub fn trust_domain_str(&self) -> &str {
        &self.uri[SCHEME.len()..usize::from(self.domain_end)]
    }

    pub fn trust_domain(&self) -> TrustDomain {
        TrustDomain(self.trust_domain_str().into())
    }

    /// The path with its leading slash; empty for the identity of the trust domain itself.
    pub fn path(&self) -> &str {
        &self.uri[usize::from(self.domain_end)..]
    }
}

impl TrustDomain {
    /// Parses `example.org` or `spiffe://example.org`.
    pub fn parse(name: &str) -> Result<Self, SpiffeIdError> {
        let domain = name.strip_prefix(SCHEME).unwrap_or(name);
        check_trust_domain(domain).map_err(|reason| SpiffeIdError {
            uri: name.chars().take(QUOTED).collect(),
            reason,
        })?;
        Ok(Self(domain.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_trust_domain(domain: &str) -> Result<(), &'static str> {
    if domain.is_empty() {
        return Err("the trust domain is empty");
    }
    if domain.len() > MAX_TRUST_DOMAIN_LENGTH {
        return Err("the trust domain is longer than 255 bytes");
    }
    if !domain
        .bytes()
        .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'))
    {
        return Err("a trust domain has lower-case letters, digits, dots, dashes and underscores only");
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), &'static str> {
    for segment in path.split('/').skip(1) {
        match segment {
            "" => return Err("a path has no empty segment and no trailing slash"),
            "." | ".." => return Err("a path has no dot segment"),
            _ => {}
        }
        if !segment
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_'))
        {
            return Err("a path has letters, digits, dots, dashes and underscores only");
        }
    }
    Ok(())
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::borrow::Borrow<str> for TrustDomain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts() {
        let id = SpiffeId::parse("spiffe://cluster.local/ns/default/sa/web").unwrap();
        assert_eq!(id.trust_domain_str(), "cluster.local");
        assert_eq!(id.path(), "/ns/default/sa/web");
        assert_eq!(
            SpiffeId::from_segments(&id.trust_domain(), &["ns", "default", "sa", "web"]).unwrap(),
            id
        );
        assert_eq!(SpiffeId::parse("spiffe://td").unwrap().path(), "");
        assert_eq!(
            TrustDomain::parse("spiffe://td").unwrap(),
            TrustDomain::parse("td").unwrap()
        );
    }

    #[test]
    fn what_the_specification_forbids() {
        for bad in [
            "",
            "spiffe://",
            "spiffe:///path",
            "https://td/x",
            "SPIFFE://td/x",
            "spiffe://TD/x",
            "spiffe://td/",
            "spiffe://td/a//b",
            "spiffe://td/a/../b",
            "spiffe://td/.",
            "spiffe://td/a%2fb",
            "spiffe://td/a?q=1",
            "spiffe://td/a#f",
            "spiffe://user@td/a",
            "spiffe://td:8443/a",
            "spiffe://td/ü",
        ] {
            assert!(SpiffeId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits() {
        let domain = "d".repeat(MAX_TRUST_DOMAIN_LENGTH);
        assert!(SpiffeId::parse(&format!("spiffe://{domain}/x")).is_ok());
        assert!(SpiffeId::parse(&format!("spiffe://{domain}d/x")).is_err());
        let path = "p".repeat(MAX_ID_LENGTH - "spiffe://td/".len());
        assert!(SpiffeId::parse(&format!("spiffe://td/{path}")).is_ok());
        assert!(SpiffeId::parse(&format!("spiffe://td/{path}p")).is_err());
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_keeps_bytes(uri in "(spiffe://)?[ -~é]{0,60}") {
            if let Ok(id) = SpiffeId::parse(&uri) {
                prop_assert_eq!(id.as_str(), &uri);
                let rebuilt = format!("spiffe://{}{}", id.trust_domain_str(), id.path());
                prop_assert_eq!(rebuilt, uri);
            }
        }
    }
}
