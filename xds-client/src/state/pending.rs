//! A response between its arrival and the request that answers it.

use super::{Name, Rejection, Resource, Verdict};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest `error_detail`, in bytes: a push of 10,000 broken resources must not produce a request above the 4 MiB that
/// gRPC servers accept. Names and reasons of some hundred resources fit.
const MAX_ERROR_DETAIL: usize = 64 * 1024;

/// A response, read.
#[derive(Debug, Default)]
pub(super) struct Digest {
    pub(super) version: Arc<str>,
    pub(super) nonce: Arc<str>,
    pub(super) resources: Vec<Resource>,
    pub(super) heartbeats: Vec<(Name, Duration)>,
    pub(super) removed: Vec<Name>,
    pub(super) malformed: Vec<Rejection>,
    /// What was not asked for (any more).
    pub(super) dropped: Vec<Name>,
    /// It cannot be read at all.
    pub(super) refused: Option<String>,
}

impl Digest {
    pub(super) fn new(version: &str, nonce: &str) -> Self {
        Self {
            version: version.into(),
            nonce: nonce.into(),
            ..Self::default()
        }
    }

    /// Nothing in it concerns the application. A response that was empty from the start does: it says that there is
    /// nothing of the type.
    pub(super) fn is_quiet(&self) -> bool {
        let empty = self.resources.is_empty() && self.removed.is_empty() && self.malformed.is_empty();
        empty && (!self.dropped.is_empty() || !self.heartbeats.is_empty())
    }

    pub(super) fn refuse(mut self, reason: String) -> Self {
        self.refused = Some(reason);
        self
    }
}

/// A response that waits for the application's verdict.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) number: u64,
    pub(super) stream: u64,
    pub(super) nonce: Arc<str>,
    pub(super) version: Arc<str>,
    pub(super) resources: Vec<PendingResource>,
    pub(super) removed: Vec<Name>,
    pub(super) malformed: Vec<Rejection>,
    pub(super) verdict: Option<Verdict>,
}

#[derive(Debug)]
pub(super) struct PendingResource {
    pub(super) name: Name,
    pub(super) aliases: Vec<String>,
    pub(super) version: Arc<str>,
    pub(super) expires: Option<Instant>,
}

/// The part of an ACK or NACK that the response and the verdict decide.
#[derive(Debug)]
pub(super) struct Acknowledgement {
    pub(super) nonce: Arc<str>,
    /// Version of the last response that was accepted whole, when this one was answered.
    pub(super) version: Arc<str>,
    /// Makes it a NACK.
    pub(super) error: Option<String>,
}

impl Pending {
    pub(super) fn new(number: u64, stream: u64, digest: &Digest, now: Instant) -> Self {
        let resources = digest.resources.iter().map(|it| PendingResource {
            name: it.name.clone(),
            aliases: it.aliases.clone(),
            version: it.version.clone(),
            // A TTL beyond what the clock can say is none.
            expires: it.ttl.and_then(|ttl| now.checked_add(ttl)),
        });
        Self {
            number,
            stream,
            nonce: digest.nonce.clone(),
            version: digest.version.clone(),
            resources: resources.collect(),
            removed: digest.removed.clone(),
            malformed: digest.malformed.clone(),
            verdict: None,
        }
    }

    /// The message of the NACK: every rejected resource by name, with the reason. `None` is an ACK.
    pub(super) fn error(&self, type_url: &str) -> Option<String> {
        let type_name = type_url.rsplit('/').next().unwrap_or(type_url);
        let mut rejections = self.malformed.iter().collect::<Vec<_>>();
        match &self.verdict {
            Some(Verdict::Refused(reason)) => return Some(truncated(format!("{type_name}: {reason}"))),
            Some(Verdict::Rejected(rejected)) => rejections.extend(rejected),
            Some(Verdict::Accepted) | None => {}
        }
        if rejections.is_empty() {
            return None;
        }
        let (rejected, all) = (rejections.len(), self.resources.len() + self.malformed.len());
        let mut message = format!("{type_name}: {rejected} of {all} rejected");
        for Rejection { name, reason } in rejections {
            message.push_str(&format!("; {name}: {reason}"));
        }
        Some(truncated(message))
    }
}

fn truncated(mut message: String) -> String {
    if message.len() > MAX_ERROR_DETAIL {
        message.truncate(message.floor_char_boundary(MAX_ERROR_DETAIL));
        message.push_str("... (truncated)");
    }
    message
}
