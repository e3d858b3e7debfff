//! Anything that a management server may send, in any order with what an application may do: the state machine must not
//! panic, must say nothing without a stream, and must answer each response of a stream exactly once.
//!
//! `cargo +nightly fuzz run state` in `xds-client/`.

#![no_main]

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use xds_client::message::{
    Any, DeltaDiscoveryResponse, DiscoveryResponse, RESOURCE_TYPE_URL, Request, Resource, Response,
};
use xds_client::resource_type::{CLUSTER, ENDPOINT, VIRTUAL_HOST};
use xds_client::state::{Mux, Notice, UpdateId, Verdict, WILDCARD};
use xds_client::{Protocol, Rejection};

const TYPES: [&str; 3] = [CLUSTER, ENDPOINT, VIRTUAL_HOST];
const NAMES: [&str; 5] = [WILDCARD, "", "a", "b", "a/b"];

#[derive(Arbitrary, Debug)]
struct Case {
    delta: bool,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Subscribe { of: u8, name: u8, timeout_ms: u8 },
    Resubscribe { of: u8, name: u8 },
    Unsubscribe { of: u8, name: u8 },
    Respond { of: u8, resources: Vec<Entry>, removed: Vec<u8> },
    /// A response as it came from the wire.
    Raw { of: u8, bytes: Vec<u8> },
    Answer { which: u8, reject: Option<u8>, refuse: bool },
    Flush,
    Connect,
    Disconnect,
    Wait { ms: u16 },
}

#[derive(Arbitrary, Debug)]
struct Entry {
    name: u8,
    alias: Option<u8>,
    body: Option<Vec<u8>>,
    ttl: Option<(i64, i32)>,
    of_another_type: bool,
    wrapped: bool,
}

struct World {
    mux: Mux,
    delta: bool,
    now: Instant,
    connected: bool,
    nonce: u64,
    /// Responses of the current stream, and how often each was answered.
    answered: HashMap<String, u32>,
    owed: Vec<UpdateId>,
}

fuzz_target!(|case: Case| {
    let protocol = if case.delta { Protocol::Delta } else { Protocol::StateOfTheWorld };
    let mut world = World {
        mux: Mux::new(protocol, true),
        delta: case.delta,
        now: Instant::now(),
        connected: false,
        nonce: 0,
        answered: HashMap::new(),
        owed: Vec::new(),
    };
    case.steps.into_iter().for_each(|step| world.step(step));
    for id in std::mem::take(&mut world.owed) {
        world.mux.answer(id, Verdict::Accepted);
    }
    world.flush();
    assert!(world.answered.values().all(|times| *times == 1), "{:?}", world.answered);
});

impl World {
    fn step(&mut self, step: Step) {
        match step {
            Step::Subscribe { of, name, timeout_ms } => {
                let timeout = Duration::from_millis(timeout_ms.into());
                self.mux.subscribe(pick(&TYPES, of), pick(&NAMES, name).into(), timeout, self.now);
            }
            Step::Resubscribe { of, name } => {
                self.mux.resubscribe(pick(&TYPES, of), pick(&NAMES, name).into(), Duration::ZERO, self.now);
            }
            Step::Unsubscribe { of, name } => self.mux.unsubscribe(pick(&TYPES, of), pick(&NAMES, name)),
            Step::Respond { of, resources, removed } => {
                let response = self.response(pick(&TYPES, of), resources, &removed);
                self.respond(response);
            }
            Step::Raw { of, bytes } => {
                let type_url = pick(&TYPES, of).to_owned();
                let bytes = Bytes::from(bytes);
                let response = if self.delta {
                    <DeltaDiscoveryResponse as prost::Message>::decode(bytes)
                        .map(|it| Response::Delta(DeltaDiscoveryResponse { type_url, ..it }))
                } else {
                    <DiscoveryResponse as prost::Message>::decode(bytes)
                        .map(|it| Response::StateOfTheWorld(DiscoveryResponse { type_url, ..it }))
                };
                if let Ok(response) = response {
                    self.respond(response);
                }
            }
            Step::Answer { which, reject, refuse } => {
                if !self.owed.is_empty() {
                    let id = self.owed.remove(usize::from(which) % self.owed.len());
                    let verdict = match reject {
                        _ if refuse => Verdict::Refused("refused".into()),
                        None => Verdict::Accepted,
                        Some(name) => {
                            let name = pick(&NAMES, name).into();
                            Verdict::Rejected(vec![Rejection { name, reason: "rejected".into() }])
                        }
                    };
                    self.mux.answer(id, verdict);
                }
            }
            Step::Flush => self.flush(),
            Step::Connect => {
                self.flush();
                self.mux.connected();
                self.connected = true;
                self.answered.clear();
            }
            Step::Disconnect => {
                self.mux.disconnected();
                self.connected = false;
                self.answered.clear();
            }
            Step::Wait { ms } => {
                self.now += Duration::from_millis(ms.into());
                _ = self.mux.expire(self.now);
                assert!(self.mux.next_deadline().is_none_or(|at| at > self.now));
            }
        }
    }

