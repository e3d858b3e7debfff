//! Pillion beside Envoy, HAProxy and nginx, in one command:
//!
//! ```text
//! cargo run --release -p benches                  # everything, 5 rounds, three quarters of an hour
//! cargo run --release -p benches -- --quick       # everything once and short, about ten minutes
//! cargo run --release -p benches -- --jobs h1,tcp --rounds 3
//! cargo run --release -p benches -- idle          # only: Pillion's idle memory, one line
//! ```
//!
//! The proxy has one core for itself; the load and the origin share another. Every round measures every proxy, so that
//! what the machine does meanwhile meets all of them; figures are medians over rounds, with their spread. What is written:
//! `results.json`, `results.md` and plots, into the folder that `--out` names.

pub mod args;
pub mod histogram;
pub mod http1;
pub mod job;
pub mod load;
pub mod machine;
pub mod origin;
pub mod pki;
pub mod poll;
pub mod process;
pub mod proxy;
pub mod report;
pub mod run;

use std::net::{SocketAddr, TcpListener};

/// A listening socket on a free port of loopback.
pub(crate) fn listen() -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
