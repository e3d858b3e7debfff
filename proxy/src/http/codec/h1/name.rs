//! Header names: from bytes without allocating each time, and to bytes in the configured spelling.

use std::cell::RefCell;

use http::HeaderName;

use crate::{cluster::HeaderCase, http::message::Spelling};

/// Names kept per worker. Requests through one sidecar repeat a few dozen; a flood of fresh ones only replaces slots.
const SLOTS: usize = 128;
/// Longer names are not kept.
const KEPT_NAME_LEN: usize = 64;

thread_local! {
    /// Direct-mapped. The `http` crate allocates for each name that it does not know (`x-request-id` and the like).
    static NAMES: RefCell<Vec<Option<HeaderName>>> = const { RefCell::new(Vec::new()) };
}

/// Lets go of the names that the calling thread keeps.
pub(super) fn forget() {
    NAMES.take();
}

/// The lower-case name. None where it is not a token.
pub(super) fn intern(raw: &str) -> Option<HeaderName> {
    NAMES.with_borrow_mut(|names| {
        if names.is_empty() {
            names.resize(SLOTS, None);
        }
        let slot = &mut names[slot_of(raw.as_bytes())];
        if let Some(name) = slot
            && (name.as_str() == raw || name.as_str().eq_ignore_ascii_case(raw))
        {
            return Some(name.clone());
        }
        let name = HeaderName::from_bytes(raw.as_bytes()).ok()?;
        if raw.len() <= KEPT_NAME_LEN {
            *slot = Some(name.clone());
        }
        Some(name)
    })
}

/// Length, both ends and the middle tell header names apart well enough.
fn slot_of(raw: &[u8]) -> usize {
    let at = |i: usize| usize::from(raw.get(i).copied().unwrap_or(0) | 0x20);
    let n = raw.len();
    (n * 31 + at(0) * 7 + at(n / 2) * 13 + at(n.wrapping_sub(2)) * 5 + at(n.wrapping_sub(1)) * 3) % SLOTS
}

/// Writes names as the head's sender spelled them, else in the connection's format.
pub(super) struct NameWriter<'a> {
    spelling: Option<&'a Spelling>,
    cursor: usize,
    proper_case: bool,
}

impl<'a> NameWriter<'a> {
    pub(super) fn new(spelling: Option<&'a Spelling>, case: HeaderCase) -> Self {
        let spelling = spelling.filter(|spelling| !spelling.is_empty());
        Self {
            spelling,
            cursor: 0,
            proper_case: spelling.is_none() && case == HeaderCase::Proper,
        }
    }

    pub(super) fn write(&mut self, out: &mut Vec<u8>, name: &str) {
        if let Some(spelled) = self.spelling.and_then(|spelling| spelling.find(&mut self.cursor, name)) {
            out.extend_from_slice(spelled);
            return;
        }
        let start = out.len();
        out.extend_from_slice(name.as_bytes());
        if self.proper_case {
            proper_case(&mut out[start..]);
        }
    }
}

/// As Envoy's `proper_case_words`: the first letter and each that follows something else than a letter or digit.
fn proper_case(name: &mut [u8]) {
    let mut first = true;
    for b in name {
        if first {
            b.make_ascii_uppercase();
        }
        first = !b.is_ascii_alphanumeric();
    }
}
