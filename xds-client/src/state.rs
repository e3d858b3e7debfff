//! The xDS protocol as a pure state machine: subscriptions, versions, nonces, ACK and NACK, what to say again after a
//! reconnect. No I/O and no clock: what happened goes in with the time it happened, requests and notices come out. The
//! semantics are those of the "xDS REST and gRPC protocol" page of Envoy's documentation; where that leaves a choice,
//! Envoy's own.
//!
//! ```text
//! subscribe, unsubscribe ─┐                 ┌─> next_request()  (drained after every step)
//! connected, disconnected ┼─> Mux (a type ──┤
//! received(response) ─────┤   URL each a    └─> Notice: Update, Refused, FetchTimeout, Expired
//! answer(update, verdict) ┘   SubscriptionState)
//! ```
//!
//! The application answers an [`Update`] when it likes, and may subscribe first: requests leave in the order in which
//! they fell due, so that EDS asked for while a CDS update is handled precedes the CDS ACK, as with Envoy. Answers to
//! one type go out in the order of its responses.

mod deadlines;
mod delta;
mod pending;
mod sotw;
mod subscription;
mod update;

pub use update::{Name, Notice, Refused, Rejection, Resource, Update, UpdateId, Verdict, WILDCARD};

use crate::message::{Request, Response};
use crate::resource_type::resource_type;
use deadlines::{Deadline, Deadlines};
use hashbrown::HashMap;
use pending::{Acknowledgement, Pending};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use subscription::SubscriptionState;

/// Which of the two variants of the protocol a stream speaks (`ApiConfigSource.api_type` GRPC or DELTA_GRPC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    StateOfTheWorld,
    Delta,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StateOfTheWorld => "state-of-the-world",
            Self::Delta => "delta",
        })
    }
}

/// All subscriptions of one stream (Envoy's `GrpcMux`). Survives its streams: after a reconnect it asks for the same
/// again and says what it has.
#[derive(Debug)]
pub struct Mux {
    protocol: Protocol,
    node_on_first_message_only: bool,
    /// In the order of their first subscription, which is the order of requests after a reconnect: CDS before EDS.
    types: Vec<SubscriptionState>,
    index: HashMap<Arc<str>, usize>,
    due: VecDeque<Due>,
    deadlines: Deadlines,
    connected: bool,
    /// Number of the current stream: answers to responses of earlier ones are not sent.
    stream: u64,
    node_sent: bool,
    next_update: u64,
}

#[derive(Debug)]
enum Due {
    Interest(usize),
    Acknowledgement(usize, Acknowledgement),
}

/// A request to send; the node is left to the caller, who has it encoded.
#[derive(Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub request: Request,
    pub with_node: bool,
}

impl Mux {
    /// `node_on_first_message_only`: `ApiConfigSource.set_node_on_first_message_only`.
    pub fn new(protocol: Protocol, node_on_first_message_only: bool) -> Self {
        Self {
            protocol,
            node_on_first_message_only,
            types: Vec::new(),
            index: HashMap::new(),
            due: VecDeque::new(),
            deadlines: Deadlines::default(),
            connected: false,
            stream: 0,
            node_sent: false,
            next_update: 0,
        }
    }

    /// Subscribes to a resource, or to all of the type ([`WILDCARD`]). Known names are left alone.
    /// `initial_fetch_timeout` zero waits for ever (`ConfigSource.initial_fetch_timeout`).
    pub fn subscribe(&mut self, type_url: &str, name: Name, initial_fetch_timeout: Duration, now: Instant) {
        let i = self.type_index(type_url);
        if self.types[i].subscribe(&name) {
            self.arm_fetch(i, name, initial_fetch_timeout, now);
            self.interest_due(i);
        }
    }

    /// Asks anew for resources that are subscribed already: a cluster that warms again wants its endpoints even where
    /// they did not change. In delta the server must send them; in state of the world it may not.
    pub fn resubscribe(&mut self, type_url: &str, name: Name, initial_fetch_timeout: Duration, now: Instant) {
        let i = self.type_index(type_url);
        self.types[i].resubscribe(&name);
        self.arm_fetch(i, name, initial_fetch_timeout, now);
        self.interest_due(i);
    }

