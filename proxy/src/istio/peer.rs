//! A workload as Istio's proxies tell each other: a Struct of node metadata, of which these fields are read and written.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose},
};
use serde_json::{Map, Value};
use xds_api::{
    Message,
    json::from_struct,
    pb::{self, value::Kind},
};

const NAME: &str = "NAME";
const NAMESPACE: &str = "NAMESPACE";
const OWNER: &str = "OWNER";
const WORKLOAD_NAME: &str = "WORKLOAD_NAME";
const CLUSTER_ID: &str = "CLUSTER_ID";
const LABELS: &str = "LABELS";
const CANONICAL_NAME: &str = "service.istio.io/canonical-name";
const CANONICAL_REVISION: &str = "service.istio.io/canonical-revision";
const APP: &str = "app";
const VERSION: &str = "version";

/// What an owner begins with; the namespace, the kind and the workload follow.
const OWNER_PREFIX: &str = "kubernetes://apis/apps/v1/namespaces/";
/// Kinds of workloads, as `s`-less path segments of an owner.
const KINDS: [&str; 4] = ["pod", "deployment", "job", "cronjob"];

/// Longer ones are no workload's (Istio's own are a few hundred bytes).
const MAX_BYTES: usize = 64 * 1024;

/// Some senders pad, some do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A workload. What is not known of it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// Tells peers apart within a worker; 0: none was given.
    pub number: u64,
    /// The pod.
    pub instance: Box<str>,
    pub namespace: Box<str>,
    pub workload: Box<str>,
    pub cluster: Box<str>,
    pub canonical_name: Box<str>,
    pub canonical_revision: Box<str>,
    pub app: Box<str>,
    pub version: Box<str>,
    /// `deployment`, `pod`...; empty where the owner does not tell.
    pub kind: &'static str,
    /// The other labels, in their order.
    pub labels: Box<[(Box<str>, Box<str>)]>,
}

impl Peer {
    /// From `node.metadata`, or what another proxy made of its own.
    pub fn from_metadata(metadata: &Value) -> Self {
        let text = |key: &str| -> Box<str> { metadata.get(key).and_then(Value::as_str).unwrap_or_default().into() };
        let mut peer = Self {
            instance: text(NAME),
            namespace: text(NAMESPACE),
            workload: text(WORKLOAD_NAME),
            cluster: text(CLUSTER_ID),
            ..Self::default()
        };
        peer.kind = kind_of_owner(&text(OWNER), &peer.workload);
        let mut others = Vec::new();
        for (key, value) in metadata.get(LABELS).and_then(Value::as_object).into_iter().flatten() {
            let value: Box<str> = value.as_str().unwrap_or_default().into();
            match key.as_str() {
                CANONICAL_NAME => peer.canonical_name = value,
                CANONICAL_REVISION => peer.canonical_revision = value,
                APP => peer.app = value,
                VERSION => peer.version = value,
                other => others.push((other.into(), value)),
            }
        }
        peer.labels = others.into();
        peer
    }

    /// From the bytes of a `google.protobuf.Struct`.
    pub fn from_struct(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_BYTES {
            return None;
        }
        let fields = pb::Struct::decode(bytes).ok()?;
        Some(Self::from_metadata(&Value::Object(from_struct(&fields))))
    }

    /// From the value of `x-envoy-peer-metadata`.
    pub fn from_base64(value: &[u8]) -> Option<Self> {
        Self::from_struct(&BASE64.decode(value).ok()?)
    }

    /// From an endpoint's metadata: `workload;namespace;service;revision;cluster`, which more may follow.
    pub fn from_endpoint(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let mut next = || parts.next();
        let (workload, namespace, canonical_name) = (next()?, next()?, next()?);
        let (canonical_revision, cluster) = (next()?, next()?);
        Some(Self {
            workload: workload.into(),
            namespace: namespace.into(),
            canonical_name: canonical_name.into(),
            canonical_revision: canonical_revision.into(),
            cluster: cluster.into(),
            ..Self::default()
        })
    }

    /// The bytes of a Struct, its keys in order; of the other labels only those named.
    pub fn to_struct(&self, additional_labels: &[Box<str>]) -> pb::Struct {
        let mut labels = pb::Struct::default();
        for (key, value) in [
            (CANONICAL_NAME, &self.canonical_name),
            (CANONICAL_REVISION, &self.canonical_revision),
            (APP, &self.app),
            (VERSION, &self.version),
        ] {
            put(&mut labels, key, value);
        }
        for (key, value) in self.labels.iter().filter(|(key, _)| additional_labels.contains(key)) {
            labels.fields.insert(key.to_string(), string(value));
        }
        let mut all = pb::Struct::default();
        put(&mut all, NAME, &self.instance);
        put(&mut all, NAMESPACE, &self.namespace);
        put(&mut all, WORKLOAD_NAME, &self.workload);
        put(&mut all, CLUSTER_ID, &self.cluster);
        all.fields.insert(LABELS.to_owned(), value(Kind::StructValue(labels)));
        if !self.kind.is_empty() {
            let owner = format!("{OWNER_PREFIX}{}/{}s/{}", self.namespace, self.kind, self.workload);
            put(&mut all, OWNER, &owner);
        }
        all
    }

