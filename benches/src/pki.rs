//! A certificate authority and two workloads, in files that every proxy can read.

use std::{fs, path::Path, sync::Arc, time::Duration};

use certs::{
    ClientContext, ClientSettings, SpiffeId, Trust, Validation,
    ca::{CertificateAuthority, Template},
};

const LIFETIME: Duration = Duration::from_secs(86_400);

pub const CLIENT: &str = "spiffe://cluster.local/ns/default/sa/a";
pub const SERVER: &str = "spiffe://cluster.local/ns/default/sa/b";
/// nginx checks no URI, so that the server has a name too.
pub const SERVER_NAME: &str = "b.default.svc.cluster.local";

/// Writes `ca.pem`, and for a (client) and b (server) `.pem`, `.key` and `.both`, which is HAProxy's form.
/// Returns what the load itself connects with.
pub fn write(dir: &Path) -> anyhow::Result<ClientContext> {
    let authority = CertificateAuthority::root("bench")?;
    let bundle = Arc::new(authority.bundle()?);
    fs::write(dir.join("ca.pem"), authority.bundle_pem())?;
    let mut client = None;
    for (file, id, names) in [("a", CLIENT, vec![]), ("b", SERVER, vec![SERVER_NAME.to_owned()])] {
        let issued = authority.issue(&Template {
            spiffe_id: Some(SpiffeId::parse(id)?),
            dns_names: names,
            ..Template::lasting(LIFETIME)
        })?;
        fs::write(dir.join(format!("{file}.pem")), &issued.chain_pem)?;
        fs::write(dir.join(format!("{file}.key")), &issued.key_pem)?;
        let both = format!("{}{}", issued.chain_pem, issued.key_pem);
        fs::write(dir.join(format!("{file}.both")), both)?;
        client.get_or_insert(issued.identity()?);
    }
    Ok(ClientContext::new(ClientSettings {
        identity: client,
        validation: Some(Arc::new(Validation {
            trust: Some(Trust::Bundle(bundle)),
            ..Validation::default()
        })),
        // Every handshake is a full one.
        max_session_keys: 0,
        ..ClientSettings::new()
    })?)
}