    pub fn unsubscribe(&mut self, type_url: &str, name: &str) {
        let Some(&i) = self.index.get(type_url) else { return };
        if self.types[i].unsubscribe(i, name, &mut self.deadlines) {
            self.interest_due(i);
        }
    }

    /// A new stream is open: everything is said from the start, versions that are held included.
    pub fn connected(&mut self) {
        self.disconnected();
        self.connected = true;
        self.stream += 1;
        self.node_sent = false;
        for i in 0..self.types.len() {
            self.types[i].restart();
            self.interest_due(i);
        }
    }

    pub fn disconnected(&mut self) {
        self.connected = false;
        self.due.clear();
        self.types.iter_mut().for_each(|it| it.queued = false);
    }

    /// The next request to send, until none is due. Call it after a batch of changes rather than after each: changes
    /// to a type go out as one request, which servers that answer only complete requests need.
    pub fn next_request(&mut self) -> Option<Outgoing> {
        loop {
            let due = self.due.pop_front()?;
            let (Due::Interest(i) | Due::Acknowledgement(i, _)) = due;
            let answer_follows = self
                .due
                .iter()
                .any(|it| matches!(it, Due::Acknowledgement(of, _) if *of == i));
            let subscription = &mut self.types[i];
            let request = match due {
                Due::Interest(_) => {
                    subscription.queued = false;
                    match self.protocol {
                        // The answer carries the names; a request ahead of it would be taken for the answer.
                        Protocol::StateOfTheWorld if answer_follows => None,
                        Protocol::StateOfTheWorld => sotw::request(subscription).map(Request::StateOfTheWorld),
                        Protocol::Delta => delta::request(subscription).map(Request::Delta),
                    }
                }
                Due::Acknowledgement(_, acknowledgement) => {
                    let stale = answer_follows || !subscription.pending.is_empty();
                    if !stale {
                        subscription.dropped.clear();
                    }
                    Some(match self.protocol {
                        Protocol::StateOfTheWorld => {
                            Request::StateOfTheWorld(sotw::acknowledge(subscription, acknowledgement, stale))
                        }
                        Protocol::Delta => Request::Delta(delta::acknowledge(subscription, acknowledgement)),
                    })
                }
            };
            if let Some(request) = request {
                if !subscription.subscribe.is_empty() {
                    self.interest_due(i);
                }
                let with_node = !(self.node_on_first_message_only && self.node_sent);
                self.node_sent = true;
                return Some(Outgoing { request, with_node });
            }
        }
    }

    /// Takes a response of the current stream. What needs the application comes back as a notice; what does not
    /// (heartbeats, resources that nobody asked for any more) is acknowledged here. A response of a type that was
    /// never subscribed is ignored, as Envoy does.
    pub fn received(&mut self, response: Response, now: Instant) -> Option<Notice> {
        let &i = self.index.get(response.type_url())?;
        let subscription = &mut self.types[i];
        let digest = match (self.protocol, response) {
            (Protocol::StateOfTheWorld, Response::StateOfTheWorld(response)) => sotw::digest(subscription, response),
            (Protocol::Delta, Response::Delta(response)) => delta::digest(subscription, response),
            (_, _) => return None,
        };
        let id = UpdateId {
            type_index: i,
            number: self.next_update,
        };
        self.next_update += 1;
        for (name, ttl) in &digest.heartbeats {
            subscription.heartbeat(i, name, now.checked_add(*ttl), &mut self.deadlines);
        }
        let quiet = digest.is_quiet() || subscription.names.is_empty();
        subscription.answered(i, &digest, &mut self.deadlines);
        subscription.dropped.extend(digest.dropped.iter().cloned());
        subscription
            .pending
            .push_back(Pending::new(id.number, self.stream, &digest, now));
        if let Some(reason) = digest.refused {
            self.answer(id, Verdict::Refused(reason.clone()));
            let type_url = self.types[i].type_url.clone();
            return Some(Notice::Refused(Refused {
                type_url,
                version: digest.version,
                reason,
            }));
        }
        if quiet {
            self.answer(id, Verdict::Accepted);
            return None;
        }
        Some(Notice::Update(Update {
            id,
            type_url: self.types[i].type_url.clone(),
            version: digest.version,
            nonce: digest.nonce,
            resources: digest.resources,
            removed: digest.removed,
            malformed: digest.malformed,
        }))
    }

