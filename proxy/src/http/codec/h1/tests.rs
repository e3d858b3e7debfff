//! The codec on bytes, without sockets: what is decoded, what is written, whatever the segmentation.

mod io;
mod memory;
mod requests;
mod responses;
mod segments;
mod sockets;
mod verdicts;
