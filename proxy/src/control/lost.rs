//! What is said of a stream that ends: why, once for each reason, and that it is back.

use std::time::Duration;

/// Why a stream's server is said to be gone; empty while it is not.
#[derive(Debug, Default)]
pub struct Lost(Option<String>);

impl Lost {
    pub fn connected(&mut self, server: &str) {
        // What refuses us opens the stream first: only its next answer tells.
        if self.0.as_deref().is_none_or(|why| !is_refusal(why)) {
            tracing::info!(server, "connected to the control plane");
            self.0 = None;
        }
    }

    /// `asked`: what was to come over the stream.
    pub fn disconnected(&mut self, server: &str, asked: &str, reason: String, retry_in: Duration) {
        if self.0.as_ref() == Some(&reason) {
            return;
        }
        if is_refusal(&reason) {
            // Agents on this machine know us by these (SPIRE's `unix:uid`).
            let (uid, gid) = crate::sys::user_and_group();
            tracing::warn!(
                server,
                "the control plane refuses {asked} to user {uid}, group {gid} ({reason}); the last config stays, next attempt in {retry_in:?}"
            );
        } else {
            tracing::warn!(
                server,
                "the control plane is gone, and with it {asked} ({reason}); the last config stays, next attempt in {retry_in:?}"
            );
        }
        self.0 = Some(reason);
    }

    pub fn answered(&mut self, server: &str) {
        if self.0.take().is_some() {
            tracing::info!(server, "the control plane answers again");
        }
    }
}

/// From a server that was reached and would not, unlike one that was lost.
fn is_refusal(reason: &str) -> bool {
    reason.starts_with("gRPC status")
}
