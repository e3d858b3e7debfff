//! The client: the state machine, a stream and an application, joined in one future.

use crate::backoff::{Backoff, random};
use crate::error::Error;
use crate::handle::{Ack, Command, Event, Handle};
use crate::link::{Broken, Link, Step};
use crate::message::{Request, Response};
use crate::resource_type::{aggregated_method, own_method};
use crate::server::ManagementServer;
use crate::state::{Mux, Notice, Outgoing, Protocol};
use crate::target::Target;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{self, Receiver, Sender, UnboundedReceiver, WeakUnboundedSender};
use tokio::time::sleep_until;

/// Events that may wait for the application. While they do, nothing is read from the stream, so that a slow application
/// slows its server down instead of filling its own memory.
const EVENT_BACKLOG: usize = 16;

/// Where resources come from. Files and REST are not served yet.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Source {
    /// A gRPC stream (`ApiConfigSource` GRPC, DELTA_GRPC, AGGREGATED_GRPC, AGGREGATED_DELTA_GRPC).
    Grpc {
        server: ManagementServer,
        protocol: Protocol,
        service: Service,
    },
}

/// Which method of the server a stream calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// ADS: all types on one stream.
    Aggregated,
    /// The type's own discovery service: only this type URL on the stream.
    Own(Arc<str>),
}

#[derive(Clone, Debug)]
pub struct Options {
    pub source: Source,
    /// The encoded `envoy.config.core.v3.Node`.
    pub node: Bytes,
    /// `ApiConfigSource.set_node_on_first_message_only`. Default false, as Envoy's.
    pub set_node_on_first_message_only: bool,
    /// Between attempts; starts over after each response.
    pub backoff: Backoff,
}

impl Options {
    pub fn new(source: Source, node: impl Into<Bytes>) -> Self {
        Self {
            source,
            node: node.into(),
            set_node_on_first_message_only: false,
            backoff: Backoff::default(),
        }
    }
}

/// Longest wait for somebody to listen on a local socket again: no fleet is to be spread there, and an agent that restarts
/// is missed from its first second, where certificates live for a minute.
const LOCAL_WAIT: Duration = Duration::from_secs(1);

/// An xDS client. [`Client::run`] does everything; it belongs on the runtime that the application's control plane runs
/// on.
pub struct Client {
    server: ManagementServer,
    protocol: Protocol,
    service: Service,
    path: &'static str,
    node: Bytes,
    backoff: Backoff,
    mux: Mux,
    link: Link,
    commands: UnboundedReceiver<Command>,
    answers: WeakUnboundedSender<Command>,
    events: Sender<Event>,
    /// Events that wait for room in `events`.
    outbox: VecDeque<Event>,
    /// Attempts since the last response.
    attempt: u32,
    control_plane: String,
    /// Whether this attempt got as far as a stream.
    reached: bool,
}

enum Woken {
    Command(Command),
    /// The application can take an event.
    Room,
    Deadline,
    Step(Step),
    /// No handle or no receiver is left.
    End,
}

impl Client {
    /// A client that connects as soon as it runs. Receive its events, or it stops reading from the server.
    ///
    /// # Errors
    /// A type that Envoy's API serves only over ADS was asked for on its own.
    pub fn new(options: Options) -> Result<(Self, Handle, Receiver<Event>), Error> {
        let Source::Grpc {
            server,
            protocol,
            service,
        } = options.source;
        let path = match &service {
            Service::Aggregated => aggregated_method(protocol),
            Service::Own(type_url) => own_method(type_url, protocol),
        };
        let Some(path) = path else {
            let type_url = if let Service::Own(type_url) = &service {
                type_url.to_string()
            } else {
                String::new()
            };
            return Err(Error::NoService {
                server: server.to_string(),
                type_url,
                protocol,
            });
        };
        let (command_sender, commands) = mpsc::unbounded_channel();
        let (events, event_receiver) = mpsc::channel(EVENT_BACKLOG);
        let client = Self {
            link: Link::connect(&server),
            server,
            protocol,
            service,
            path,
            node: options.node,
            backoff: options.backoff,
            mux: Mux::new(protocol, options.set_node_on_first_message_only),
            commands,
            answers: command_sender.downgrade(),
            events,
            outbox: VecDeque::new(),
            attempt: 0,
            control_plane: String::new(),
            reached: false,
        };
        Ok((client, Handle::new(command_sender), event_receiver))
    }

