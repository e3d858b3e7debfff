//! How the process ends: signals, the drain before it, and what the drain waits for.

use std::{io, time::Duration};

use tokio::signal::unix::{SignalKind, signal};

use crate::control::publisher::Publisher;

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

/// Drains every listener and returns when no connection is left, or when the drain time is over.
pub async fn drain(publisher: &mut Publisher, time: Duration) {
    publisher.drain_for_exit();
    let gone = async {
        loop {
            // Workers take what waits at their sockets first.
            tokio::time::sleep(LOOK_AGAIN).await;
            if publisher.connections() == 0 {
                break;
            }
        }
    };
    if tokio::time::timeout(time, gone).await.is_err() {
        tracing::warn!(
            "drain time {time:?} is over: {} connections are cut",
            publisher.connections()
        );
    }
}
