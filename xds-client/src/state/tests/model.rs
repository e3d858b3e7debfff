//! The machine against a model of a management server, with every step of either side and of the network in arbitrary
//! order: whatever happens, each response gets exactly one ACK or NACK, and when things calm down the application has
//! what the server has.

use super::{body, connected, rejection};
use crate::message::{DeltaDiscoveryResponse, DiscoveryResponse, Request, Resource as WireResource, Response};
use crate::resource_type::{CLUSTER, ENDPOINT, LISTENER};
use crate::state::{Mux, Name, Notice, Protocol, Update, UpdateId, Verdict, WILDCARD};
use proptest::prelude::*;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

/// A resource's content is its version; odd ones are bad, and the application rejects them.
type Version = u32;

const NAMES: [&str; 5] = [WILDCARD, "a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Step {
    /// The server gets a resource, in a good or bad version, or loses it.
    Mutate {
        name: usize,
        bad: bool,
    },
    Delete {
        name: usize,
    },
    /// The server sends what changed.
    Push,
    /// A message arrives.
    ToServer,
    ToClient,
    Subscribe {
        name: usize,
    },
    Unsubscribe {
        name: usize,
    },
    /// What the client has to say goes on the wire.
    Flush,
    /// The application answers one of the updates that it owes an answer.
    Answer {
        which: usize,
    },
    Disconnect,
    Connect,
}

/// `subscribe` and `unsubscribe` bound the names that the application takes up and drops. It never drops the wildcard:
/// in state of the world a server cannot be told, and in delta what was under way before comes back for good if the
/// wildcard does; nor may a name be dropped and then covered by a wildcard, for the same reason.
fn step(subscribe: Range<usize>, unsubscribe: Range<usize>) -> impl Strategy<Value = Step> {
    let resource = 1..NAMES.len();
    prop_oneof![
        3 => (resource.clone(), prop::bool::weighted(0.3)).prop_map(|(name, bad)| Step::Mutate { name, bad }),
        1 => resource.prop_map(|name| Step::Delete { name }),
        3 => Just(Step::Push),
        4 => Just(Step::ToServer),
        4 => Just(Step::ToClient),
        3 => subscribe.prop_map(|name| Step::Subscribe { name }),
        2 => unsubscribe.prop_map(|name| Step::Unsubscribe { name }),
        4 => Just(Step::Flush),
        4 => (0..4_usize).prop_map(|which| Step::Answer { which }),
        1 => Just(Step::Disconnect),
        1 => Just(Step::Connect),
    ]
}

/// The server, as one stream sees it.
#[derive(Debug, Default)]
struct ServerStream {
    opened: bool,
    /// State of the world: some request named resources, so that an empty list means none.
    named: bool,
    names: BTreeSet<String>,
    /// What the server believes the client to have.
    sent: BTreeMap<String, Version>,
    /// Names that the client waits to hear of, whatever the server believes.
    asked: BTreeSet<String>,
    /// Responses and how often each was acknowledged.
    acknowledged: BTreeMap<String, u32>,
    last_nonce: String,
    last_pushed: Option<Version>,
}

#[derive(Debug)]
struct World {
    protocol: Protocol,
    type_url: &'static str,
    full_state: bool,
    mux: Mux,
    now: Instant,
    // The server.
    resources: BTreeMap<String, Version>,
    clock: Version,
    nonce: u32,
    stream: Option<ServerStream>,
    // The network.
    to_server: VecDeque<Request>,
    to_client: VecDeque<Response>,
    // The application.
    view: BTreeMap<String, Version>,
    wanted: BTreeSet<&'static str>,
    owed: Vec<(UpdateId, Verdict)>,
}

impl World {
    fn new(protocol: Protocol, type_url: &'static str) -> Self {
        Self {
            protocol,
            type_url,
            full_state: protocol == Protocol::Delta || type_url != ENDPOINT,
            mux: connected(protocol),
            now: Instant::now(),
            resources: BTreeMap::new(),
            clock: 0,
            nonce: 0,
            stream: Some(ServerStream::default()),
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            view: BTreeMap::new(),
            wanted: BTreeSet::new(),
            owed: Vec::new(),
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.wanted.contains(name) || self.wanted.contains(WILDCARD)
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Mutate { name, bad } => {
                self.clock += 2;
                self.resources.insert(NAMES[name].into(), self.clock + u32::from(bad));
            }
            Step::Delete { name } => {
                self.clock += 2;
                self.resources.remove(NAMES[name]);
            }
            Step::Push => self.push(),
            Step::ToServer => {
                if let Some(request) = self.to_server.pop_front() {
                    self.server_receives(request);
                }
            }
            Step::ToClient => {
                if let Some(response) = self.to_client.pop_front() {
                    self.client_receives(response);
                }
            }
            Step::Subscribe { name } => {
                self.wanted.insert(NAMES[name]);
                self.mux
                    .subscribe(self.type_url, NAMES[name].into(), Duration::ZERO, self.now);
            }
            Step::Unsubscribe { name } => {
                self.wanted.remove(NAMES[name]);
                self.mux.unsubscribe(self.type_url, NAMES[name]);
                let wanted = &self.wanted;
                self.view
                    .retain(|name, _| wanted.contains(name.as_str()) || wanted.contains(WILDCARD));
            }
            Step::Flush => {
                while let Some(outgoing) = self.mux.next_request() {
                    assert!(self.stream.is_some(), "nothing is said without a stream");
                    self.to_server.push_back(outgoing.request);
                }
            }
            Step::Answer { which } => {
                if !self.owed.is_empty() {
                    let (id, verdict) = self.owed.remove(which % self.owed.len());
                    self.mux.answer(id, verdict);
                }
            }
            Step::Disconnect => {
                self.mux.disconnected();
                self.stream = None;
                self.to_server.clear();
                self.to_client.clear();
            }
            Step::Connect => {
                if self.stream.is_none() {
                    self.mux.connected();
                    self.stream = Some(ServerStream::default());
                }
            }
        }
    }

