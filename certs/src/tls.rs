//! TLS contexts and streams. rustls stays behind these types: nothing of it shows in their signatures.

mod ciphers;
pub(crate) mod client;
mod handshake;
pub(crate) mod params;
pub(crate) mod peer;
mod resolver;
pub(crate) mod server;
mod session;
mod sessions;
pub(crate) mod stream;
pub(crate) mod tickets;
