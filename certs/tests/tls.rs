//! TLS over loopback sockets, through the crate's public interface alone.

#[path = "tls/handshake.rs"]
mod handshake;
#[path = "tls/mesh.rs"]
mod mesh;
