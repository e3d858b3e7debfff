//! Drains: telling connections to finish and go, and until when.
//!
//! A filter chain owns a [`Drain`]; its connections watch it. An update that replaces the chain, a listener's removal,
//! `/drain_listeners` and SIGTERM start it. What a draining connection does is its codec's: `Connection: close`, GOAWAY.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, futures::OwnedNotified},
    time::sleep_until,
};

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

/// How long the end of the process waits for handshakes under way: tenfold what one takes over a slow line.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);

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

    /// When connections must close that have not finished their TLS handshake: many that are opened ahead never begin one,
    /// and the process does not wait for those.
    pub fn handshake_deadline(&self) -> Option<Instant> {
        if self.close_idle {
            return Some(self.since + self.time.min(HANDSHAKE_PATIENCE));
        }
        self.deadline()
    }
}

/// The switch; connections hold a [`DrainWatch`] of it.
#[derive(Debug, Default)]
pub struct Drain(Arc<Switch>);

#[derive(Debug, Default)]
struct Switch {
    order: Mutex<Option<DrainOrder>>,
    /// Orders so far. Counted and told of under the lock: whoever has read a new order has had its notice too.
    given: AtomicU32,
    news: Arc<Notify>,
}

impl Switch {
    fn order(&self) -> MutexGuard<'_, Option<DrainOrder>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drain {
    /// Starts the drain, or replaces its order.
    pub fn start(&self, new: DrainOrder) {
        let mut order = self.0.order();
        *order = Some(new);
        self.0.given.fetch_add(1, Ordering::Release);
        self.0.news.notify_waiters();
    }

    pub fn is_draining(&self) -> bool {
        self.0.order().is_some()
    }

    /// An order that stands already is told of too.
    pub fn watch(&self) -> DrainWatch {
        DrainWatch {
            switch: self.0.clone(),
            told: 0,
        }
    }

