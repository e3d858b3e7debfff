//! What one type URL is subscribed to, what is held of it, and what the stream has been told.

use super::deadlines::{Deadline, Deadlines};
use super::pending::{Acknowledgement, Digest, Pending};
use super::{Name, Verdict, WILDCARD};
use crate::resource_type::ResourceType;
use hashbrown::{HashMap, HashSet};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

#[derive(Debug)]
pub(super) struct SubscriptionState {
    pub(super) type_url: Arc<str>,
    pub(super) resource_type: &'static ResourceType,
    /// Names asked for; [`WILDCARD`] is one of them.
    pub(super) names: BTreeMap<Name, Wanted>,
    /// Accepted resources.
    pub(super) known: HashMap<Name, Known>,
    /// Responses that the application has not answered, oldest first.
    pub(super) pending: VecDeque<Pending>,
    /// Version of the last response that was accepted whole.
    pub(super) version: Arc<str>,

    // What follows belongs to the current stream.
    /// The first request of the type was sent.
    pub(super) opened: bool,
    /// A request for a change of interest stands in the queue.
    pub(super) queued: bool,
    /// Some request named resources, so that an empty list no longer means all of them.
    pub(super) named: bool,
    pub(super) nonce: Arc<str>,
    /// Changes of interest that the server has not heard of. A name in both was dropped and is wanted again: the server
    /// must hear of both, or it would not send what the application no longer has.
    pub(super) subscribe: BTreeSet<Name>,
    pub(super) unsubscribe: BTreeSet<Name>,
    /// What was dropped since the last ACK. In state of the world the request that said so may have crossed a response,
    /// and then the server ignored it and believes that the client has what it dropped.
    pub(super) dropped: BTreeSet<Name>,
}

#[derive(Debug)]
pub(super) struct Wanted {
    /// The server was told on this stream.
    pub(super) sent: bool,
    /// Nothing has been heard of it since it was asked for.
    pub(super) awaited: bool,
    fetch_deadline: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) version: Arc<str>,
    expires: Option<Instant>,
}

impl SubscriptionState {
    pub(super) fn new(type_url: Arc<str>, resource_type: &'static ResourceType) -> Self {
        Self {
            type_url,
            resource_type,
            names: BTreeMap::new(),
            known: HashMap::new(),
            pending: VecDeque::new(),
            version: "".into(),
            opened: false,
            queued: false,
            named: false,
            nonce: "".into(),
            subscribe: BTreeSet::new(),
            unsubscribe: BTreeSet::new(),
            dropped: BTreeSet::new(),
        }
    }

    /// Whether that is news.
    pub(super) fn subscribe(&mut self, name: &Name) -> bool {
        if self.names.contains_key(name) {
            return false;
        }
        self.names.insert(
            name.clone(),
            Wanted {
                sent: false,
                awaited: true,
                fetch_deadline: None,
            },
        );
        self.unsubscribe.extend(self.dropped.take(name));
        self.subscribe.insert(name.clone())
    }

    pub(super) fn resubscribe(&mut self, name: &Name) {
        if !self.subscribe(name) {
            self.subscribe.insert(name.clone());
        }
    }

    /// Whether the server needs to hear of it.
    pub(super) fn unsubscribe(&mut self, i: usize, name: &str, deadlines: &mut Deadlines) -> bool {
        let Some((name, wanted)) = self.names.remove_entry(name) else {
            return false;
        };
        if let Some(at) = wanted.fetch_deadline {
            deadlines.clear(at, i, Deadline::Fetch, &name);
        }
        self.subscribe.remove(&name);
        if wanted.sent {
            self.unsubscribe.insert(name.clone());
            self.dropped.insert(name.clone());
        }
        let gone: Vec<Name> = match &*name {
            WILDCARD => self.known.keys().filter(|it| !self.wants(it, &[])).cloned().collect(),
            _ if self.wants(&name, &[]) => Vec::new(),
            _ => vec![name],
        };
        for name in gone {
            self.forget(i, &name, deadlines);
        }
        for mut pending in std::mem::take(&mut self.pending) {
            pending.resources.retain(|it| self.wants(&it.name, &it.aliases));
            self.pending.push_back(pending);
        }
        wanted.sent
    }

    /// The instant that `at` replaces.
    pub(super) fn fetch_deadline(&mut self, name: &Name, at: Instant) -> Option<Instant> {
        let old = self.names.get_mut(name)?.fetch_deadline.replace(at);
        old.filter(|old| *old != at)
    }

    /// The first fetch of `name` took too long.
    pub(super) fn fetch_timed_out(&mut self, name: &Name) {
        if let Some(wanted) = self.names.get_mut(name) {
            wanted.fetch_deadline = None;
        }
    }

    /// A new stream knows nothing of this type yet.
    pub(super) fn restart(&mut self) {
        self.opened = false;
        self.named = false;
        self.nonce = "".into();
        self.subscribe.clear();
        self.unsubscribe.clear();
        self.dropped.clear();
        self.names.values_mut().for_each(|it| it.sent = false);
    }

