//! Drains: telling connections to finish and go, and until when.
//!
//! A filter chain owns a [`Drain`]; its connections watch it. An update that replaces the chain, a listener's removal,
//! `/drain_listeners` and SIGTERM start it. What a draining connection does is its codec's: `Connection: close`, GOAWAY.

use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How connections are told: `--drain-strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DrainStrategy {
    /// The share of connections that are told grows from none to all over the drain time.
    #[default]
    Gradual,
    /// Every connection is told at its next chance.
    Immediate,
}

/// An order to drain.
#[derive(Debug, Clone, Copy)]
pub struct DrainOrder {
    pub since: Instant,
    pub time: Duration,
    pub strategy: DrainStrategy,
    /// Connections that are left when `time` is over are closed.
    pub close_at_end: bool,
    /// Connections that carry no request close now: the process is about to end.
    pub close_idle: bool,
}

impl DrainOrder {
    /// Whether a connection that asks now should be told to go; `random` decides for the gradual strategy.
    pub fn applies(&self, now: Instant, random: u64) -> bool {
        match self.strategy {
            DrainStrategy::Immediate => true,
            DrainStrategy::Gradual => {
                let elapsed = now.saturating_duration_since(self.since).as_millis();
                let time = self.time.as_millis().max(1);
                u128::from(random) % time < elapsed
            }
        }
    }

    /// When connections that are left must close.
    pub fn deadline(&self) -> Option<Instant> {
        self.close_at_end.then(|| self.since + self.time)
    }
}

/// The switch; connections hold a [`DrainWatch`] of it.
#[derive(Debug)]
pub struct Drain(watch::Sender<Option<DrainOrder>>);

impl Default for Drain {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Drain {
    /// Starts the drain, or replaces its order.
    pub fn start(&self, order: DrainOrder) {
        self.0.send_replace(Some(order));
    }

    pub fn is_draining(&self) -> bool {
        self.0.borrow().is_some()
    }

    pub fn watch(&self) -> DrainWatch {
        DrainWatch(self.0.subscribe())
    }

    /// Connections that watch.
    pub fn watchers(&self) -> usize {
        self.0.receiver_count()
    }
}

#[derive(Debug, Clone)]
pub struct DrainWatch(watch::Receiver<Option<DrainOrder>>);

impl DrainWatch {
    pub fn order(&self) -> Option<DrainOrder> {
        *self.0.borrow()
    }

    /// Waits for an order; pends for ever where the switch is gone without one.
    pub async fn ordered(&mut self) -> DrainOrder {
        match self.0.wait_for(Option::is_some).await.map(|order| *order) {
            Ok(Some(order)) => order,
            _ => std::future::pending().await,
        }
    }
}