    /// Connections that watch.
    pub fn watchers(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

#[derive(Debug, Clone)]
pub struct DrainWatch {
    switch: Arc<Switch>,
    /// Of the orders that were given, how many this watch was told of or passed over.
    told: u32,
}

impl DrainWatch {
    /// An order that was not told of yet.
    fn news(&mut self) -> Option<DrainOrder> {
        if self.switch.given.load(Ordering::Acquire) == self.told {
            return None;
        }
        self.order()
    }

    /// The order that stands; [`Self::ordered`] tells of the next.
    pub fn order(&mut self) -> Option<DrainOrder> {
        let order = self.switch.order();
        self.told = self.switch.given.load(Ordering::Relaxed);
        *order
    }

    /// Waits for an order that was not told of yet; pends for ever where the switch is gone without one. Safe to cancel.
    pub async fn ordered(&mut self) -> DrainOrder {
        let news = self.switch.news.clone();
        loop {
            // Before the look: no notice may come between the two.
            let notice = news.notified();
            if let Some(order) = self.news() {
                return order;
            }
            notice.await;
        }
    }

    /// For one who looks for orders again and again.
    pub fn orders(self) -> DrainOrders {
        DrainOrders {
            last: None,
            notice: Box::pin(self.switch.news.clone().notified_owned()),
            wakes: None,
            watch: self,
        }
    }

    /// Whoever asks next is told again of the order that stands.
    pub fn rewind(&mut self) {
        self.told = 0;
    }

    /// Keeps `order` up to date, and is ready when its time is over for connections that are left. Safe to cancel.
    pub async fn cut(&mut self, order: &Cell<Option<DrainOrder>>) {
        self.until(order, DrainOrder::deadline).await;
    }

    /// Ready when a drain leaves no more time to a handshake. Safe to cancel.
    pub async fn cut_handshake(&mut self) {
        self.until(&Cell::new(None), DrainOrder::handshake_deadline).await;
    }

    async fn until(&mut self, order: &Cell<Option<DrainOrder>>, end: fn(&DrainOrder) -> Option<Instant>) {
        loop {
            let mut over = pin!(order.get().and_then(|o| end(&o)).map(|at| sleep_until(at.into())));
            let mut ordered = pin!(self.ordered());
            let news = poll_fn(|cx| {
                if let Poll::Ready(news) = ordered.as_mut().poll(cx) {
                    return Poll::Ready(Some(news));
                }
                match over.as_mut().as_pin_mut() {
                    Some(over) => over.poll(cx).map(|()| None),
                    None => Poll::Pending,
                }
            });
            match news.await {
                Some(news) => order.set(Some(news)),
                None => return,
            }
        }
    }
}

/// A watch whose wait for the next order stands between looks: a look, of which a request has four, is then one load and a
/// comparison.
pub struct DrainOrders {
    watch: DrainWatch,
    last: Option<DrainOrder>,
    notice: Pin<Box<OwnedNotified>>,
    /// Whom `notice` wakes.
    wakes: Option<Waker>,
}

impl DrainOrders {
    /// Ready with an order that was not told of yet.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<DrainOrder> {
        loop {
            if let Some(order) = self.news() {
                return Poll::Ready(order);
            }
            if self.wakes.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            self.wakes = match self.notice.as_mut().poll(cx) {
                Poll::Pending => Some(cx.waker().clone()),
                // Of an order that was told of.
                Poll::Ready(()) => {
                    self.notice.set(self.watch.switch.news.clone().notified_owned());
                    None
                }
            };
        }
    }

    /// The order that stands; [`Self::poll_next`] tells of the next.
    pub fn order(&mut self) -> Option<DrainOrder> {
        self.news();
        self.last
    }

    fn news(&mut self) -> Option<DrainOrder> {
        let order = self.watch.news()?;
        self.last = Some(order);
        // The notice came with it.
        self.wakes = None;
        Some(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(time: Duration, close_at_end: bool) -> DrainOrder {
        DrainOrder {
            since: Instant::now(),
            time,
            strategy: DrainStrategy::Immediate,
            close_at_end,
            close_idle: false,
        }
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(test)
    }

    #[test]
    fn an_order_is_told_of_once_also_where_it_stood_before() {
        run(async {
            let drain = Drain::default();
            drain.start(order(Duration::ZERO, false));
            let mut watch = drain.watch();
            watch.ordered().await;
            let again = tokio::time::timeout(Duration::from_millis(20), watch.ordered());
            assert!(again.await.is_err());
            watch.rewind();
            watch.ordered().await;
        });
    }

    #[test]
    fn a_standing_wait_tells_of_each_order_once() {
        run(async {
            let drain = Drain::default();
            let mut orders = drain.watch().orders();
            assert!(orders.order().is_none());
            for close_at_end in [false, true] {
                let (next, ()) = tokio::join!(poll_fn(|cx| orders.poll_next(cx)), async {
                    tokio::task::yield_now().await;
                    drain.start(order(Duration::ZERO, close_at_end));
                });
                assert_eq!(next.close_at_end, close_at_end);
            }
            assert!(
                orders.order().is_some_and(|o| o.close_at_end),
                "what was told still stands"
            );
            let again = tokio::time::timeout(Duration::from_millis(20), poll_fn(|cx| orders.poll_next(cx)));
            assert!(again.await.is_err());
        });
    }

    #[test]
    fn the_last_order_says_when_connections_are_cut() {
        run(async {
            let drain = Drain::default();
            let mut watch = drain.watch();
            let kept = Cell::new(None);
            drain.start(order(Duration::ZERO, false));
            let cut = tokio::time::timeout(Duration::from_millis(20), watch.cut(&kept));
            assert!(cut.await.is_err(), "an order without end cuts nothing");
            assert!(kept.get().is_some());
            drain.start(order(Duration::ZERO, true));
            watch.cut(&kept).await;
        });
    }

    #[test]
    fn the_end_of_the_process_does_not_wait_for_handshakes() {
        let patient = order(Duration::from_secs(600), true);
        assert_eq!(patient.handshake_deadline(), patient.deadline());
        let ending = DrainOrder {
            close_idle: true,
            ..patient
        };
        assert!(ending.handshake_deadline() < ending.deadline());
    }

    #[test]
    fn a_gradual_drain_tells_more_and_more() {
        let gradual = DrainOrder {
            strategy: DrainStrategy::Gradual,
            ..order(Duration::from_secs(100), true)
        };
        let told = |after: u64| {
            let now = gradual.since + Duration::from_secs(after);
            (0..100_000).filter(|random| gradual.applies(now, *random)).count()
        };
        assert_eq!([told(0), told(25), told(100)], [0, 25_000, 100_000]);
    }
}
