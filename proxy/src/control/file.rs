//! Files that hold a `DiscoveryResponse` (`path_config_source`): read, watched, read again when they are replaced.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use certs::source::FileSource;
use tokio::sync::mpsc;
use xds_client::Resource;

use super::sources::{Heard, StreamId};
use crate::{bootstrap, config::wire};

/// What a file holds.
#[derive(Debug)]
pub struct Document {
    pub version: Arc<str>,
    /// With their type URLs.
    pub resources: Vec<(String, Resource)>,
}

pub(super) const RESPONSE: &str = "envoy.service.discovery.v3.DiscoveryResponse";
const WRAPPER: &str = "type.googleapis.com/envoy.service.discovery.v3.Resource";
/// Numbers of fields: of `DiscoveryResponse`, `Any`, `Resource`, and of the name in every kind of resource.
const VERSION_INFO: u32 = 1;
const RESOURCES: u32 = 2;
const TYPE_URL: u32 = 1;
const VALUE: u32 = 2;
const WRAPPED: u32 = 2;
const NAME: u32 = 1;

/// Tells what the file holds now and whenever it changes, until the task is aborted.
pub async fn follow(
    path: Arc<str>,
    watched_directory: Option<Arc<str>>,
    id: StreamId,
    outbox: mpsc::Sender<(StreamId, Heard)>,
) {
    let file = Path::new(&*path).to_owned();
    let mut source = FileSource::new(vec![file.clone()], watched_directory.as_deref().map(Path::new));
    let mut contents = source.contents();
    loop {
        let document = match contents.get(&file) {
            Ok(bytes) => read(&file, bytes).map_err(|e| format!("{path}: {e}")),
            Err(e) => Err(e.to_string()),
        };
        if outbox.send((id.clone(), Heard::File(document))).await.is_err() {
            return;
        }
        contents = source.changed().await;
    }
}

fn read(path: &Path, bytes: &[u8]) -> Result<Document, String> {
    let response = bootstrap::message(RESPONSE, path, bytes)?;
    Ok(Document::of_response(&response))
}

impl Document {
    /// Of the bytes of a `DiscoveryResponse`.
    pub fn of_response(response: &[u8]) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let version: Arc<str> = wire::repeated(response, VERSION_INFO)
            .last()
            .map_or_else(Default::default, |v| text(v).into());
        let mut resources = Vec::new();
        for any in wire::repeated(response, RESOURCES) {
            let (type_url, body) = unwrapped(any);
            let name = wire::repeated(body, NAME).last().map(text).unwrap_or_default();
            resources.push((
                text(type_url),
                Resource {
                    name: name.into(),
                    aliases: Vec::new(),
                    version: version.clone(),
                    body: Bytes::copy_from_slice(body),
                    ttl: None,
                },
            ));
        }
        Self { version, resources }
    }
}

/// Type URL and bytes of an Any, or of the one inside a `Resource`.
fn unwrapped(any: &[u8]) -> (&[u8], &[u8]) {
    let field = |message, number| wire::repeated(message, number).last().unwrap_or_default();
    let (type_url, value) = (field(any, TYPE_URL), field(any, VALUE));
    if type_url == WRAPPER.as_bytes() {
        let inner = field(value, WRAPPED);
        return (field(inner, TYPE_URL), field(inner, VALUE));
    }
    (type_url, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_with_two_kinds() {
        let text = br#"
version_info: v7
resources:
- "@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
  cluster_name: eds
- "@type": type.googleapis.com/envoy.service.discovery.v3.Resource
  name: s
  resource:
    "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
    name: s
"#;
        let document = read(Path::new("eds.yaml"), text).unwrap();
        assert_eq!(&*document.version, "v7");
        let names: Vec<_> = document.resources.iter().map(|(_, r)| &*r.name).collect();
        assert_eq!(names, ["eds", "s"]);
        assert!(document.resources[1].0.ends_with(".Secret"));
    }

    #[test]
    fn a_torn_file_is_said() {
        let why = read(Path::new("lds.json"), b"{\"resources\": [").unwrap_err();
        assert!(why.contains("JSON"), "{why}");
    }
}
