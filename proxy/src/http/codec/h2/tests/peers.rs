//! Foreign clients and servers.
