//! What attribute paths name.

use http::HeaderMap;
use serde_json::{Map, Value};

use crate::{address::Address, format::Facts, http::message::RequestHead, stream_info::TlsInfo};

/// The value at a path; `None`: there is none, or none that is known here.
pub(super) fn value(path: &[String], facts: &Facts<'_>) -> Option<Value> {
    let (root, rest) = path.split_first()?;
    match root.as_str() {
        "node" => down(&node(facts)?, rest),
        "upstream_peer" => down(&facts.info.upstream.peer.as_ref()?.to_json(), rest),
        "downstream_peer" => down(&facts.info.downstream_peer.as_ref()?.to_json(), rest),
        "filter_state" => {
            let (key, rest) = rest.split_first()?;
            let path: Vec<String> = std::iter::once(key).chain(rest).cloned().collect();
            matches!(key.as_str(), "upstream_peer" | "downstream_peer").then(|| value(&path, facts))?
        }
        "metadata" => {
            let (field, rest) = rest.split_first()?;
            let metadata = facts.info.dynamic_metadata.as_deref()?;
            (field == "filter_metadata").then(|| below(metadata, rest))?
        }
        _ => {
            let (name, rest) = rest.split_first()?;
            down(&attribute(root, name, rest, facts)?, deeper(root, name, rest))
        }
    }
}

/// Header maps were looked into already.
fn deeper<'a>(root: &str, name: &str, rest: &'a [String]) -> &'a [String] {
    match (root, name) {
        ("request" | "response", "headers" | "trailers") => rest.get(1..).unwrap_or_default(),
        _ => rest,
    }
}

fn attribute(root: &str, name: &str, rest: &[String], facts: &Facts<'_>) -> Option<Value> {
    let info = facts.info;
    match root {
        "request" => request(name, rest, facts.request?, facts),
        "response" => Some(match name {
            "code" => info.response_code?.into(),
            "code_details" => (*info.response_code_details.as_ref()?).clone().into_owned().into(),
            "grpc_status" => facts.grpc_status()?.into(),
            "headers" => header(&facts.response?.headers, rest.first()?)?,
            "trailers" => header(facts.response_trailers?, rest.first()?)?,
            "size" => info.bytes.sent.into(),
            _ => return None,
        }),
        "source" => address(name, &info.remote_address),
        "destination" => address(name, &info.connection.local_address),
        "connection" => {
            let tls = info.connection.tls.as_deref();
            Some(match name {
                "id" => info.connection.id.into(),
                "mtls" => tls.is_some_and(|tls| tls.peer.is_some()).into(),
                "requested_server_name" => info.connection.requested_server_name.as_deref()?.into(),
                "termination_details" => info.connection_termination_details.as_deref()?.into(),
                _ => return session(name, tls?),
            })
        }
        "upstream" => match name {
            "address" | "port" => address(name, &info.upstream.endpoint.as_ref()?.address),
            "transport_failure_reason" => info.upstream.transport_failure.as_deref().map(Value::from),
            _ => session(name, info.upstream.tls.as_deref()?),
        },
        "xds" => Some(match name {
            "cluster_name" => (*info.upstream.cluster.as_ref()?.name).into(),
            "cluster_metadata" => filters(info.upstream.cluster.as_ref()?.metadata.as_deref()?.into()),
            "route_name" => (*info.route.as_ref()?.name).into(),
            "route_metadata" => filters(info.route.as_ref()?.metadata.as_deref()?.clone()),
            "upstream_host_metadata" => filters(info.upstream.endpoint.as_ref()?.config.metadata.as_deref()?.into()),
            "filter_chain_name" => (*info.connection.filter_chain_name).into(),
            "node" => node(facts)?,
            _ => return None,
        }),
        _ => None,
    }
}

fn request(name: &str, rest: &[String], request: &RequestHead, facts: &Facts<'_>) -> Option<Value> {
    let of = |name: &str| header(&request.headers, name);
    Some(match name {
        "path" => request.path_str().into(),
        "url_path" => request.path_only().into(),
        "query" => request.query().unwrap_or_default().into(),
        "host" => request.authority_str().into(),
        "scheme" => request.scheme.to_str().ok()?.into(),
        "method" => request.method.as_str().into(),
        "headers" => match rest.first()?.as_str() {
            ":authority" => request.authority_str().into(),
            ":path" => request.path_str().into(),
            ":method" => request.method.as_str().into(),
            name => of(name)?,
        },
        "referer" => of("referer")?,
        "useragent" => of("user-agent")?,
        "id" => of("x-request-id")?,
        "protocol" => request.protocol.as_str().into(),
        "size" => facts.info.bytes.received.into(),
        _ => return None,
    })
}

fn session(name: &str, tls: &TlsInfo) -> Option<Value> {
    let peer = || Some(&tls.peer.as_ref()?.certificate);
    Some(match name {
        "tls_version" => tls.version.into(),
        "subject_local_certificate" => tls.local.as_ref()?.subject.as_str().into(),
        "subject_peer_certificate" => peer()?.subject.as_str().into(),
        "uri_san_local_certificate" => tls.local.as_ref()?.uris().next()?.into(),
        "uri_san_peer_certificate" => peer()?.uris().next()?.into(),
        "dns_san_local_certificate" => tls.local.as_ref()?.dns_names().next()?.into(),
        "dns_san_peer_certificate" => peer()?.dns_names().next()?.into(),
        _ => return None,
    })
}

fn address(name: &str, address: &Address) -> Option<Value> {
    match name {
        "address" => Some(address.to_string().into()),
        "port" => Some(address.ip()?.port().into()),
        _ => None,
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<Value> {
    let mut all = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()));
    let first = all.next()?.into_owned();
    Some(all.fold(first, |joined, more| joined + "," + &more).into())
}

/// A message with metadata by filter, as protobuf names it.
fn filters(metadata: Value) -> Value {
    let mut message = Map::new();
    message.insert("filter_metadata".to_owned(), metadata);
    Value::Object(message)
}

fn node(facts: &Facts<'_>) -> Option<Value> {
    let node = facts.node?;
    let mut message = Map::new();
    message.insert("id".to_owned(), (*node.id).into());
    message.insert("cluster".to_owned(), (*node.cluster).into());
    message.insert("metadata".to_owned(), (*node.metadata).clone());
    Some(Value::Object(message))
}

fn down(of: &Value, path: &[String]) -> Option<Value> {
    path.iter().try_fold(of, |at, key| at.get(key.as_str())).cloned()
}

fn below(of: &Map<String, Value>, path: &[String]) -> Option<Value> {
    let (key, rest) = path.split_first()?;
    down(of.get(key)?, rest)
}
