//! `exact_balance`: whoever accepts a connection hands it to the worker that has the fewest of this listener. The kernel
//! spreads connections by hash, which leaves a few long-lived ones (gRPC) on one worker.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::mpsc;

use crate::control::Command;

/// The workers' counts of one listener's connections. It lives as long as the listener's sockets.
pub struct ExactBalance {
    /// Choosing and counting are one step: two acceptors must not both choose the same worker. Locked once a connection.
    counts: Mutex<Box<[u32]>>,
    inboxes: Vec<mpsc::UnboundedSender<Command>>,
}

/// A connection's place on a worker, given up when dropped.
#[derive(Debug)]
pub struct Place {
    balance: Arc<ExactBalance>,
    pub worker: usize,
}

impl ExactBalance {
    pub fn new(inboxes: &[mpsc::UnboundedSender<Command>]) -> Arc<Self> {
        Arc::new(Self {
            counts: Mutex::new(vec![0; inboxes.len()].into()),
            inboxes: inboxes.to_vec(),
        })
    }

    /// A place for a connection that `acceptor` accepted: there where no other worker has fewer.
    pub fn place(self: &Arc<Self>, acceptor: usize) -> Place {
        let mut counts = self.counts();
        let worker = least(&counts, acceptor);
        counts[worker] += 1;
        Place {
            balance: self.clone(),
            worker,
        }
    }

    fn counts(&self) -> MutexGuard<'_, Box<[u32]>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The least loaded, `own` among equals: a hand-over costs a wake-up.
fn least(counts: &[u32], own: usize) -> usize {
    let of_worker = |worker: usize| (counts[worker], worker != own);
    (0..counts.len()).min_by_key(|worker| of_worker(*worker)).unwrap_or(own)
}

impl Place {
    /// Sends a connection to its worker.
    pub fn hand_over(self, make: impl FnOnce(Self) -> Command) {
        let inbox = self.balance.inboxes[self.worker].clone();
        // A worker ends only with the process, and its connections with it.
        let _ = inbox.send(make(self));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.balance.counts()[self.worker] -= 1;
    }
}

impl fmt::Debug for ExactBalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ExactBalance").field(&self.counts()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_loaded_is_chosen_and_the_acceptor_among_equals() {
        assert_eq!(least(&[2, 1, 3], 0), 1);
        assert_eq!(least(&[1, 1, 1], 2), 2);
        assert_eq!(least(&[1, 0, 0], 0), 1);
    }

    #[test]
    fn places_are_spread_evenly_and_given_up() {
        let (inbox, _commands) = mpsc::unbounded_channel();
        let balance = ExactBalance::new(&[inbox.clone(), inbox.clone(), inbox]);
        let mut places: Vec<_> = (0..9).map(|_| balance.place(0)).collect();
        assert_eq!(**balance.counts(), [3, 3, 3]);
        places.retain(|place| place.worker != 1);
        assert_eq!(**balance.counts(), [3, 0, 3]);
        places.extend((0..3).map(|_| balance.place(2)));
        assert_eq!(**balance.counts(), [3, 3, 3]);
    }
}