    fn client_receives(&mut self, response: Response) {
        match self.mux.received(response, self.now) {
            Some(Notice::Update(update)) => self.judge(&update),
            Some(other) => panic!("{other:?}"),
            None => {}
        }
    }

    fn judge(&mut self, update: &Update) {
        assert!(update.malformed.is_empty());
        let mut rejected = Vec::new();
        for name in &update.removed {
            self.view.remove(&**name);
        }
        for resource in &update.resources {
            assert!(self.wants(&resource.name), "{} was not asked for", resource.name);
            let version = super::Body::decode(&*resource.body)
                .unwrap()
                .content
                .parse::<Version>()
                .unwrap();
            match version % 2 {
                0 => _ = self.view.insert(resource.name.to_string(), version),
                _ => rejected.push(rejection(&resource.name, "odd")),
            }
        }
        self.owed.push((update.id, Verdict::Rejected(rejected)));
    }

    fn server_receives(&mut self, request: Request) {
        let Some(stream) = &mut self.stream else {
            panic!("no stream")
        };
        let nonce = match &request {
            Request::StateOfTheWorld(request) => request.response_nonce.clone(),
            Request::Delta(request) => request.response_nonce.clone(),
        };
        let times = stream.acknowledged.get_mut(&nonce);
        assert!(nonce.is_empty() || times.is_some(), "nonce {nonce} of another stream");
        match request {
            Request::StateOfTheWorld(request) => {
                // The first request with a nonce answers the response; later ones change names.
                if let Some(times) = times {
                    assert!(
                        *times == 0 || request.error_detail.is_none(),
                        "a second answer to {nonce}"
                    );
                    *times = 1;
                }
                if request.response_nonce != stream.last_nonce {
                    return;
                }
                let mut names: BTreeSet<String> = request.resource_names.into_iter().collect();
                stream.named |= !names.is_empty();
                if !stream.named {
                    names.insert(WILDCARD.into());
                }
                stream.opened = true;
                if names.difference(&stream.names).next().is_some() {
                    stream.last_pushed = None;
                }
                stream.names = names;
            }
            Request::Delta(request) => {
                if let Some(times) = times {
                    *times += 1;
                    assert_eq!(*times, 1, "a second answer to {}", request.response_nonce);
                    let changes = (&request.resource_names_subscribe, &request.resource_names_unsubscribe);
                    assert!(
                        changes.0.is_empty() && changes.1.is_empty(),
                        "an ACK that changes interest"
                    );
                    return;
                }
                if stream.opened {
                    assert!(request.initial_resource_versions.is_empty());
                } else {
                    stream.opened = true;
                    let held = request.initial_resource_versions.into_iter();
                    stream.sent = held.map(|(name, version)| (name, version.parse().unwrap())).collect();
                    if request.resource_names_subscribe.is_empty() {
                        stream.names.insert(WILDCARD.into());
                    }
                    stream.names.extend(request.resource_names_subscribe);
                    return;
                }
                for name in request.resource_names_subscribe {
                    if name == WILDCARD {
                        // All are to be sent again: the client may have dropped any.
                        stream.sent.values_mut().for_each(|version| *version = Version::MAX);
                    }
                    stream.sent.remove(&name);
                    stream.asked.insert(name.clone());
                    stream.names.insert(name);
                }
                for name in request.resource_names_unsubscribe {
                    stream.names.remove(&name);
                    if name == WILDCARD {
                        let names = &stream.names;
                        stream.sent.retain(|name, _| names.contains(name));
                    } else if !stream.names.contains(WILDCARD) {
                        stream.sent.remove(&name);
                    }
                }
            }
        }
    }

