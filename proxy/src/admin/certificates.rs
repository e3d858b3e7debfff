//! `/certs`: the certificates in use, by TLS context of listeners and clusters.

use std::{rc::Rc, sync::Arc, time::SystemTime};

use certs::{CertificateInfo, Identity, Validation};
use serde_json::{Value, json};

use super::{Admin, info::pretty};

/// One entry for each distinct context: the CAs that it trusts and the chains that it presents.
pub(super) fn certificates(admin: &Rc<Admin>) -> String {
    let snapshot = admin.shared.snapshot.load();
    let now = SystemTime::now();
    let mut found: Vec<Value> = Vec::new();
    let mut add = |entry: Value| {
        if !found.contains(&entry) {
            found.push(entry);
        }
    };
    for chain in snapshot.listeners.values().flat_map(|l| l.chains()) {
        if let Some(context) = chain.tls.as_ref().and_then(|tls| tls.context.load_full()) {
            add(entry(context.identities(), context.validation(), now));
        }
    }
    for tls in snapshot.clusters.values().flat_map(|c| c.transport.tls_contexts()) {
        if let Some(context) = tls.context.load_full() {
            let identities: Vec<Identity> = context.identity().cloned().into_iter().collect();
            add(entry(&identities, context.validation(), now));
        }
    }
    pretty(&json!({"certificates": found}))
}

fn entry(identities: &[Identity], validation: Option<&Arc<Validation>>, now: SystemTime) -> Value {
    let trust = validation.and_then(|v| v.trust.as_ref());
    let trusted = trust
        .into_iter()
        .flat_map(|t| t.bundles())
        .flat_map(|b| b.certificates());
    let presented = identities.iter().flat_map(Identity::chain);
    json!({
        "ca_cert": trusted.map(|c| describe(c, now)).collect::<Vec<_>>(),
        "cert_chain": presented.map(|c| describe(c, now)).collect::<Vec<_>>(),
    })
}

fn describe(info: &CertificateInfo, now: SystemTime) -> Value {
    let uris = info.uris().map(|uri| json!({"uri": uri}));
    let dns = info.dns_names().map(|dns| json!({"dns": dns}));
    json!({
        "path": "<inline>",
        "serial_number": info.serial,
        "subject_alt_names": uris.chain(dns).collect::<Vec<_>>(),
        "days_until_expiration": info.days_until_expiry(now).to_string(),
        "valid_from": certs::certificate::format_time(info.not_before),
        "expiration_time": certs::certificate::format_time(info.not_after),
    })
}
