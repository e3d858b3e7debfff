//! HTTP/2 (RFC 9113) on the `h2` crate, both sides, behind the poll-based interface of [`super`].
//!
//! `h2` owns frames, HPACK, windows and the stream state machine; this module owns what Envoy decides on top of them: heads in
//! [`super::super::message`]'s shape, extended CONNECT as an upgrade, header limits, reset and GOAWAY semantics, keepalive. A
//! connection is polled by one task; its streams may be polled by others of the same thread.
//!
//! Memory is bounded per stream by the receive window, [`super::limits::H2_SEND_BUFFER`], and what the caller queues.

mod body;
mod client;
mod client_stream;
mod error;
mod frames;
mod head;
mod keepalive;
mod refused;
mod request;
mod response;
mod server;
mod server_stream;
mod settings;
mod wire;

#[cfg(test)]
mod tests;

pub use self::{
    client::{ClientConnection, ClientDriver},
    client_stream::ClientStream,
    error::is_limit,
    server::{Accepted, Refusal, ServerConnection, TOO_MANY_PREMATURE_RESETS},
    server_stream::ServerStream,
    settings::{ClientSettings, FloodLimits, Keepalive, ServerSettings},
};
pub use ::h2::Reason;

/// Before a reset: a reset discards what `h2` has not written yet, and Envoy's peer got that. The task that drives the connection
/// was woken when the frames were queued, so it runs before this one does again.
pub async fn written() {
    tokio::task::yield_now().await;
}
