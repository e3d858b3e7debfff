//! Sources that are polled over HTTP (`ApiConfigSource` of type REST): each resource, or all of a kind, has a poll of its
//! own that POSTs a `DiscoveryRequest` as JSON and is answered by a `DiscoveryResponse` as JSON.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use xds_api::json::{self, ReadOptions, WriteOptions};
use xds_client::WILDCARD;

use super::{
    file::{self, Document},
    interest::{Kind, Need},
    sources::{Heard, StreamId},
};
use crate::{
    config::source::RestApi,
    upstream::call::{self, Request},
    worker::Worker,
};

/// What a poll says.
#[derive(Debug)]
pub enum Polled {
    /// Another request goes out; the first is counted by whoever subscribed.
    Asking,
    Answer(Document),
    /// The answer is no `DiscoveryResponse`.
    Unreadable(String),
    /// No answer, or one of another status than 200 and 304.
    Failed(String),
    /// `initial_fetch_timeout` passed.
    TimedOut,
}

/// One poll.
pub struct Poll {
    pub api: RestApi,
    pub need: Need,
    /// `envoy.config.core.v3.Node`.
    pub node: Bytes,
    /// The version of the last answer that was accepted: the next request says it.
    pub accepted: Rc<RefCell<Arc<str>>>,
    /// How long someone waits for a first answer. Zero: for ever.
    pub initial_fetch_timeout: Duration,
}

const NODE: &str = "envoy.config.core.v3.Node";
/// A larger answer is not read. Ten thousand clusters take 20 MB.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Polls until the task is aborted.
pub async fn run(poll: Poll, caller: Rc<Worker>, id: StreamId, outbox: mpsc::Sender<(StreamId, Heard)>) {
    let timeout = poll.initial_fetch_timeout;
    let late = async {
        if timeout.is_zero() {
            return;
        }
        tokio::time::sleep(timeout).await;
        // Whoever listens knows whether there was an answer.
        let _ = outbox.send((id.clone(), Heard::Poll(Polled::TimedOut))).await;
    };
    let polling = async {
        let mut first = true;
        loop {
            if !std::mem::take(&mut first) && outbox.send((id.clone(), Heard::Poll(Polled::Asking))).await.is_err() {
                return;
            }
            if let Some(polled) = poll.once(&caller).await
                && outbox.send((id.clone(), Heard::Poll(polled))).await.is_err()
            {
                return;
            }
            tokio::time::sleep(poll.pause(caller.random())).await;
        }
    };
    tokio::join!(late, polling);
}

impl Poll {
    /// One request; `None`: nothing changed since the last.
    async fn once(&self, caller: &Rc<Worker>) -> Option<Polled> {
        let response = match call::call(caller, &self.api.cluster, self.request()).await {
            Ok(response) => response,
            Err(failure) => return Some(Polled::Failed(failure.sentence)),
        };
        match response.status {
            StatusCode::OK => Some(match read(&response.body) {
                Ok(document) => Polled::Answer(document),
                Err(why) => Polled::Unreadable(why),
            }),
            StatusCode::NOT_MODIFIED => None,
            status => Some(Polled::Failed(format!(
                "cluster {} answered {status}",
                self.api.cluster
            ))),
        }
    }

    fn request(&self) -> Request {
        let mut message = Map::new();
        let version = self.accepted.borrow().clone();
        if !version.is_empty() {
            message.insert("version_info".into(), Value::from(&*version));
        }
        let names = WriteOptions {
            proto_names: true,
            ..WriteOptions::default()
        };
        // The node was bytes of this message when the bootstrap was read.
        if let Ok(node) = json::from_wire(NODE, &self.node, names) {
            message.insert("node".into(), node);
        }
        if &*self.need.name != WILDCARD {
            message.insert("resource_names".into(), Value::from(vec![&*self.need.name]));
        }
        message.insert("type_url".into(), self.need.kind.type_url().into());
        let authority = HeaderValue::try_from(&*self.api.cluster);
        let path = HeaderValue::from_static(path(self.need.kind));
        let mut request = Request::new(
            Method::POST,
            // What cannot stand in a header cannot be meant as a host.
            authority.unwrap_or_else(|_| HeaderValue::from_static("")),
            path,
            MAX_ANSWER_BYTES,
        );
        let json = HeaderValue::from_static("application/json");
        request.headers.insert(header::CONTENT_TYPE, json);
        request.body = Value::Object(message).to_string().into();
        request.timeout = Some(self.api.request_timeout);
        request
    }

    /// Until the next request: `refresh_delay`, and up to as much again, so that proxies spread.
    fn pause(&self, random: u64) -> Duration {
        let delay = self.api.refresh_delay;
        let most = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).max(1);
        delay + Duration::from_millis(random % most)
    }
}

fn path(kind: Kind) -> &'static str {
    match kind {
        Kind::Cluster => "/v3/discovery:clusters",
        Kind::Endpoints => "/v3/discovery:endpoints",
        Kind::Extension => "/v3/discovery:extension_configs",
        Kind::Listener => "/v3/discovery:listeners",
        Kind::Routes => "/v3/discovery:routes",
        Kind::Runtime => "/v3/discovery:runtime",
        Kind::Secret => "/v3/discovery:secrets",
    }
}

fn read(body: &[u8]) -> Result<Document, String> {
    let value: Value = serde_json::from_slice(body).map_err(|e| format!("the answer is no JSON: {e}"))?;
    let wire = json::to_wire(file::RESPONSE, &value, ReadOptions::default());
    let (bytes, _) = wire.map_err(|e| format!("the answer is no DiscoveryResponse: {e}"))?;
    Ok(Document::of_response(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::origin::OriginId;

    fn poll(kind: Kind, name: &str, version: &str) -> Poll {
        Poll {
            api: RestApi {
                cluster: "xds".into(),
                refresh_delay: Duration::from_millis(500),
                request_timeout: Duration::from_secs(1),
            },
            need: Need {
                kind,
                origin: OriginId::STATIC,
                name: name.into(),
            },
            node: Bytes::from_static(b"\x0a\x01n"),
            accepted: Rc::new(RefCell::new(version.into())),
            initial_fetch_timeout: Duration::ZERO,
        }
    }

    #[test]
    fn requests_say_what_envoys_say() {
        let first = poll(Kind::Cluster, WILDCARD, "").request();
        assert_eq!(first.path, "/v3/discovery:clusters");
        assert_eq!(
            first.body,
            r#"{"node":{"id":"n"},"type_url":"type.googleapis.com/envoy.config.cluster.v3.Cluster"}"#
        );
        let later = poll(Kind::Routes, "r", "7").request();
        let body: Value = serde_json::from_slice(&later.body).unwrap();
        assert_eq!(body["version_info"], "7");
        assert_eq!(body["resource_names"], serde_json::json!(["r"]));
    }

    #[test]
    fn pauses_are_spread_over_the_delay() {
        let poll = poll(Kind::Cluster, WILDCARD, "");
        assert_eq!(poll.pause(0), Duration::from_millis(500));
        assert_eq!(poll.pause(499), Duration::from_millis(999));
        assert_eq!(poll.pause(500), Duration::from_millis(500));
    }

    #[test]
    fn answers_are_documents_or_say_why_not() {
        let answer = br#"{"version_info": "1", "resources": [
            {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "a"}]}"#;
        let document = read(answer).unwrap();
        assert_eq!((&*document.version, document.resources.len()), ("1", 1));
        assert!(read(b"busy").unwrap_err().contains("no JSON"));
        assert!(read(br#"{"resources": 3}"#).unwrap_err().contains("resources"));
    }
}
