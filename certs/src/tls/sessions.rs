//! The client's resumption state: a handful of sessions per context, Envoy's `max_session_keys`.
//!
//! rustls's own store is made for browsers (256 names with 8 tickets each); a context here serves one cluster.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls_pki_types::ServerName;

/// The newest sessions, at most `capacity` of them.
#[derive(Debug)]
pub(super) struct Sessions {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tls13: VecDeque<(ServerName<'static>, Tls13ClientSessionValue)>,
    tls12: VecDeque<(ServerName<'static>, Tls12ClientSessionValue)>,
    /// The group that the server last took: saves the round trip of a HelloRetryRequest next time.
    group: Option<NamedGroup>,
}

impl Sessions {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            state: Mutex::default(),
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn keep_newest<T>(queue: &mut VecDeque<T>, item: T, capacity: usize) {
    queue.push_back(item);
    while queue.len() > capacity {
        queue.pop_front();
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, _server_name: ServerName<'static>, group: NamedGroup) {
        self.with(|state| state.group = Some(group));
    }

    fn kx_hint(&self, _server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.with(|state| state.group)
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.with(|state| {
            state.tls12.retain(|(name, _)| *name != server_name);
            keep_newest(&mut state.tls12, (server_name, value), self.capacity);
        });
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.with(|state| {
            state
                .tls12
                .iter()
                .find(|(name, _)| name == server_name)
                .map(|(_, value)| value.clone())
        })
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.with(|state| state.tls12.retain(|(name, _)| name != server_name));
    }

    fn insert_tls13_ticket(&self, server_name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.with(|state| keep_newest(&mut state.tls13, (server_name, value), self.capacity));
    }

    /// Newest first, and only once each (RFC 8446 appendix C.4).
    fn take_tls13_ticket(&self, server_name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.with(|state| {
            let index = state.tls13.iter().rposition(|(name, _)| name == server_name)?;
            state.tls13.remove(index).map(|(_, value)| value)
        })
    }
}
