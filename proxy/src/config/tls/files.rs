//! Which files hold material, and when they are read again.
//!
//! As in Envoy, files that a secret of SDS names are always watched: their directories, or `watched_directory`. Files that
//! stand in a context itself, or in a secret of the bootstrap, are read again only where a `watched_directory` says so
//! (Envoy leaves these alone for certificates and trusted CAs; there is no other way to rotate them).

use std::{path::PathBuf, sync::Arc};

use super::{
    super::{
        DataSource,
        secret::{Secret, SecretKind},
        wire,
    },
    Certificate, CertificateSource, DownstreamTlsConfig, SessionTickets, TlsContextConfig, Trust, Validation,
    ValidationContext,
};

/// Files that are read together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Watched {
    pub files: Vec<PathBuf>,
    /// Only moves in here mean a change; `None`: any change of the files.
    pub directory: Option<Arc<str>>,
}

impl Secret {
    /// `over_sds`: not of the bootstrap.
    pub fn watched(&self, over_sds: bool) -> Option<Watched> {
        let watched = match &self.kind {
            SecretKind::Certificate(certificate) => certificate.watched(),
            SecretKind::Validation(context) => context.watched(),
            SecretKind::SessionTicketKeys(keys) => watched(keys.0.iter(), None),
            SecretKind::Generic(source) => watched([source].into_iter(), None),
        };
        watched.filter(|w| over_sds || w.directory.is_some())
    }

    /// Hash of all that its files hold now. Taken before they are loaded, it tells whether to load them again.
    pub fn file_contents(&self) -> u64 {
        let files = self.watched(true).map_or_else(Vec::new, |watched| watched.files);
        let read = |path: &PathBuf| std::fs::read(path).unwrap_or_default();
        let each: Vec<u8> = files
            .iter()
            .flat_map(|path| wire::hash(&read(path)).to_ne_bytes())
            .collect();
        wire::hash(&each)
    }
}

impl TlsContextConfig {
    /// Files of the context itself that name a directory to watch.
    pub fn watched(&self) -> impl Iterator<Item = Watched> {
        let certificates = self.certificates.iter().filter_map(|certificate| match certificate {
            CertificateSource::Given(certificate) => certificate.watched(),
            CertificateSource::Secret(_) => None,
        });
        let validation = match &self.validation {
            Validation::Given(context) | Validation::Combined { default: context, .. } => context.watched(),
            Validation::None | Validation::Secret(_) => None,
        };
        certificates.chain(validation).filter(|w| w.directory.is_some())
    }
}

impl DownstreamTlsConfig {
    /// As [`TlsContextConfig::watched`], and the session ticket keys.
    pub fn watched(&self) -> impl Iterator<Item = Watched> {
        let tickets = match &self.tickets {
            SessionTickets::Given(keys) => watched(keys.0.iter(), None),
            SessionTickets::Own | SessionTickets::Secret(_) | SessionTickets::Disabled => None,
        };
        let tickets = tickets.filter(|w| w.directory.is_some());
        self.context.watched().chain(tickets)
    }
}

impl Certificate {
    fn watched(&self) -> Option<Watched> {
        let sources = [&self.chain, &self.key].into_iter().chain(&self.ocsp_staple);
        watched(sources, self.watched_directory.as_ref())
    }
}

impl ValidationContext {
    fn watched(&self) -> Option<Watched> {
        let trust: Vec<&DataSource> = match &self.trust {
            Some(Trust::Pem(source) | Trust::TrustBundles(source)) => vec![source],
            Some(Trust::TrustDomains(domains)) => domains.iter().map(|domain| &domain.bundle).collect(),
            Some(Trust::System) | None => Vec::new(),
        };
        watched(trust.into_iter().chain(&self.crl), self.watched_directory.as_ref())
    }
}

/// `None`: nothing of it is in a file.
fn watched<'a>(sources: impl Iterator<Item = &'a DataSource>, directory: Option<&Arc<str>>) -> Option<Watched> {
    let mut own_directory = None;
    let mut files = Vec::new();
    for source in sources {
        if let DataSource::File {
            path,
            watched_directory,
        } = source
        {
            files.push(PathBuf::from(&**path));
            own_directory = own_directory.or(watched_directory.as_ref());
        }
    }
    (!files.is_empty()).then(|| Watched {
        files,
        directory: directory.or(own_directory).cloned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, directory: Option<&str>) -> DataSource {
        DataSource::File {
            path: path.into(),
            watched_directory: directory.map(Into::into),
        }
    }

    fn certificate(directory: Option<&str>) -> Secret {
        Secret {
            name: "s".into(),
            kind: SecretKind::Certificate(Certificate {
                chain: file("/c/chain.pem", None),
                key: file("/c/key.pem", None),
                ocsp_staple: None,
                watched_directory: directory.map(Into::into),
            }),
            hash: 0,
        }
    }

    #[test]
    fn over_sds_always_else_where_a_directory_says_so() {
        let files: Vec<PathBuf> = vec!["/c/chain.pem".into(), "/c/key.pem".into()];
        let over_sds = certificate(None).watched(true).unwrap();
        assert_eq!((over_sds.files, over_sds.directory), (files.clone(), None));
        assert_eq!(certificate(None).watched(false), None);
        let told = certificate(Some("/c")).watched(false).unwrap();
        assert_eq!((told.files, told.directory.as_deref()), (files, Some("/c")));
    }

    #[test]
    fn a_source_may_name_its_own_directory() {
        let context = ValidationContext {
            trust: Some(Trust::Pem(file("/ca.pem", Some("/d")))),
            crl: Some(DataSource::Inline(bytes::Bytes::from_static(b"crl"))),
            ..ValidationContext::default()
        };
        let watched = context.watched().unwrap();
        assert_eq!(watched.files, [PathBuf::from("/ca.pem")]);
        assert_eq!(watched.directory.as_deref(), Some("/d"));
    }
}
