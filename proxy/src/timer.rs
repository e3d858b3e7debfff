//! A timer that stays armed while deadlines move.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::time::{Sleep, sleep_until};

/// One task's timer. It is made when first needed and serves one deadline after another, the requests of a connection and
/// the idle time between them: arming one for each would cost a request more than most of what it does.
#[derive(Debug, Default)]
pub struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Whether it wakes the task that last polled it, and only after `now`: while a deadline only moves away, that is enough.
    pub fn wakes_after(&self, now: Instant) -> bool {
        self.0.as_ref().is_some_and(|sleep| sleep.deadline() > now.into())
    }

    /// Ready once `deadline` has passed; otherwise the task wakes then, or earlier to look again.
    pub fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = deadline.into();
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            // It was armed for a deadline that has since moved.
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    #[test]
    fn a_deadline_may_move_either_way() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut timer = Timer::default();
            let start = Instant::now();
            let (far, near) = (start + Duration::from_secs(3600), start + Duration::from_millis(5));
            let pending = poll_fn(|cx| Poll::Ready(timer.poll(far, cx).is_pending()));
            assert!(pending.await);
            poll_fn(|cx| timer.poll(near, cx)).await;
            assert!(Instant::now() >= near, "sooner than it was armed for");
            // What fired for an earlier deadline is armed again for the next.
            let next = Instant::now() + Duration::from_millis(5);
            let later = next + Duration::from_millis(5);
            let _ = poll_fn(|cx| Poll::Ready(timer.poll(next, cx))).await;
            poll_fn(|cx| timer.poll(later, cx)).await;
            assert!(Instant::now() >= later, "a deadline that moved away is not yet over");
        });
    }
}
