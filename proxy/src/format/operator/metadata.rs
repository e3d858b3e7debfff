//! Metadata of the stream, its route, virtual host, cluster and endpoint.

use std::borrow::Cow;

use serde_json::Value;

use super::{Argument, Facts, put};

/// `NAMESPACE:KEY:KEY...` in the metadata of something.
#[derive(Debug)]
pub(in crate::format) struct Metadata {
    of: Of,
    namespace: Box<str>,
    keys: Vec<Box<str>>,
}

#[derive(Debug, Clone, Copy)]
enum Of {
    Stream,
    Route,
    Cluster,
    Endpoint,
    /// Listeners, filter chains and virtual hosts: theirs is not kept.
    Absent,
}

impl Metadata {
    pub(super) fn parse(name: &str, argument: Argument<'_>) -> Option<Result<Self, String>> {
        Some(match name {
            "DYNAMIC_METADATA" => argument.wanted().map(|path| Self::new(Of::Stream, path)),
            "CLUSTER_METADATA" => argument.wanted().map(|path| Self::new(Of::Cluster, path)),
            "UPSTREAM_METADATA" => argument
                .wanted()
                .map(|path| match serde_json::from_str::<Vec<String>>(path) {
                    // `["namespace", "key"]`, the older form.
                    Ok(parts) => Self::new(Of::Endpoint, &parts.join(":")),
                    Err(_) => Self::new(Of::Endpoint, path),
                }),
            "METADATA" => argument.wanted().and_then(|argument| {
                let (kind, path) = argument.split_once(':').unwrap_or((argument, ""));
                let of = match kind {
                    "DYNAMIC" => Of::Stream,
                    "CLUSTER" => Of::Cluster,
                    "ROUTE" => Of::Route,
                    "UPSTREAM_HOST" => Of::Endpoint,
                    "LISTENER" | "LISTENER_FILTER_CHAIN" | "VIRTUAL_HOST" => Of::Absent,
                    _ => {
                        return Err(format!(
                            "{kind:?} is not a kind of metadata: DYNAMIC, ROUTE, CLUSTER, UPSTREAM_HOST, LISTENER, \
                             LISTENER_FILTER_CHAIN, VIRTUAL_HOST"
                        ));
                    }
                };
                Ok(Self::new(of, path))
            }),
            _ => return None,
        })
    }

    fn new(of: Of, path: &str) -> Self {
        let mut parts = path.split(':').map(Box::from);
        Self {
            of,
            namespace: parts.next().unwrap_or_default(),
            keys: parts.collect(),
        }
    }

    fn value<'a>(&self, facts: &Facts<'a>) -> Option<Cow<'a, Value>> {
        let upstream = &facts.info.upstream;
        let namespace = match self.of {
            Of::Stream => facts.info.dynamic_metadata.as_deref()?.get(&*self.namespace),
            Of::Route => facts.info.route.as_deref()?.metadata.as_deref()?.get(&*self.namespace),
            Of::Cluster => return self.within(upstream.cluster.as_deref()?.metadata.as_deref()?),
            Of::Endpoint => return self.within(upstream.endpoint.as_deref()?.config.metadata.as_deref()?),
            Of::Absent => None,
        };
        let found = self.keys.iter().try_fold(namespace?, |at, key| at.get(&**key));
        found.map(Cow::Borrowed)
    }

    fn within(&self, metadata: &crate::metadata::Metadata) -> Option<Cow<'static, Value>> {
        let mut path = [&self.namespace].into_iter().chain(&self.keys);
        let found = path.try_fold(metadata, |at, key| at.get(key))?;
        Some(Cow::Owned(found.into()))
    }

    /// In JSON logs, what is no text stays what it is; Envoy makes text of an endpoint's numbers alone.
    pub(super) fn typed<'a>(&self, facts: &Facts<'a>) -> Option<Cow<'a, Value>> {
        let number_as_text = matches!(self.of, Of::Endpoint);
        let typed = |value: &Cow<'_, Value>| match &**value {
            Value::Null | Value::String(_) => false,
            Value::Number(_) => !number_as_text,
            _ => true,
        };
        self.value(facts).filter(typed)
    }

    /// A string as it is, anything else as JSON.
    pub(super) fn write(&self, out: &mut String, facts: &Facts<'_>) -> bool {
        match self.value(facts).as_deref() {
            None | Some(Value::Null) => false,
            Some(Value::String(text)) => put(out, text),
            Some(other) => put(out, other),
        }
    }
}
