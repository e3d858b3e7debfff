//! Every protocol limit of the codecs, with its reason and the CVE that it answers.

/// Largest request or response head in KiB, unless the config says otherwise: Envoy's `max_request_headers_kb` default.
pub const MAX_HEADERS_KB: u32 = 60;
/// Most header fields in one head: Envoy's `max_headers_count` default.
pub const MAX_HEADERS_COUNT: u32 = 100;
