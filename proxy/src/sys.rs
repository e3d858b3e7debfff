//! The one module that may be unsafe: socket options that no library offers, process settings, the allocator's.
#![allow(unsafe_code)]

use std::{io, os::fd::AsRawFd};

use crate::listener::{SocketOption, SocketOptionValue};

/// `setsockopt` with a level and name that the config gives.
///
/// # Errors
/// The kernel's.
pub fn set_socket_option(socket: &impl AsRawFd, option: &SocketOption) -> io::Result<()> {
    let bytes: &[u8] = match &option.value {
        SocketOptionValue::Int(v) => &v.to_ne_bytes(),
        SocketOptionValue::Bytes(b) => b,
    };
    set(socket, option.level, option.name, bytes)
}

/// `IP_BIND_ADDRESS_NO_PORT`: bind an address now, let `connect` pick the port.
///
/// # Errors
/// The kernel's.
pub fn set_bind_address_no_port(socket: &impl AsRawFd) -> io::Result<()> {
    set(
        socket,
        libc::SOL_IP,
        libc::IP_BIND_ADDRESS_NO_PORT,
        &1_i32.to_ne_bytes(),
    )
}

fn set(socket: &impl AsRawFd, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    // SAFETY: the pointer and length describe `value`, which outlives the call; the descriptor is open as long as `socket`.
    let rc = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            value.len() as u32,
        )
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The process gets SIGTERM when its parent ends: how Envoy ends with its launcher unless `--disable-hot-restart`.
pub fn die_with_parent() {
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
}

/// Lowers the calling thread's scheduling priority by `nice`.
pub fn lower_thread_priority(nice: i32) {
    // SAFETY: on Linux PRIO_PROCESS with 0 means the calling thread; no memory is touched.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
}

/// `TCP_FASTOPEN` with a queue of `queue` pending requests.
///
/// # Errors
/// The kernel's.
pub fn set_tcp_fast_open(socket: &impl AsRawFd, queue: u32) -> io::Result<()> {
    set(socket, libc::SOL_TCP, libc::TCP_FASTOPEN, &queue.to_ne_bytes())
}

/// The machine's name; `None` where the kernel gives none that is UTF-8.
pub fn hostname() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .map(|name| name.trim_end().to_owned())
}
