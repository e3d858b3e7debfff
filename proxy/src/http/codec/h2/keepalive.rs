//! Keepalive: PINGs on a clock, and the verdict when one stays unanswered.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use ::h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{frames::News, settings::Keepalive};

/// Drives the PINGs of one connection.
pub(super) struct Pinger {
    settings: Keepalive,
    pings: PingPong,
    /// Boxed: most connections have none, and a timer is large.
    timer: Pin<Box<Sleep>>,
    waiting: bool,
    /// Bytes that arrive prove life as well as an answer does, and a PONG may be stuck behind them.
    news: Rc<News>,
}

/// A PING stayed unanswered for `Keepalive::timeout`.
#[derive(Debug)]
pub(super) struct Dead;

/// Farther than any connection lives; an `Instant` must not overflow.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

impl Pinger {
    pub(super) fn new(settings: Keepalive, pings: PingPong, news: Rc<News>) -> Self {
        let timer = Box::pin(sleep_until(Instant::now() + next(&settings)));
        Self {
            settings,
            pings,
            timer,
            waiting: false,
            news,
        }
    }

    /// Pings at once unless a PING is under way: a new stream starts on a connection that was idle for long.
    pub(super) fn ping_now(&mut self) {
        if !self.waiting {
            self.send();
        }
    }

    /// Ready when the peer is dead. Poll it before the connection, so that a PING it queues is written at once.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Dead> {
        loop {
            if self.waiting && self.pings.poll_pong(cx).is_ready() {
                self.waiting = false;
                self.timer.as_mut().reset(Instant::now() + next(&self.settings));
            }
            ready!(self.timer.as_mut().poll(cx));
            if !self.waiting {
                self.send();
            } else if self.news.heard.replace(false) {
                self.timer.as_mut().reset(Instant::now() + self.settings.timeout);
            } else {
                return Poll::Ready(Dead);
            }
        }
    }

    fn send(&mut self) {
        // An error means that the connection is closing, which its own poll reports.
        self.waiting = self.pings.send_ping(Ping::opaque()).is_ok();
        self.news.heard.set(false);
        let wait = if self.waiting {
            self.settings.timeout
        } else {
            next(&self.settings)
        };
        self.timer.as_mut().reset(Instant::now() + wait);
    }
}

fn next(settings: &Keepalive) -> Duration {
    if settings.interval.is_zero() {
        return NEVER;
    }
    let random = RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64;
    settings
        .interval
        .mul_f64(1.0 + settings.jitter.clamp(0.0, 1.0) * random)
        .min(NEVER)
}
