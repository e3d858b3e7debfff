//! What `build.rs` makes from the schema. Its style and its doc links are prost-build's.
#![allow(
    clippy::all,
    clippy::use_self,
    deprecated,
    rustdoc::all,
    unreachable_pub,
    unused_qualifications
)]

include!(concat!(env!("OUT_DIR"), "/includes.rs"));