    fn response(&mut self, type_url: &str, resources: Vec<Entry>, removed: &[u8]) -> Response {
        let resources = resources.into_iter().map(|entry| {
            let type_url = if entry.of_another_type { "another" } else { type_url };
            let wrapped = entry.wrapped || self.delta;
            let any = entry.body.map(|value| Any { type_url: type_url.into(), value: value.into() });
            let resource = Resource {
                version: "1".into(),
                resource: any.clone(),
                name: pick(&NAMES, entry.name).into(),
                aliases: entry.alias.map(|alias| pick(&NAMES, alias).into()).into_iter().collect(),
                ttl: entry.ttl.map(|(seconds, nanos)| xds_client::message::Duration { seconds, nanos }),
            };
            (resource, any.filter(|_| !wrapped))
        });
        if self.delta {
            Response::Delta(DeltaDiscoveryResponse {
                resources: resources.map(|(resource, _)| resource).collect(),
                removed_resources: removed.iter().map(|name| pick(&NAMES, *name).into()).collect(),
                type_url: type_url.into(),
                ..Default::default()
            })
        } else {
            let wrap = |resource: &Resource| Any {
                type_url: RESOURCE_TYPE_URL.into(),
                value: prost::Message::encode_to_vec(resource).into(),
            };
            let resources = resources.map(|(resource, any)| any.unwrap_or_else(|| wrap(&resource)));
            Response::StateOfTheWorld(DiscoveryResponse {
                version_info: "1".into(),
                resources: resources.collect(),
                type_url: type_url.into(),
                ..Default::default()
            })
        }
    }

    fn respond(&mut self, mut response: Response) {
        // A response comes after a request.
        self.flush();
        if !self.connected {
            return;
        }
        self.nonce += 1;
        let nonce = self.nonce.to_string();
        match &mut response {
            Response::StateOfTheWorld(response) => response.nonce.clone_from(&nonce),
            Response::Delta(response) => response.nonce.clone_from(&nonce),
        }
        let subscribed = self.mux.is_subscribed(response.type_url());
        if let Some(Notice::Update(update)) = self.mux.received(response, self.now) {
            self.owed.push(update.id);
        }
        if subscribed {
            self.answered.insert(nonce, 0);
        }
    }

    fn flush(&mut self) {
        while let Some(outgoing) = self.mux.next_request() {
            assert!(self.connected);
            match outgoing.request {
                // The first request with a nonce answers the response; later ones change names.
                Request::StateOfTheWorld(request) => {
                    if let Some(times) = self.answered.get_mut(&request.response_nonce) {
                        assert!(*times == 0 || request.error_detail.is_none());
                        *times = 1;
                    }
                }
                Request::Delta(request) => {
                    if let Some(times) = self.answered.get_mut(&request.response_nonce) {
                        *times += 1;
                        assert!(request.resource_names_subscribe.is_empty());
                        assert!(request.resource_names_unsubscribe.is_empty());
                    }
                }
            }
        }
    }
}

fn pick<'a>(of: &[&'a str], which: u8) -> &'a str {
    of[usize::from(which) % of.len()]
}