    pub(super) fn is_wildcard(&self) -> bool {
        self.names.contains_key(WILDCARD)
    }

    /// Whether a resource of that name is asked for.
    pub(super) fn wants(&self, name: &str, aliases: &[String]) -> bool {
        self.is_wildcard()
            || self.names.contains_key(name)
            || aliases.iter().any(|it| self.names.contains_key(it.as_str()))
            || (self.resource_type.namespaced && !self.names.is_empty())
    }

    /// All names, as the list of a request; empty for the wildcard alone, where the stream allows that: servers that
    /// predate `*` know no other form.
    pub(super) fn name_list(&self) -> Vec<String> {
        if self.is_wildcard() && self.names.len() == 1 && !self.named {
            return Vec::new();
        }
        // Of a namespaced type all that the server offers is asked for by naming nothing, which no other request repeats.
        let named = |name: &&Name| !self.resource_type.namespaced || ***name != *WILDCARD;
        self.names.keys().filter(named).map(|it| it.to_string()).collect()
    }

    /// Names that the server must hear dropped before it hears them wanted again.
    pub(super) fn dropped_and_wanted(&self) -> BTreeSet<Name> {
        self.subscribe.intersection(&self.unsubscribe).cloned().collect()
    }

    /// The request being built tells the server of every change.
    pub(super) fn told(&mut self) {
        self.opened = true;
        self.subscribe.clear();
        self.unsubscribe.clear();
        self.names.values_mut().for_each(|it| it.sent = true);
    }

    /// Names of which the server, or the application for a response that it has yet to answer, knows more than a
    /// full-state response may leave out.
    pub(super) fn held(&self) -> HashSet<Name> {
        let mut held: HashSet<Name> = self.known.keys().cloned().collect();
        for pending in &self.pending {
            held.extend(pending.resources.iter().map(|it| it.name.clone()));
            pending.removed.iter().for_each(|it| _ = held.remove(it));
        }
        held
    }

    /// The wait for whatever a response brings is over.
    pub(super) fn answered(&mut self, i: usize, digest: &Digest, deadlines: &mut Deadlines) {
        if digest.refused.is_some() {
            return;
        }
        let resources = digest
            .resources
            .iter()
            .flat_map(|it| std::iter::once(&*it.name).chain(it.aliases.iter().map(String::as_str)));
        let names = resources.chain(digest.removed.iter().map(|it| &**it)).chain([WILDCARD]);
        for name in names {
            let Some((name, _)) = self.names.get_key_value(name) else {
                continue;
            };
            let name = name.clone();
            let Some(wanted) = self.names.get_mut(&name) else {
                continue;
            };
            wanted.awaited = false;
            if let Some(at) = wanted.fetch_deadline.take() {
                deadlines.clear(at, i, Deadline::Fetch, &name);
            }
        }
    }

    /// Records what the application made of a response.
    pub(super) fn settle(&mut self, i: usize, pending: Pending, deadlines: &mut Deadlines) -> Acknowledgement {
        let error = pending.error(&self.type_url);
        if error.is_none() {
            self.version = pending.version.clone();
        }
        let Pending {
            resources,
            removed,
            malformed,
            verdict,
            nonce,
            ..
        } = pending;
        if !matches!(verdict, Some(Verdict::Refused(_))) {
            let rejected: HashSet<&str> = match &verdict {
                Some(Verdict::Rejected(rejections)) => {
                    rejections.iter().chain(&malformed).map(|it| &*it.name).collect()
                }
                _ => malformed.iter().map(|it| &*it.name).collect(),
            };
            for name in &removed {
                self.forget(i, name, deadlines);
            }
            for resource in resources {
                if self.wants(&resource.name, &resource.aliases) && !rejected.contains(&*resource.name) {
                    self.forget(i, &resource.name, deadlines);
                    let name = resource.name.clone();
                    let expires = resource.expires.map(|at| deadlines.set(at, i, Deadline::Ttl, name));
                    self.known.insert(
                        resource.name,
                        Known {
                            version: resource.version,
                            expires,
                        },
                    );
                }
            }
        }
        Acknowledgement {
            nonce,
            version: self.version.clone(),
            error,
        }
    }

    /// A resource without a body renews the TTL of the one that is held.
    pub(super) fn heartbeat(&mut self, i: usize, name: &Name, expires: Option<Instant>, deadlines: &mut Deadlines) {
        let Some(known) = self.known.get_mut(name) else { return };
        if let Some(at) = std::mem::replace(&mut known.expires, expires) {
            deadlines.clear(at, i, Deadline::Ttl, name);
        }
        if let Some(at) = expires {
            deadlines.set(at, i, Deadline::Ttl, name.clone());
        }
    }

    fn forget(&mut self, i: usize, name: &Name, deadlines: &mut Deadlines) {
        if let Some(Known { expires: Some(at), .. }) = self.known.remove(name) {
            deadlines.clear(at, i, Deadline::Ttl, name);
        }
    }
}
