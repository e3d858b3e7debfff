//! Headers that a route, virtual host, weighted cluster or route configuration adds and removes.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    format::{Facts, Format},
    http::message::{RequestHead, ResponseHead},
};

/// Both directions of one level.
#[derive(Debug, Default)]
pub struct HeaderEdits {
    pub request: HeaderEdit,
    pub response: HeaderEdit,
}

#[derive(Debug, Default)]
pub struct HeaderEdit {
    pub add: Vec<HeaderAddition>,
    pub remove: Vec<HeaderName>,
}

#[derive(Debug)]
pub struct HeaderAddition {
    pub name: EditedHeader,
    pub value: Format,
    pub append: AppendAction,
    /// Add the header even where its value is empty.
    pub keep_empty_value: bool,
}

/// `host`/`:authority`, `:path` and `:method`-like names are fields of the head, not headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditedHeader {
    Authority,
    Path,
    Scheme,
    Method,
    Name(HeaderName),
}

/// `envoy.config.core.v3.HeaderValueOption.HeaderAppendAction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendAction {
    AppendIfExistsOrAdd,
    AddIfAbsent,
    OverwriteIfExistsOrAdd,
    OverwriteIfExists,
}

/// `host` counts as `:authority`; the other pseudo-headers may be edited too.
impl EditedHeader {
    pub fn parse(name: &str) -> Result<Self, String> {
        Ok(match &*name.to_ascii_lowercase() {
            ":authority" | "host" => Self::Authority,
            ":path" => Self::Path,
            ":scheme" => Self::Scheme,
            ":method" => Self::Method,
            other => Self::Name(other.parse().map_err(|_| format!("{name:?} is not a header name"))?),
        })
    }
}

impl HeaderEdit {
    /// Removes, then adds, as Envoy does.
    pub fn apply_to_request(&self, request: &mut RequestHead, facts: Facts<'_>) {
        for name in &self.remove {
            request.headers.remove(name);
        }
        for addition in &self.add {
            let Some(value) = addition.value(&Facts {
                request: Some(request),
                ..facts
            }) else {
                continue;
            };
            match &addition.name {
                EditedHeader::Name(name) => addition.append.apply(&mut request.headers, name, value),
                EditedHeader::Authority => request.authority = value,
                EditedHeader::Path => request.path = value,
                EditedHeader::Scheme => request.scheme = value,
                EditedHeader::Method => {
                    if let Ok(method) = http::Method::from_bytes(value.as_bytes()) {
                        request.method = method;
                    }
                }
            }
        }
    }

    pub fn apply_to_response(&self, response: &mut ResponseHead, facts: Facts<'_>) {
        for name in &self.remove {
            response.headers.remove(name);
        }
        for addition in &self.add {
            let Some(value) = addition.value(&Facts {
                response: Some(response),
                ..facts
            }) else {
                continue;
            };
            // A response has no pseudo-header that an edit could name.
            if let EditedHeader::Name(name) = &addition.name {
                addition.append.apply(&mut response.headers, name, value);
            }
        }
    }
}

impl HeaderAddition {
    /// The value for these facts; `None` where there is nothing to add.
    pub fn value(&self, facts: &Facts<'_>) -> Option<HeaderValue> {
        let mut text = String::new();
        self.value.write(&mut text, facts);
        if text.is_empty() && !self.keep_empty_value {
            return None;
        }
        HeaderValue::try_from(text).ok()
    }
}

impl AppendAction {
    pub fn apply(self, headers: &mut HeaderMap, name: &HeaderName, value: HeaderValue) {
        match self {
            Self::AppendIfExistsOrAdd => {
                headers.append(name, value);
            }
            Self::AddIfAbsent => {
                headers.entry(name).or_insert(value);
            }
            Self::OverwriteIfExistsOrAdd => {
                headers.insert(name, value);
            }
            Self::OverwriteIfExists => {
                if headers.contains_key(name) {
                    headers.insert(name, value);
                }
            }
        }
    }
}
