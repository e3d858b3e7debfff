//! Secrets, and the TLS contexts that are built from them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hashbrown::HashSet;

use super::{Arrival, Resources};
use crate::{
    bootstrap::Received,
    cluster::Cluster,
    config::{
        self, Rejection,
        secret::{Secret, SecretType},
        source::SecretReference,
        tls::Material,
    },
    control::{
        interest::{Kind, Need, User},
        key_files::Owner,
        ledger::Entry,
        origin::OriginId,
    },
    listener::Listener,
    tls::UpstreamTransport,
};

impl Resources {
    pub(super) fn take_secret(&mut self, arrival: Arrival<'_>) -> Result<(), Rejection> {
        let secret = config::secret::parse(arrival.body, &mut self.context)?;
        let received = Received::new(secret.name.clone(), Bytes::copy_from_slice(arrival.body));
        self.add_secret(&received, secret, Some((arrival.version, arrival.origin)))
    }

    /// Adds a parsed secret, and rebuilds every TLS context that it belongs to.
    ///
    /// # Errors
    /// Where its material cannot be used; the last good version stays.
    pub fn add_secret(
        &mut self,
        received: &Received,
        secret: Secret,
        from: Option<(&Arc<str>, OriginId)>,
    ) -> Result<(), Rejection> {
        let need = Need {
            kind: Kind::Secret,
            origin: from.map_or(OriginId::STATIC, |(_, origin)| origin),
            name: secret.name.clone(),
        };
        let material = secret.load()?;
        let entry = Entry::now(received.bytes.clone(), from.map(|(version, _)| version));
        self.ledger
            .borrow_mut()
            .secrets
            .entry(need.name.clone())
            .or_default()
            .replace(entry);
        let held = self.secrets.entry(need.clone()).or_default();
        match held.iter_mut().find(|(s, _)| s.secret_type() == secret.secret_type()) {
            Some((known, _)) if known.hash == secret.hash => return Ok(()),
            Some(known) => *known = (secret, material),
            None => held.push((secret, material)),
        }
        let watched = held.iter().filter_map(|(secret, _)| secret.watched(from.is_some()));
        self.watches.set(&Owner::Secret(need.clone()), watched.collect());
        self.rebuild(&need)
    }

    /// Reads the material again whose files changed. What cannot be used is said, and what was read before stays.
    pub fn reload(&mut self, owners: Vec<Owner>) {
        for owner in owners {
            let reloaded = match &owner {
                Owner::Secret(need) => self.reload_secret(need),
                Owner::Cluster(name) => self.rebuild_cluster(name),
                Owner::Listener(name) => self.rebuild_listener(name),
            };
            match reloaded {
                Ok(()) => tracing::info!("key material was read from its files again ({owner:?})"),
                Err(rejection) => {
                    tracing::warn!("key material in files cannot be used, what was read before stays: {rejection}");
                    if let Owner::Secret(need) = &owner {
                        self.stats.rotation_failed(&need.name);
                    }
                }
            }
        }
    }

    fn reload_secret(&mut self, need: &Need) -> Result<(), Rejection> {
        for (secret, material) in self.secrets.get_mut(need).into_iter().flatten() {
            *material = secret.load()?;
        }
        self.rebuild(need)
    }

    /// Builds the TLS contexts of everyone who uses a secret.
    fn rebuild(&self, need: &Need) -> Result<(), Rejection> {
        let mut done = HashSet::new();
        for user in self.interest.users(need).iter().filter(|user| done.insert(*user)) {
            match user {
                User::Bootstrap | User::Scopes(_) | User::Routes(_) => {}
                User::Cluster(name) => self.rebuild_cluster(name)?,
                User::Listener(name) => self.rebuild_listener(name)?,
            }
        }
        Ok(())
    }

    fn rebuild_cluster(&self, name: &str) -> Result<(), Rejection> {
        let known = self.clusters.get(name).into_iter();
        known
            .flat_map(|known| self.versions(known))
            .try_for_each(|version| self.build_upstream(version))
    }

    fn rebuild_listener(&self, name: &str) -> Result<(), Rejection> {
        let warming = self.listeners.get(name).and_then(|known| known.warming.as_ref());
        let public = self.publisher.next().listeners.get(name).map(|l| &**l);
        warming
            .into_iter()
            .chain(public)
            .try_for_each(|listener| self.build_downstream(listener))
    }

    pub(super) fn want_secrets(&mut self, secrets: &[SecretReference], user: &User) -> Vec<Need> {
        let mut needs = Vec::with_capacity(secrets.len());
        for secret in secrets {
            needs.push(match &secret.source {
                Some(source) => self.want(Kind::Secret, &secret.name, source, user),
                None => {
                    let need = self.secret_need(secret);
                    self.interest.want(need.clone(), user.clone(), Duration::ZERO);
                    need
                }
            });
        }
        needs
    }

    pub(super) fn build_upstream(&self, cluster: &Cluster) -> Result<(), Rejection> {
        let transports = cluster
            .transport
            .matches
            .iter()
            .map(|m| &m.transport)
            .chain([&cluster.transport.default]);
        for transport in transports {
            let UpstreamTransport::Tls(tls) = transport else {
                continue;
            };
            tls.build(&|reference, kind| self.material(reference, kind))?;
        }
        Ok(())
    }

    pub(super) fn build_downstream(&self, listener: &Listener) -> Result<(), Rejection> {
        for tls in listener.chains().filter_map(|chain| chain.tls.as_ref()) {
            tls.build(&|reference, kind| self.material(reference, kind))?;
        }
        Ok(())
    }

    fn secret_need(&self, reference: &SecretReference) -> Need {
        let origin = reference.source.as_ref().and_then(|source| self.origins.find(source));
        Need {
            kind: Kind::Secret,
            origin: origin.unwrap_or(OriginId::STATIC),
            name: reference.name.clone(),
        }
    }

    fn material(&self, reference: &SecretReference, kind: SecretType) -> Option<Material> {
        let held = self.secrets.get(&self.secret_need(reference))?;
        let (_, material) = held.iter().find(|(secret, _)| secret.secret_type() == kind)?;
        Some(material.clone())
    }
}