    /// The application's verdict on an update. Rejected resources keep their last good version and are not counted as
    /// known; the others are. An answer to an update of an earlier stream is kept, but not sent.
    pub fn answer(&mut self, id: UpdateId, verdict: Verdict) {
        let Some(subscription) = self.types.get_mut(id.type_index) else {
            return;
        };
        let Some(pending) = subscription.pending.iter_mut().find(|it| it.number == id.number) else {
            return;
        };
        pending.verdict.get_or_insert(verdict);
        while subscription.pending.front().is_some_and(|it| it.verdict.is_some()) {
            let Some(pending) = subscription.pending.pop_front() else {
                break;
            };
            let this_stream = self.connected && pending.stream == self.stream;
            let acknowledgement = subscription.settle(id.type_index, pending, &mut self.deadlines);
            if this_stream {
                subscription.nonce = acknowledgement.nonce.clone();
                self.due.push_back(Due::Acknowledgement(id.type_index, acknowledgement));
            }
        }
        if self.types[id.type_index].pending.is_empty() {
            self.interest_due(id.type_index);
        }
    }

    /// When [`Mux::expire`] should next be called.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Initial fetches that took too long and resources whose TTL ran out.
    pub fn expire(&mut self, now: Instant) -> Vec<Notice> {
        let mut notices: Vec<Notice> = Vec::new();
        for (i, deadline, name) in self.deadlines.take_until(now) {
            let subscription = &mut self.types[i];
            let type_url = subscription.type_url.clone();
            if deadline == Deadline::Fetch {
                subscription.fetch_timed_out(&name);
            }
            match (deadline, notices.last_mut()) {
                (Deadline::Fetch, Some(Notice::FetchTimeout { type_url: of, names })) if *of == type_url => {
                    names.push(name);
                }
                (Deadline::Fetch, _) => notices.push(Notice::FetchTimeout {
                    type_url,
                    names: vec![name],
                }),
                (Deadline::Ttl, last) => {
                    subscription.known.remove(&name);
                    match last {
                        Some(Notice::Expired { type_url: of, names }) if *of == type_url => names.push(name),
                        _ => notices.push(Notice::Expired {
                            type_url,
                            names: vec![name],
                        }),
                    }
                }
            }
        }
        notices
    }

    /// Whether a response of this type would be heeded: it was subscribed at some time.
    pub fn is_subscribed(&self, type_url: &str) -> bool {
        self.index.contains_key(type_url)
    }

    /// Resources of a type that were accepted and are held, with their versions.
    pub fn known(&self, type_url: &str) -> impl Iterator<Item = (&Name, &Arc<str>)> {
        let subscription = self.index.get(type_url).map(|&i| &self.types[i]);
        subscription
            .into_iter()
            .flat_map(|it| it.known.iter().map(|(name, known)| (name, &known.version)))
    }

    fn type_index(&mut self, type_url: &str) -> usize {
        if let Some(&i) = self.index.get(type_url) {
            return i;
        }
        let type_url: Arc<str> = type_url.into();
        self.types
            .push(SubscriptionState::new(type_url.clone(), resource_type(&type_url)));
        self.index.insert(type_url, self.types.len() - 1);
        self.types.len() - 1
    }

    fn arm_fetch(&mut self, i: usize, name: Name, initial_fetch_timeout: Duration, now: Instant) {
        if let (false, Some(at)) = (initial_fetch_timeout.is_zero(), now.checked_add(initial_fetch_timeout)) {
            self.deadlines.set(at, i, Deadline::Fetch, name.clone());
            if let Some(old) = self.types[i].fetch_deadline(&name, at) {
                self.deadlines.clear(old, i, Deadline::Fetch, &name);
            }
        }
    }

    fn interest_due(&mut self, i: usize) {
        let subscription = &mut self.types[i];
        if self.connected && !subscription.queued {
            subscription.queued = true;
            self.due.push_back(Due::Interest(i));
        }
    }
}

#[cfg(test)]
mod tests;