    fn push(&mut self) {
        let Some(stream) = self.stream.as_mut().filter(|it| it.opened) else {
            return;
        };
        let wants = |name: &String| stream.names.contains(name) || stream.names.contains(WILDCARD);
        let wanted: BTreeMap<&String, Version> = self
            .resources
            .iter()
            .filter(|(name, _)| wants(name))
            .map(|(name, version)| (name, *version))
            .collect();
        let any = |name: &str, version: Version| {
            let mut any = body(self.type_url, name);
            any.value = super::Body {
                name: name.into(),
                content: version.to_string(),
            }
            .encode_to_vec()
            .into();
            any
        };
        let nonce = format!("nonce-{}", self.nonce);
        let response = match self.protocol {
            Protocol::StateOfTheWorld => {
                if stream.last_pushed == Some(self.clock) {
                    return;
                }
                stream.last_pushed = Some(self.clock);
                stream.last_nonce = nonce.clone();
                Response::StateOfTheWorld(DiscoveryResponse {
                    version_info: self.clock.to_string(),
                    resources: wanted.iter().map(|(name, version)| any(name, *version)).collect(),
                    type_url: self.type_url.into(),
                    nonce: nonce.clone(),
                    control_plane: None,
                })
            }
            Protocol::Delta => {
                let changed = wanted
                    .iter()
                    .filter(|(name, version)| stream.sent.get(**name) != Some(*version));
                let resources: Vec<WireResource> = changed
                    .map(|(name, version)| WireResource {
                        name: (*name).clone(),
                        version: version.to_string(),
                        resource: Some(any(name, *version)),
                        ..WireResource::default()
                    })
                    .collect();
                let gone = stream
                    .sent
                    .keys()
                    .chain(&stream.asked)
                    .filter(|name| !wanted.contains_key(name));
                let removed_resources: BTreeSet<String> = gone.filter(|name| *name != WILDCARD).cloned().collect();
                if resources.is_empty() && removed_resources.is_empty() {
                    return;
                }
                stream.asked.clear();
                stream.sent = wanted
                    .into_iter()
                    .map(|(name, version)| (name.clone(), version))
                    .collect();
                Response::Delta(DeltaDiscoveryResponse {
                    system_version_info: self.clock.to_string(),
                    resources,
                    type_url: self.type_url.into(),
                    nonce: nonce.clone(),
                    removed_resources: removed_resources.into_iter().collect(),
                    control_plane: None,
                })
            }
        };
        self.nonce += 1;
        stream.acknowledged.insert(nonce, 0);
        self.to_client.push_back(response);
    }

    /// Lets everything that is under way arrive and be answered.
    fn settle(&mut self) {
        self.step(&Step::Connect);
        for _ in 0..100 {
            let before = self.nonce;
            while !self.owed.is_empty() {
                self.step(&Step::Answer { which: 0 });
            }
            self.step(&Step::Flush);
            while !self.to_server.is_empty() {
                self.step(&Step::ToServer);
                self.step(&Step::Push);
            }
            self.step(&Step::Push);
            while !self.to_client.is_empty() {
                self.step(&Step::ToClient);
            }
            if self.nonce == before && self.owed.is_empty() && self.to_server.is_empty() {
                self.step(&Step::Flush);
                if self.to_server.is_empty() {
                    return;
                }
            }
        }
        panic!("client and server do not come to rest");
    }

    fn check(&self) {
        let stream = self.stream.as_ref().expect("connected");
        assert!(
            stream.acknowledged.values().all(|times| *times == 1),
            "{:?}",
            stream.acknowledged
        );
        for name in &NAMES[1..] {
            let (held, theirs) = (self.view.get(*name), self.resources.get(*name));
            if !self.wants(name) {
                assert_eq!(held, None, "{name} is not wanted");
            } else if let Some(version) = theirs {
                match version % 2 {
                    0 => assert_eq!(held, theirs, "{name}"),
                    _ => assert_ne!(held, theirs, "{name} is bad"),
                }
            } else if self.full_state {
                assert_eq!(held, None, "{name} was removed");
            }
        }
        let known: BTreeSet<&str> = self
            .mux
            .known(self.type_url)
            .map(|(name, _): (&Name, _)| &**name)
            .collect();
        assert_eq!(
            known,
            self.view.keys().map(String::as_str).collect(),
            "known to the protocol and to the application"
        );
    }
}

fn run(protocol: Protocol, type_url: &'static str, steps: &[Step]) {
    let mut world = World::new(protocol, type_url);
    steps.iter().for_each(|step| world.step(step));
    world.settle();
    world.check();
}

proptest! {
    // Enough to find every bug that 150,000 found, in a second; a failure prints its steps.
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn delta_by_name_converges(steps in prop::collection::vec(step(1..5, 1..5), 0..80)) {
        run(Protocol::Delta, CLUSTER, &steps);
    }

    #[test]
    fn delta_by_wildcard_and_name_converges(steps in prop::collection::vec(step(0..3, 3..4), 0..80)) {
        run(Protocol::Delta, CLUSTER, &steps);
    }

    #[test]
    fn sotw_of_full_state_converges(steps in prop::collection::vec(step(0..5, 1..5), 0..80)) {
        run(Protocol::StateOfTheWorld, LISTENER, &steps);
    }

    #[test]
    fn sotw_of_partial_state_converges(steps in prop::collection::vec(step(0..5, 1..5), 0..80)) {
        run(Protocol::StateOfTheWorld, ENDPOINT, &steps);
    }
}
