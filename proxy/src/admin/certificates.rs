//! `/certs`: certificates in use, of listeners and clusters.

use std::{collections::HashSet, rc::Rc, sync::Arc, time::SystemTime};

use serde_json::{Value, json};

use super::{Admin, info::pretty};
use crate::{
    config::{
        DataSource,
        tls::{CertificateSource, TlsContextConfig, Trust, Validation},
    },
    listener::Listener,
};

/// Where material stands that is in no file.
const INLINE: &str = "<inline>";

pub(super) fn certificates(admin: &Rc<Admin>) -> String {
    let snapshot = admin.shared.snapshot.load();
    let mut found = Found {
        now: SystemTime::now(),
        seen: HashSet::new(),
        shown: Vec::new(),
    };
    let mut listeners: Vec<&Arc<Listener>> = snapshot.listeners.values().collect();
    listeners.sort_by(|a, b| a.name.cmp(&b.name));
    for tls in listeners
        .iter()
        .flat_map(|l| l.chains())
        .filter_map(|chain| chain.tls.as_ref())
    {
        if let Some(context) = tls.context.load_full() {
            found.add(&tls.config.context, context.identities(), context.validation());
        }
    }
    let mut clusters: Vec<_> = snapshot.clusters.values().collect();
    clusters.sort_by(|a, b| a.name.cmp(&b.name));
    for tls in clusters.iter().flat_map(|cluster| cluster.transport.tls_contexts()) {
        if let Some(context) = tls.context.load_full() {
            let identity = context.identity().map_or(&[][..], std::slice::from_ref);
            found.add(&tls.config.context, identity, context.validation());
        }
    }
    pretty(&json!({"certificates": found.shown}))
}

struct Found {
    now: SystemTime,
    /// Contexts that share their certificates are shown once.
    seen: HashSet<String>,
    shown: Vec<Value>,
}

impl Found {
    fn add(
        &mut self,
        config: &TlsContextConfig,
        identities: &[certs::Identity],
        validation: Option<&Arc<certs::Validation>>,
    ) {
        let mut ca = Vec::new();
        let mut bundle = |bundle: &certs::TrustBundle, path: String| {
            ca.extend(bundle.certificates().iter().map(|c| self.describe(c, &path)));
        };
        match validation.and_then(|v| v.trust.as_ref()) {
            None => {}
            Some(certs::Trust::Bundle(one)) => bundle(one, ca_path(config, None)),
            Some(certs::Trust::TrustDomains(domains)) => {
                for (domain, own) in domains {
                    bundle(own, format!("{domain}: {}", ca_path(config, Some(domain))));
                }
            }
        }
        let mut paths = config.certificates.iter().map(chain_path);
        for identity in identities {
            let path = paths.next().unwrap_or_else(|| INLINE.to_owned());
            let chain: Vec<Value> = identity.chain().iter().map(|c| self.describe(c, &path)).collect();
            self.show(json!({"ca_cert": ca, "cert_chain": chain}));
        }
        if identities.is_empty() && !ca.is_empty() {
            self.show(json!({"ca_cert": ca, "cert_chain": []}));
        }
    }

    fn show(&mut self, entry: Value) {
        if self.seen.insert(entry.to_string()) {
            self.shown.push(entry);
        }
    }

    fn describe(&self, info: &certs::CertificateInfo, path: &str) -> Value {
        let uris = info.uris().map(|uri| json!({"uri": uri}));
        let names = info.dns_names().map(|dns| json!({"dns": dns}));
        json!({
            "path": path,
            "serial_number": info.serial,
            "subject_alt_names": uris.chain(names).collect::<Vec<_>>(),
            "days_until_expiration": info.days_until_expiry(self.now).to_string(),
            "valid_from": certs::certificate::format_time(info.not_before),
            "expiration_time": certs::certificate::format_time(info.not_after),
        })
    }
}

fn chain_path(certificate: &CertificateSource) -> String {
    match certificate {
        CertificateSource::Given(certificate) => path(&certificate.chain),
        CertificateSource::Secret(_) => INLINE.to_owned(),
    }
}

/// Where a trust bundle stands: the only one, or that of a domain.
fn ca_path(config: &TlsContextConfig, domain: Option<&certs::TrustDomain>) -> String {
    let trust = match &config.validation {
        Validation::Given(context) | Validation::Combined { default: context, .. } => context.trust.as_ref(),
        Validation::None | Validation::Secret(_) => None,
    };
    let source = match (trust, domain) {
        (Some(Trust::Pem(source)), None) | (Some(Trust::TrustBundles(source)), Some(_)) => Some(source),
        (Some(Trust::TrustDomains(domains)), Some(domain)) => {
            let own = domains.iter().find(|known| known.name == *domain);
            own.map(|own| &own.bundle)
        }
        _ => None,
    };
    source.map_or_else(|| INLINE.to_owned(), path)
}

fn path(source: &DataSource) -> String {
    match source {
        DataSource::File { path, .. } => path.to_string(),
        DataSource::Inline(_) | DataSource::Environment(_) => INLINE.to_owned(),
    }
}
