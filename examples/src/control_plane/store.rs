//! What each node shall have: by type and name, with a version that grows with every change.

use std::collections::BTreeMap;

use bytes::Bytes;

/// One resource: its body as it goes into an `Any`, and the version of its last change.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) version: u64,
    pub(super) body: Bytes,
}

/// Resources of one node and type, by name.
pub(super) type Named = BTreeMap<String, Resource>;

#[derive(Debug, Default)]
pub(super) struct Store {
    version: u64,
    nodes: BTreeMap<String, BTreeMap<String, Named>>,
}

impl Store {
    pub(super) fn set(&mut self, node: &str, type_url: &str, name: &str, body: Bytes) {
        let named = self
            .nodes
            .entry(node.to_owned())
            .or_default()
            .entry(type_url.to_owned())
            .or_default();
        if named.get(name).is_some_and(|known| known.body == body) {
            return;
        }
        self.version += 1;
        named.insert(
            name.to_owned(),
            Resource {
                version: self.version,
                body,
            },
        );
    }

    pub(super) fn remove(&mut self, node: &str, type_url: &str, name: &str) {
        let named = self.nodes.get_mut(node).and_then(|types| types.get_mut(type_url));
        if named.is_some_and(|named| named.remove(name).is_some()) {
            self.version += 1;
        }
    }

    pub(super) fn get(&self, node: &str, type_url: &str) -> Named {
        self.nodes
            .get(node)
            .and_then(|types| types.get(type_url))
            .cloned()
            .unwrap_or_default()
    }
}
