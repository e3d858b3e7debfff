//! Headers that a route, virtual host, weighted cluster or route configuration adds and removes.

use http::HeaderName;

use crate::{
    format::{Facts, Format},
    http::message::{RequestHead, ResponseHead},
    stream_info::StreamInfo,
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

impl HeaderEdit {
    pub fn apply_to_request(&self, request: &mut RequestHead, info: &StreamInfo) {
        for name in &self.remove {
            request.headers.remove(name);
        }
        let _ = info;
    }

    pub fn apply_to_response(&self, response: &mut ResponseHead, facts: Facts<'_>) {
        for name in &self.remove {
            response.headers.remove(name);
        }
        let _ = facts;
    }
}
