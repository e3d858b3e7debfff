//! Resumption state of contexts. rustls's own stores reserve their capacity at once (36 KB per server context), and the
//! client's is made for browsers (256 names with 8 tickets each), where a context here serves one cluster.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::server::StoresServerSessions;
use rustls_pki_types::ServerName;

/// A client's newest sessions, at most `capacity` of them: Envoy's `max_session_keys`.
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

/// Sessions that a server remembers by id, for clients without tickets.
#[derive(Debug, Default)]
pub(super) struct ServerSessions(Mutex<ServerState>);

#[derive(Debug, Default)]
struct ServerState {
    sessions: HashMap<Vec<u8>, Vec<u8>>,
    oldest_first: VecDeque<Vec<u8>>,
}

/// rustls's own default, enough for a sidecar's concurrent clients.
const STORED_SESSIONS: usize = 256;

impl ServerSessions {
    fn state(&self) -> std::sync::MutexGuard<'_, ServerState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoresServerSessions for ServerSessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let mut state = self.state();
        if state.sessions.insert(key.clone(), value).is_none() {
            state.oldest_first.push_back(key);
        }
        while state.sessions.len() > STORED_SESSIONS
            && let Some(oldest) = state.oldest_first.pop_front()
        {
            state.sessions.remove(&oldest);
        }
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.state().sessions.get(key).cloned()
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut state = self.state();
        let value = state.sessions.remove(key)?;
        state.oldest_first.retain(|stored| stored != key);
        Some(value)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_forgets_the_oldest() {
        let sessions = ServerSessions::default();
        let key = |n: usize| n.to_be_bytes().to_vec();
        for n in 0..=STORED_SESSIONS {
            sessions.put(key(n), vec![1]);
        }
        assert_eq!(sessions.get(&key(0)), None);
        assert_eq!(sessions.get(&key(1)), Some(vec![1]));
        assert_eq!(sessions.take(&key(1)), Some(vec![1]));
        assert_eq!(sessions.take(&key(1)), None);
        sessions.put(key(2), vec![2]);
        assert_eq!(sessions.get(&key(2)), Some(vec![2]));
        let state = sessions.state();
        assert_eq!(state.sessions.len(), state.oldest_first.len());
    }
}
