//! What was received, kept as it came: `/config_dump` prints it again, and says what was rejected and why.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;

use super::interest::Kind;
use crate::config::Rejection;

/// All that the admin interface shows of resources. Written by `Resources`, on the same thread.
#[derive(Debug, Default)]
pub struct Ledger {
    pub clusters: BTreeMap<Arc<str>, Record>,
    pub listeners: BTreeMap<Arc<str>, Record>,
    pub routes: BTreeMap<Arc<str>, Record>,
    pub secrets: BTreeMap<Arc<str>, Record>,
    pub extensions: BTreeMap<Arc<str>, Record>,
    /// Shown as they are by `/runtime`; this holds rejections.
    pub runtime: BTreeMap<Arc<str>, Record>,
    /// Endpoints are shown as they are; this holds versions and rejections.
    pub endpoints: BTreeMap<Arc<str>, Record>,
    /// Of the last accepted update; empty: none was.
    pub cluster_version: Arc<str>,
    pub listener_version: Arc<str>,
    /// When an update from any source was last accepted.
    pub accepted: Option<Instant>,
}

/// One resource by name, in every state that it can be in at a time. What is rare is boxed: there may be ten thousand.
#[derive(Debug, Default)]
pub struct Record {
    pub active: Option<Entry>,
    pub warming: Option<Box<Entry>>,
    /// Asked for since (secrets).
    pub wanted_since: Option<SystemTime>,
    pub error: Option<Box<Refusal>>,
}

/// One version of a resource.
#[derive(Debug, Clone)]
pub struct Entry {
    pub bytes: Bytes,
    pub version: Arc<str>,
    pub updated: SystemTime,
    /// Not of the bootstrap.
    pub dynamic: bool,
}

/// The last version that was not taken.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub bytes: Bytes,
    pub version: Arc<str>,
    pub at: SystemTime,
    pub details: String,
}

impl Entry {
    /// `version`: of a resource that is not the bootstrap's.
    pub fn now(bytes: Bytes, version: Option<&Arc<str>>) -> Self {
        Self {
            bytes,
            version: version.cloned().unwrap_or_default(),
            updated: SystemTime::now(),
            dynamic: version.is_some(),
        }
    }
}

impl Refusal {
    pub fn now(bytes: &Bytes, version: &Arc<str>, rejection: &Rejection) -> Self {
        Self {
            bytes: Bytes::copy_from_slice(bytes),
            version: version.clone(),
            at: SystemTime::now(),
            details: rejection.to_string(),
        }
    }
}

impl Ledger {
    /// An update was accepted as a whole.
    pub fn accept(&mut self, kind: Kind, version: &Arc<str>) {
        match kind {
            Kind::Cluster => self.cluster_version = version.clone(),
            Kind::Listener => self.listener_version = version.clone(),
            Kind::Endpoints | Kind::Extension | Kind::Routes | Kind::Runtime | Kind::Secret => {}
        }
    }

    /// A version that equals the one that is held: what was rejected before it no longer is what the server says.
    pub fn taken(&mut self, kind: Kind, name: &str) {
        if let Some(record) = self.of(kind).get_mut(name) {
            record.error = None;
        }
    }

    pub fn of(&mut self, kind: Kind) -> &mut BTreeMap<Arc<str>, Record> {
        match kind {
            Kind::Cluster => &mut self.clusters,
            Kind::Endpoints => &mut self.endpoints,
            Kind::Extension => &mut self.extensions,
            Kind::Listener => &mut self.listeners,
            Kind::Routes => &mut self.routes,
            Kind::Runtime => &mut self.runtime,
            Kind::Secret => &mut self.secrets,
        }
    }
}

impl Record {
    /// A version that was accepted and waits for what it needs.
    pub fn warm(&mut self, entry: Entry) {
        self.warming = Some(Box::new(entry));
        self.error = None;
    }

    /// What was warming serves now.
    pub fn activate(&mut self) {
        if let Some(entry) = self.warming.take() {
            self.active = Some(*entry);
        }
    }

    /// A version that serves at once.
    pub fn replace(&mut self, entry: Entry) {
        self.active = Some(entry);
        self.error = None;
    }
}
