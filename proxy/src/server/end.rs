//! How the process ends: signals, the drain before it, and what the drain waits for.

use std::{io, pin::pin, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use crate::control::Control;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// SIGTERM, SIGINT: finish what runs, then end.
    Drain,
    /// SIGUSR1: open log files anew.
    ReopenLogs,
}

/// The next signal that means something. SIGHUP is ignored, as by Envoy.
///
/// # Errors
/// Where a signal cannot be watched.
pub fn signals() -> io::Result<impl AsyncFnMut() -> Ending> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut usr1 = signal(SignalKind::user_defined1())?;
    let mut hup = signal(SignalKind::hangup())?;
    Ok(async move || {
        loop {
            tokio::select! {
                _ = term.recv() => return Ending::Drain,
                _ = int.recv() => return Ending::Drain,
                _ = usr1.recv() => return Ending::ReopenLogs,
                _ = hup.recv() => {}
            }
        }
    })
}

/// How often the drain looks whether connections are left.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Drains every listener and returns when no connection is left, when the drain time is over, or at another signal to end.
/// Config goes on changing meanwhile: endpoints and certificates do not wait for us.
pub async fn drain(control: &mut Control, signals: &mut impl AsyncFnMut() -> Ending, time: Duration) {
    control.publisher().drain_for_exit();
    let mut over = pin!(tokio::time::sleep(time));
    // The first look comes later: workers take what waits at their sockets first.
    let mut look = tokio::time::interval_at(Instant::now() + LOOK_AGAIN, LOOK_AGAIN);
    loop {
        let why = tokio::select! {
            () = control.step() => continue,
            _ = look.tick() => match control.publisher().connections() {
                0 => return,
                _ => continue,
            },
            () = &mut over => format!("drain time {time:?} is over"),
            ending = signals() => match ending {
                Ending::Drain => "a second signal to end".to_owned(),
                Ending::ReopenLogs => continue,
            },
        };
        let left = control.publisher().connections();
        tracing::warn!("{why}: {left} connections are cut");
        return;
    }
}