    /// Runs until the last [`Handle`] or the receiver of events is dropped; connects again for ever.
    pub async fn run(mut self) {
        loop {
            while let Some(Outgoing { request, with_node }) = self.mux.next_request() {
                self.link.send(&self.with_node(request, with_node));
            }
            match self.wake().await {
                Woken::End => return,
                Woken::Command(command) => {
                    self.command(command);
                    // Everything that was said in the same turn, before anything is sent: one request per type.
                    while let Ok(command) = self.commands.try_recv() {
                        self.command(command);
                    }
                }
                Woken::Room => {
                    // No one else sends, so there is room.
                    if let Some(event) = self.outbox.pop_front() {
                        _ = self.events.try_send(event);
                    }
                }
                Woken::Deadline => {
                    let notices = self.mux.expire(Instant::now());
                    notices.into_iter().for_each(|notice| self.notice(notice));
                }
                Woken::Step(step) => self.step(step),
            }
        }
    }

    async fn wake(&mut self) -> Woken {
        let deadline = self.mux.next_deadline().map(tokio::time::Instant::from_std);
        tokio::select! {
            command = self.commands.recv() => command.map_or(Woken::End, Woken::Command),
            room = self.events.reserve(), if !self.outbox.is_empty() => room.map_or(Woken::End, |_| Woken::Room),
            () = self.events.closed() => Woken::End,
            () = sleep_until(deadline.unwrap_or_else(tokio::time::Instant::now)), if deadline.is_some() => Woken::Deadline,
            step = self.link.next(), if self.outbox.is_empty() => Woken::Step(step),
        }
    }

    fn command(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Subscribe {
                type_url,
                names,
                again,
                initial_fetch_timeout,
            } => {
                if let Service::Own(own) = &self.service
                    && *own != type_url
                {
                    tracing::error!("{}: a stream of {own} cannot carry {type_url}", self.server);
                    return;
                }
                for name in names {
                    match again {
                        true => self.mux.resubscribe(&type_url, name, initial_fetch_timeout, now),
                        false => self.mux.subscribe(&type_url, name, initial_fetch_timeout, now),
                    }
                }
            }
            Command::Unsubscribe { type_url, names } => {
                names.iter().for_each(|name| self.mux.unsubscribe(&type_url, name));
            }
            Command::Answer(id, verdict) => self.mux.answer(id, verdict),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Due => self.link = Link::connect(&self.server),
            Step::Connected(connection) => {
                self.link = Link::open(&self.server, connection, self.path, self.protocol);
                self.mux.connected();
                self.reached = true;
                tracing::debug!("{}: stream {} opened", self.server, self.path);
                self.outbox.push_back(Event::Connected);
            }
            Step::Received(response) => {
                self.attempt = 0;
                self.received(response);
            }
            Step::Broken(broken) => self.broken(broken),
        }
    }

    fn received(&mut self, response: Response) {
        if let Some(identifier) = response.control_plane()
            && *identifier != self.control_plane
        {
            self.control_plane = identifier.to_owned();
            self.outbox.push_back(Event::ControlPlane {
                identifier: identifier.to_owned(),
            });
        }
        if let Some(notice) = self.mux.received(response, Instant::now()) {
            self.notice(notice);
        }
    }

    fn broken(&mut self, broken: Broken) {
        let backoff = match (self.server.target(), std::mem::take(&mut self.reached)) {
            (Target::Unix(_), false) => self.backoff.at_most(LOCAL_WAIT),
            _ => self.backoff,
        };
        let retry_in = backoff.wait(self.attempt, random());
        self.attempt = self.attempt.saturating_add(1);
        let (server, path, reason) = (&self.server, self.path, &broken.reason);
        tracing::debug!("{server}: no stream {path}: {reason}; next attempt in {retry_in:?}");
        self.mux.disconnected();
        self.link = Link::wait(retry_in);
        self.outbox.push_back(Event::Disconnected {
            reason: broken.reason,
            retry_in,
        });
    }

    fn notice(&mut self, notice: Notice) {
        self.outbox.push_back(match notice {
            Notice::Update(update) => {
                let ack = Ack::new(update.id, self.answers.clone());
                Event::Update(update, ack)
            }
            Notice::Refused(refused) => Event::Refused(refused),
            Notice::FetchTimeout { type_url, names } => Event::FetchTimeout { type_url, names },
            Notice::Expired { type_url, names } => Event::Expired { type_url, names },
        });
    }

    fn with_node(&self, mut request: Request, with_node: bool) -> Request {
        if with_node {
            match &mut request {
                Request::StateOfTheWorld(request) => request.node = self.node.clone(),
                Request::Delta(request) => request.node = self.node.clone(),
            }
        }
        request
    }
}