    /// The value of `x-envoy-peer-metadata`.
    pub fn to_base64(&self, additional_labels: &[Box<str>]) -> String {
        general_purpose::STANDARD.encode(self.to_struct(additional_labels).encode_to_vec())
    }

    /// As expressions see it (`upstream_peer.labels['x']`).
    pub fn to_json(&self) -> Value {
        let mut all = Map::new();
        for (key, value) in [
            ("type", self.kind),
            ("workload", &self.workload),
            ("name", &self.instance),
            ("cluster", &self.cluster),
            ("namespace", &self.namespace),
            ("service", &self.canonical_name),
            ("revision", &self.canonical_revision),
            ("app", &self.app),
            ("version", &self.version),
        ] {
            if !value.is_empty() {
                all.insert(key.to_owned(), value.into());
            }
        }
        let labels = self
            .labels
            .iter()
            .map(|(key, value)| (key.to_string(), (**value).into()));
        all.insert("labels".to_owned(), Value::Object(labels.collect()));
        Value::Object(all)
    }
}

fn put(fields: &mut pb::Struct, key: &str, text: &str) {
    if !text.is_empty() {
        fields.fields.insert(key.to_owned(), string(text));
    }
}

pub(super) fn string(text: &str) -> pb::Value {
    value(Kind::StringValue(text.to_owned()))
}

pub(super) fn value(kind: Kind) -> pb::Value {
    pb::Value { kind: Some(kind) }
}

/// The segment before the workload's name, without its plural's `s`.
fn kind_of_owner(owner: &str, workload: &str) -> &'static str {
    let Some(rest) = owner
        .len()
        .checked_sub(workload.len() + 2)
        .and_then(|end| owner.get(..end))
    else {
        return "";
    };
    let last = rest.rsplit('/').next().unwrap_or_default();
    KINDS.iter().find(|kind| **kind == last).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node() -> Value {
        json!({
            "NAME": "client-v1", "NAMESPACE": "demo", "WORKLOAD_NAME": "client-v1", "CLUSTER_ID": "Kubernetes",
            "OWNER": "kubernetes://apis/apps/v1/namespaces/demo/deployments/client-v1", "MESH_ID": "cluster.local",
            "LABELS": {"app": "client", "version": "v1", "istio": "client", "role": "x",
                "service.istio.io/canonical-name": "client", "service.istio.io/canonical-revision": "v1"},
        })
    }

    #[test]
    fn what_a_proxy_tells_of_itself_is_what_the_other_reads() {
        let own = Peer::from_metadata(&node());
        assert_eq!(
            (own.kind, &*own.canonical_revision, own.labels.len()),
            ("deployment", "v1", 2)
        );
        let told = own.to_base64(&["role".into()]);
        let seen = Peer::from_base64(told.as_bytes()).unwrap();
        assert_eq!(*seen.labels, [("role".into(), "x".into())]);
        let same = Peer {
            labels: own.labels.clone(),
            ..seen
        };
        assert_eq!(same, own);
        assert_eq!(
            Peer::from_base64(told.trim_end_matches('=').as_bytes())
                .unwrap()
                .workload,
            own.workload
        );
        assert_eq!(told, own.to_base64(&["role".into()]), "the same bytes each time");
    }

    /// As Istio's own library writes it: keys sorted, each an entry of the map.
    #[test]
    fn the_encoding_is_the_deterministic_one() {
        let peer = Peer {
            namespace: "demo".into(),
            app: "a".into(),
            ..Peer::default()
        };
        let bytes = peer.to_struct(&[]).encode_to_vec();
        let expected = b"\x0a\x18\x0a\x06LABELS\x12\x0e\x2a\x0c\x0a\x0a\x0a\x03app\x12\x03\x1a\x01a\
            \x0a\x13\x0a\x09NAMESPACE\x12\x06\x1a\x04demo";
        assert_eq!(bytes, expected);
    }

    #[test]
    fn an_endpoint_tells_five_things() {
        let peer = Peer::from_endpoint("server-v1;demo;server;v1;Kubernetes").unwrap();
        assert_eq!(
            (&*peer.workload, &*peer.namespace, &*peer.cluster),
            ("server-v1", "demo", "Kubernetes")
        );
        assert_eq!(Peer::from_endpoint("server-v1;demo;server;v1"), None);
    }

    #[test]
    fn what_is_no_workload_is_none() {
        for bad in ["?", "AAAA", "CgA"] {
            let _ = Peer::from_base64(bad.as_bytes());
        }
        assert_eq!(Peer::from_base64(b"?"), None);
        assert_eq!(kind_of_owner("x", "long-workload"), "");
        assert_eq!(kind_of_owner("a/b/statefulsets/w", "w"), "");
    }
}
