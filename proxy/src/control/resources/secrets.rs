//! Secrets, and the TLS contexts that are built from them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hashbrown::HashSet;

use super::{Arrival, HeldSecret, Resources};
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
    stats::{Group, SslSocketFactoryStat},
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
        let files = secret.file_contents();
        let material = secret.load()?;
        let entry = Entry::now(received.bytes.clone(), from.map(|(version, _)| version));
        self.ledger
            .borrow_mut()
            .secrets
            .entry(need.name.clone())
            .or_default()
            .replace(entry);
        let held = self.secrets.entry(need.clone()).or_default();
        let (kind, hash) = (secret.secret_type(), secret.hash);
        let new = HeldSecret {
            secret,
            material,
            files,
        };
        match held.iter_mut().find(|known| known.secret.secret_type() == kind) {
            Some(known) if known.secret.hash == hash => return Ok(()),
            Some(known) => *known = new,
            None => held.push(new),
        }
        let watched = held.iter().filter_map(|known| known.secret.watched(from.is_some()));
        self.watches.set(&Owner::Secret(need.clone()), watched.collect());
        self.expiry.changed();
        self.rebuild(&need)
    }

    /// Reads the material again whose files changed. What cannot be used is said, and what was read before stays.
    pub fn reload(&mut self, owners: Vec<Owner>) {
        self.expiry.changed();
        for owner in owners {
            let reloaded = match &owner {
                Owner::Secret(need) => self.reload_secret(need),
                Owner::Cluster(name) => self.rebuild_cluster(name, None).map(|()| true),
                Owner::Listener(name) => self.rebuild_listener(name, None).map(|()| true),
            };
            match reloaded {
                Ok(false) => {}
                Ok(true) => tracing::info!("key material was read from its files again ({owner:?})"),
                Err(rejection) => {
                    tracing::warn!("key material in files cannot be used, what was read before stays: {rejection}");
                    if let Owner::Secret(need) = &owner {
                        self.stats.rotation_failed(&need.name);
                    }
                }
            }
        }
    }

    /// False: the files hold what they held.
    fn reload_secret(&mut self, need: &Need) -> Result<bool, Rejection> {
        let mut changed = false;
        for known in self.secrets.get_mut(need).into_iter().flatten() {
            let files = known.secret.file_contents();
            if files != known.files {
                known.material = known.secret.load()?;
                known.files = files;
                changed = true;
            }
        }
        if changed {
            self.rebuild(need)?;
        }
        Ok(changed)
    }

    /// Builds the TLS contexts that a secret belongs to.
    fn rebuild(&self, need: &Need) -> Result<(), Rejection> {
        let mut done = HashSet::new();
        for user in self.interest.users(need).iter().filter(|user| done.insert(*user)) {
            match user {
                User::Bootstrap => {}
                User::Cluster(name) => self.rebuild_cluster(name, Some(need))?,
                User::Listener(name) => self.rebuild_listener(name, Some(need))?,
            }
        }
        Ok(())
    }

    fn rebuild_cluster(&self, name: &str, secret: Option<&Need>) -> Result<(), Rejection> {
        let known = self.clusters.get(name).into_iter();
        known
            .flat_map(|known| self.versions(known))
            .try_for_each(|version| self.build_upstream(version, secret))
    }

    fn rebuild_listener(&self, name: &str, secret: Option<&Need>) -> Result<(), Rejection> {
        let warming = self.listeners.get(name).and_then(|known| known.warming.as_ref());
        let public = self.publisher.next().listeners.get(name).map(|l| &**l);
        warming
            .into_iter()
            .chain(public)
            .try_for_each(|listener| self.build_downstream(listener, secret))
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

    /// Builds a cluster's TLS contexts: all of them, or those that use a secret that has changed.
    pub(super) fn build_upstream(&self, cluster: &Cluster, secret: Option<&Need>) -> Result<(), Rejection> {
        for tls in cluster.transport.tls_contexts() {
            if self.concerns(secret, tls.config.context.secrets(), &tls.factory) {
                tls.build(&|reference, kind| self.material(reference, kind))?;
            }
        }
        Ok(())
    }

    /// As [`Self::build_upstream`].
    pub(super) fn build_downstream(&self, listener: &Listener, secret: Option<&Need>) -> Result<(), Rejection> {
        for tls in listener.chains().filter_map(|chain| chain.tls.as_ref()) {
            if self.concerns(secret, tls.config.secrets(), &tls.factory) {
                tls.build(&|reference, kind| self.material(reference, kind))?;
            }
        }
        Ok(())
    }

    /// Whether a context uses the secret; that it changed is then counted.
    fn concerns<'a>(
        &self,
        secret: Option<&Need>,
        mut uses: impl Iterator<Item = &'a SecretReference>,
        stats: &Group<SslSocketFactoryStat>,
    ) -> bool {
        let Some(secret) = secret else { return true };
        let concerned = uses.any(|reference| self.secret_need(reference) == *secret);
        if concerned {
            stats.inc(SslSocketFactoryStat::SslContextUpdateBySds);
        }
        concerned
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
        let known = held.iter().find(|known| known.secret.secret_type() == kind)?;
        Some(known.material.clone())
    }
}
