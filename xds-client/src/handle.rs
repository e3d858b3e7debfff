//! The application's side of a client: what it wants, what it hears, what it answers.

use crate::state::{Name, Refused, Rejection, Update, UpdateId, Verdict, WILDCARD};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedSender, WeakUnboundedSender};

/// What a client tells its application.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A stream is open (Envoy's `control_plane.connected_state` 1).
    Connected,
    /// The stream ended or could not be opened; the next attempt follows after `retry_in`. What was received stays
    /// valid.
    Disconnected { reason: String, retry_in: Duration },
    /// The server named itself (Envoy's `control_plane.identifier`).
    ControlPlane { identifier: String },
    /// Resources came or went; use the second half to answer.
    Update(Update, Ack),
    /// A response was unreadable and has been NACKed.
    Refused(Refused),
    /// No answer within `initial_fetch_timeout`: go on without. [`WILDCARD`] stands for the whole type.
    FetchTimeout { type_url: Arc<str>, names: Vec<Name> },
    /// Resources whose TTL ran out: treat them as removed.
    Expired { type_url: Arc<str>, names: Vec<Name> },
}

/// Says what to subscribe to. Cheap to clone. The client ends when the last handle is dropped; calls after its end have
/// no effect.
///
/// Calls made without an await between them leave as one request per type.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: UnboundedSender<Command>,
}

/// The answer that an update waits for. Subscribe first to what the update needs, if those requests are to precede the
/// ACK, as Envoy's do.
///
/// Dropped without an answer it rejects the whole update: nothing is ever acknowledged by accident.
#[derive(Debug)]
#[must_use = "an update that is not answered is rejected"]
pub struct Ack {
    id: UpdateId,
    commands: Option<WeakUnboundedSender<Command>>,
}

#[derive(Debug)]
pub(crate) enum Command {
    Subscribe {
        type_url: Arc<str>,
        names: Vec<Name>,
        again: bool,
        initial_fetch_timeout: Duration,
    },
    Unsubscribe {
        type_url: Arc<str>,
        names: Vec<Name>,
    },
    Answer(UpdateId, Verdict),
}

impl Handle {
    pub(crate) fn new(commands: UnboundedSender<Command>) -> Self {
        Self { commands }
    }

    /// Subscribes to resources by name. Names that are subscribed already are left alone.
    ///
    /// After `initial_fetch_timeout` without an answer there is an [`Event::FetchTimeout`]; zero waits for ever (the
    /// default of `ConfigSource.initial_fetch_timeout` is 15 s, and the caller's to apply).
    pub fn subscribe(
        &self,
        type_url: &str,
        names: impl IntoIterator<Item: Into<Name>>,
        initial_fetch_timeout: Duration,
    ) {
        let names = names.into_iter().map(Into::into).collect();
        self.send(Command::Subscribe {
            type_url: type_url.into(),
            names,
            again: false,
            initial_fetch_timeout,
        });
    }

    /// Subscribes to all resources of a type.
    pub fn subscribe_all(&self, type_url: &str, initial_fetch_timeout: Duration) {
        self.subscribe(type_url, [WILDCARD], initial_fetch_timeout);
    }

    /// Asks anew for resources although they are subscribed. In delta the server must send them again.
    pub fn resubscribe(
        &self,
        type_url: &str,
        names: impl IntoIterator<Item: Into<Name>>,
        initial_fetch_timeout: Duration,
    ) {
        let names = names.into_iter().map(Into::into).collect();
        self.send(Command::Subscribe {
            type_url: type_url.into(),
            names,
            again: true,
            initial_fetch_timeout,
        });
    }

    /// Ends subscriptions; nothing more is heard of these resources.
    pub fn unsubscribe(&self, type_url: &str, names: impl IntoIterator<Item: Into<Name>>) {
        let names = names.into_iter().map(Into::into).collect();
        self.send(Command::Unsubscribe {
            type_url: type_url.into(),
            names,
        });
    }

    /// Ends the subscription to all resources of a type; those subscribed by name stay. In state of the world a server
    /// cannot be told before the next stream, unless names were subscribed too; what it sends is dropped.
    pub fn unsubscribe_all(&self, type_url: &str) {
        self.unsubscribe(type_url, [WILDCARD]);
    }

    fn send(&self, command: Command) {
        _ = self.commands.send(command);
    }
}

impl Ack {
    pub(crate) fn new(id: UpdateId, commands: WeakUnboundedSender<Command>) -> Self {
        Self {
            id,
            commands: Some(commands),
        }
    }

    /// ACK: everything is in use.
    pub fn accept(self) {
        self.answer(Verdict::Accepted);
    }

    /// NACK that lists these resources; the others are in use. An empty list is an ACK.
    pub fn reject(self, rejections: Vec<Rejection>) {
        self.answer(Verdict::Rejected(rejections));
    }

    /// NACK of the whole update: nothing of it is in use.
    pub fn refuse(self, reason: impl Into<String>) {
        self.answer(Verdict::Refused(reason.into()));
    }

    fn answer(mut self, verdict: Verdict) {
        self.send(verdict);
    }

    fn send(&mut self, verdict: Verdict) {
        if let Some(commands) = self.commands.take().and_then(|it| it.upgrade()) {
            _ = commands.send(Command::Answer(self.id, verdict));
        }
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        self.send(Verdict::Refused(
            "the application dropped the update unanswered".to_owned(),
        ));
    }
}
