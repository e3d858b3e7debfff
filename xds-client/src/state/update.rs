//! What the state machine hands to the application, and what it takes back.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// A resource's name; shared between what the application holds and what the protocol remembers.
pub type Name = Arc<str>;

/// The name that stands for all resources of a type.
pub const WILDCARD: &str = "*";

/// Something that the application must hear of.
#[derive(Debug)]
pub enum Notice {
    Update(Update),
    Refused(Refused),
    /// No answer came within `initial_fetch_timeout`: go on without these resources ([`WILDCARD`] stands for the
    /// whole type). They stay subscribed.
    FetchTimeout {
        type_url: Arc<str>,
        names: Vec<Name>,
    },
    /// The TTL of these resources ran out without a heartbeat: they are gone.
    Expired {
        type_url: Arc<str>,
        names: Vec<Name>,
    },
}

/// A response, reduced to what was asked for. It must be answered.
#[derive(Debug)]
pub struct Update {
    pub id: UpdateId,
    pub type_url: Arc<str>,
    /// `version_info` or `system_version_info`.
    pub version: Arc<str>,
    pub nonce: Arc<str>,
    pub resources: Vec<Resource>,
    /// Resources that no longer exist, or that were asked for and do not.
    pub removed: Vec<Name>,
    /// Entries that cannot be handed over (no name, a name twice). The answer carries them as rejected by itself.
    pub malformed: Vec<Rejection>,
}

#[derive(Clone, Debug)]
pub struct Resource {
    pub name: Name,
    /// Other names by which the resource was asked for (VHDS).
    pub aliases: Vec<String>,
    /// In delta the resource's own version, which may be empty (istiod's are); else that of the response.
    pub version: Arc<str>,
    /// The encoded resource, of the update's type. May be a slice of the whole response and keep it in memory: copy
    /// what is held long when most of its neighbours are not.
    pub body: Bytes,
    /// How long the resource may be used without a heartbeat; the state machine watches it.
    pub ttl: Option<Duration>,
}

/// A response that could not be read at all; it has been NACKed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub type_url: Arc<str>,
    pub version: Arc<str>,
    pub reason: String,
}

/// Names an [`Update`] in its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpdateId {
    pub(super) type_index: usize,
    pub(super) number: u64,
}

/// The application's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// ACK.
    Accepted,
    /// NACK that lists these; the rest of the update is in use.
    Rejected(Vec<Rejection>),
    /// NACK of the whole: nothing of the update is in use.
    Refused(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub name: Name,
    pub reason: String,
}
