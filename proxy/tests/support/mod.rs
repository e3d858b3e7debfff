//! What the socket tests share: peers and the rule for their absence, bootstraps with named ports, proxies as
//! processes, scripted upstreams that record what reached them, and clients that send exact bytes.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file is a crate of its own and uses its part of this"
)]

pub mod bootstrap;
pub mod h1;
pub mod h2c;
pub mod message;
pub mod peers;
pub mod proxy;
pub mod upstream;

/// Prints where libtest does not capture it: a skipped peer or a table is for whoever ran the tests, passing or not.
#[macro_export]
macro_rules! say {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr().lock(), $($arg)*);
    }};
}
