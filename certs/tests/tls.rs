//! TLS over loopback sockets, through the crate's public interface alone.

#[path = "tls/handshake.rs"]
mod handshake;
#[path = "tls/mesh.rs"]
mod mesh;
#[path = "tls/openssl.rs"]
mod openssl;
#[path = "tls/resumption.rs"]
mod resumption;
#[path = "tls/stream.rs"]
mod stream;

/// Counts per thread what is allocated: the test of what an idle connection holds reads it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
