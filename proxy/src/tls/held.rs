//! The certificates that a TLS context holds, each with who provides it and how Envoy's statistics call it.

use std::{fmt, sync::Arc, time::SystemTime};

use certs::{CertificateInfo, Identity, TrustBundle};

use crate::{
    config::{
        DataSource, Rejection,
        source::{GrpcTarget, SecretReference, SourceSpecifier},
        tls::{CertificateSource, TlsContextConfig, Trust, Validation},
    },
    snapshot::Snapshot,
};

/// Envoy numbers nameless certificates by a hash of a name that they do not have: that of the empty string.
const UNNAMED: &str = "unnamed_cert_e3b0c442";
const UNNAMED_CA: &str = "unnamed_ca_cert_e3b0c442";
/// Of the SPIFFE validator, which appends the certificate's index.
const UNNAMED_SPIFFE_CA: &str = "unnamed_ca_cert";

/// A built context and what it was built from.
pub struct Held<'a> {
    pub config: &'a TlsContextConfig,
    pub identities: &'a [Identity],
    pub validation: Option<&'a certs::Validation>,
    /// `listener.<address>.ssl.` or `cluster.<name>.ssl.`
    pub stat_prefix: &'a dyn Fn() -> String,
}

/// Who is to replace a certificate before it expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider<'a> {
    Secret(&'a SecretReference),
    /// A source that stands in the context of this resource itself.
    Context(&'a Rejection, Option<&'a DataSource>),
}

/// Calls `each` for every context of a public listener or cluster that is built.
pub fn each(snapshot: &Snapshot, mut each: impl FnMut(&Held<'_>)) {
    let downstream = snapshot.listeners.values().flat_map(|listener| listener.chains());
    for tls in downstream.filter_map(|chain| chain.tls.as_ref()) {
        if let Some(context) = &*tls.context.load() {
            each(&Held {
                config: &tls.config.context,
                identities: context.identities(),
                validation: context.validation().map(|validation| &**validation),
                stat_prefix: &|| tls.stats.prefix(),
            });
        }
    }
    for tls in snapshot
        .clusters
        .values()
        .flat_map(|cluster| cluster.transport.tls_contexts())
    {
        if let Some(context) = &*tls.context.load() {
            each(&Held {
                config: &tls.config.context,
                identities: context.identity().map_or(&[], std::slice::from_ref),
                validation: context.validation().map(|validation| &**validation),
                stat_prefix: &|| tls.stats.prefix(),
            });
        }
    }
}

impl<'a> Held<'a> {
    /// What it shows to peers.
    pub fn own(&self) -> impl Iterator<Item = (Provider<'a>, &'a Identity)> + use<'a> {
        let config = self.config;
        let provider = |source: &'a CertificateSource| match source {
            CertificateSource::Secret(secret) => Provider::Secret(secret),
            CertificateSource::Given(certificate) => Provider::Context(&config.place, Some(&certificate.chain)),
        };
        config.certificates.iter().map(provider).zip(self.identities)
    }

    /// What it believes, bundle by bundle.
    pub fn trusted(&self) -> impl Iterator<Item = (Provider<'a>, &'a Arc<TrustBundle>)> + use<'a> {
        let config = self.config;
        let provider = match &config.validation {
            Validation::Secret(secret) | Validation::Combined { secret, .. } => Provider::Secret(secret),
            Validation::Given(context) => Provider::Context(
                &config.place,
                match &context.trust {
                    Some(Trust::Pem(source) | Trust::TrustBundles(source)) => Some(source),
                    _ => None,
                },
            ),
            Validation::None => Provider::Context(&config.place, None),
        };
        let trust = self.validation.and_then(|validation| validation.trust.as_ref());
        let bundles = trust.into_iter().flat_map(certs::Trust::bundles);
        bundles.map(move |bundle| (provider, bundle))
    }

    /// When each certificate expires, under the names of Envoy's gauges. A name may come twice: the last one counts.
    pub fn expirations(&self, mut each: impl FnMut(&str, SystemTime)) {
        for (provider, identity) in self.own() {
            each(provider.secret().unwrap_or(UNNAMED), identity.certificate().not_after);
        }
        match self.validation.and_then(|validation| validation.trust.as_ref()) {
            None => {}
            Some(certs::Trust::Bundle(_)) => {
                for (provider, bundle) in self.trusted() {
                    if let Some(first) = bundle.expires_at() {
                        each(provider.secret().unwrap_or(UNNAMED_CA), first);
                    }
                }
            }
            Some(certs::Trust::TrustDomains(_)) => {
                let certificates = |(provider, bundle): (Provider<'a>, &'a Arc<TrustBundle>)| {
                    let named = move |info| (provider, info);
                    bundle.certificates().iter().map(named)
                };
                let all = self.trusted().flat_map(certificates);
                for (index, (provider, info)) in all.enumerate() {
                    let info: &Arc<CertificateInfo> = info;
                    let name = provider.secret().unwrap_or(UNNAMED_SPIFFE_CA);
                    each(&format!("{name}_{index}"), info.not_after);
                }
            }
        }
    }
}

impl<'a> Provider<'a> {
    /// The secret's name, where it is one.
    pub fn secret(&self) -> Option<&'a str> {
        match self {
            Self::Secret(secret) => Some(&secret.name),
            Self::Context(..) => None,
        }
    }
}

/// `secret "default" of SDS cluster "agent"`, `file "/certs/chain.pem"`.
impl fmt::Display for Provider<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(secret) => {
                write!(f, "secret {:?} of ", secret.name)?;
                match secret.source.as_ref().map(|source| &source.specifier) {
                    None => f.write_str("the bootstrap"),
                    Some(SourceSpecifier::Ads) => f.write_str("the ADS server"),
                    Some(SourceSpecifier::Grpc(api)) => match &api.service.target {
                        GrpcTarget::Cluster { name, .. } => write!(f, "the SDS server behind cluster {name:?}"),
                        GrpcTarget::Uri { uri, .. } => write!(f, "the SDS server {uri:?}"),
                    },
                    Some(SourceSpecifier::Rest(api)) => write!(f, "the REST server behind cluster {:?}", api.cluster),
                    Some(SourceSpecifier::File { path, .. }) => write!(f, "file {path:?}"),
                }
            }
            Self::Context(_, Some(DataSource::File { path, .. })) => write!(f, "file {path:?}"),
            Self::Context(_, Some(DataSource::Environment(name))) => write!(f, "environment variable {name:?}"),
            Self::Context(place, _) => write!(f, "{} {:?} itself ({})", place.kind, place.name, place.path),
        }
    }
}
