//! Drains: telling connections to finish and go, and until when.
//!
//! A filter chain owns a [`Drain`]; its connections watch it. An update that replaces the chain, a listener's removal,
//! `/drain_listeners` and SIGTERM start it. What a draining connection does is its codec's: `Connection: close`, GOAWAY.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::sleep_until};

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

    /// An order that stands already is told of too.
    pub fn watch(&self) -> DrainWatch {
        let mut watch = self.0.subscribe();
        watch.mark_changed();
        DrainWatch(watch)
    }

    /// Connections that watch.
    pub fn watchers(&self) -> usize {
        self.0.receiver_count()
    }
}

#[derive(Debug, Clone)]
pub struct DrainWatch(watch::Receiver<Option<DrainOrder>>);

impl DrainWatch {
    /// The order that stands; [`Self::ordered`] tells of the next.
    pub fn order(&mut self) -> Option<DrainOrder> {
        *self.0.borrow_and_update()
    }

    /// Waits for an order that was not told of yet; pends for ever where the switch is gone without one. Safe to cancel.
    pub async fn ordered(&mut self) -> DrainOrder {
        loop {
            if self.0.changed().await.is_err() {
                return std::future::pending().await;
            }
            if let Some(order) = self.order() {
                return order;
            }
        }
    }

    /// For one who looks for orders again and again.
    pub fn orders(self) -> DrainOrders {
        DrainOrders {
            last: None,
            next: Box::pin(self.next()),
        }
    }

    async fn next(mut self) -> (Self, DrainOrder) {
        let order = self.ordered().await;
        (self, order)
    }

    /// Whoever asks next is told again of the order that stands.
    pub fn rewind(&mut self) {
        self.0.mark_changed();
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

/// A watch whose wait for the next order stands between looks: to begin one and give it up, three times a request, would cost
/// more than what is looked for, which next to no request finds.
pub struct DrainOrders {
    last: Option<DrainOrder>,
    next: Pin<Box<dyn Future<Output = (DrainWatch, DrainOrder)>>>,
}

impl DrainOrders {
    /// Ready with an order that was not told of yet.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<DrainOrder> {
        let (watch, order) = ready!(self.next.as_mut().poll(cx));
        self.next = Box::pin(watch.next());
        self.last = Some(order);
        Poll::Ready(order)
    }

    /// The order that stands; [`Self::poll_next`] tells of the next.
    pub fn order(&mut self) -> Option<DrainOrder> {
        let _ = self.poll_next(&mut Context::from_waker(Waker::noop()));
        self.last
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
