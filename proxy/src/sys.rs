//! The one module that may be unsafe: socket options that no library offers, process settings, the allocator's.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
};

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

/// The kernel's text without Rust's `(os error N)`.
pub fn error_text(e: &io::Error) -> String {
    let text = e.to_string();
    match text.find(" (os error") {
        Some(i) => text[..i].to_owned(),
        None => text,
    }
}

/// Whom other processes take this one for.
pub fn user_and_group() -> (u32, u32) {
    // SAFETY: these take nothing, and cannot fail.
    unsafe { (libc::getuid(), libc::getgid()) }
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

/// Sockets that [`readable`] asks about in one system call.
pub const ASKED_AT_ONCE: usize = 256;

/// Which of the first [`ASKED_AT_ONCE`] sockets have something to read, or an end or error to tell. Nothing is allocated: what
/// looks every second would keep an idle proxy's allocator at work, and its code in memory.
pub fn readable(sockets: impl Iterator<Item = RawFd>) -> [bool; ASKED_AT_ONCE] {
    // The kernel passes over negative descriptors.
    let mut polled = [libc::pollfd {
        fd: -1,
        events: libc::POLLIN,
        revents: 0,
    }; ASKED_AT_ONCE];
    let mut count = 0;
    for (one, fd) in polled.iter_mut().zip(sockets) {
        one.fd = fd;
        count += 1;
    }
    // SAFETY: the pointer and length describe `polled`, of which `count` is at most the length; a descriptor that is not open
    // is told in its `revents`.
    unsafe { libc::poll(polled.as_mut_ptr(), count, 0) };
    polled.map(|one| one.revents != 0)
}

/// The process gets SIGTERM when its parent ends: how Envoy ends with its launcher unless `--disable-hot-restart`.
pub fn die_with_parent() {
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
}

/// The calling thread's number in the kernel.
pub fn thread_id() -> i32 {
    // SAFETY: takes nothing and touches no memory.
    unsafe { libc::gettid() }
}

/// CPU time that the process has used, in all of its threads and in the kernel; zero where the kernel does not say.
pub fn cpu_time() -> std::time::Duration {
    let mut used = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `used` is writable, and all that is written.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut used) };
    std::time::Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).unwrap_or(0))
}

/// CPUs that the process may run on (its affinity mask); `None` where the kernel does not say.
pub fn affinity() -> Option<usize> {
    // SAFETY: `cpu_set_t` is a plain bit array, for which all zeros is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is writable and as large as is said; 0 means the calling thread.
    let rc = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    // SAFETY: reads `set` only.
    (rc == 0).then(|| unsafe { libc::CPU_COUNT(&set) } as usize)
}

/// Lowers the calling thread's scheduling priority by `nice`.
pub fn lower_thread_priority(nice: i32) {
    // SAFETY: on Linux PRIO_PROCESS with 0 means the calling thread; no memory is touched.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
}

/// Lets go of the program's code and constants that are mapped, most of which served the start or a load that has gone.
/// What still runs is mapped again from the page cache at its next use, for a microsecond a page.
pub fn release_code() {
    // SAFETY: the linker puts these symbols at the start of the program and behind its code; nobody reads their values.
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    let start = &raw const __executable_start as usize;
    let end = &raw const etext as usize;
    // SAFETY: what lies between is mapped from the program's file, and read-only from its first instruction on (relocated
    // data follows behind), so that the kernel finds every page as it was; a failure changes nothing.
    unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
}

/// Gives back the pages of the calling thread's stack that deeper calls have left behind; not of the main thread's, whose bounds
/// take a look into `/proc`.
pub fn release_stack() {
    /// Bytes for what runs before this returns.
    const OWN: usize = 16 * 1024;
    const PAGE: usize = 4096;
    if thread_id().cast_unsigned() == std::process::id() {
        return;
    }
    let mut attributes = std::mem::MaybeUninit::uninit();
    let (mut lowest, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the attributes are written by the first call, read by the second if that succeeded, and destroyed once.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return;
        }
        libc::pthread_attr_getstack(attributes.as_ptr(), &mut lowest, &mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
    }
    let here = &raw const size as usize;
    let length = (here / PAGE * PAGE).saturating_sub(lowest as usize + OWN);
    // SAFETY: stacks grow downwards, so that nothing lives between the lowest address and a local variable of the innermost
    // function, less what that may still call; a failure changes nothing.
    unsafe { libc::madvise(lowest, length, libc::MADV_DONTNEED) };
}

/// Gives back what the allocator keeps at hand of free memory for the calling thread: after a burst more than a megabyte.
/// The allocator itself would only do so in the course of further allocations.
pub fn release_thread_cache() {
    use std::ptr::null_mut;
    let flush = c"thread.tcache.flush".as_ptr();
    // SAFETY: the name ends with a NUL byte, and nothing is read or written through null pointers; a failure changes nothing.
    unsafe { tikv_jemalloc_sys::mallctl(flush, null_mut(), null_mut(), null_mut(), 0) };
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

/// The first address of an interface that is up and not loopback.
pub fn own_address(ipv6: bool) -> Option<std::net::IpAddr> {
    let mut list = std::ptr::null_mut();
    // SAFETY: `getifaddrs` fills `list` or fails; it is freed below, after its last use.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return None;
    }
    let mut found = None;
    let mut at = list;
    while found.is_none() && !at.is_null() {
        // SAFETY: `at` is a node of the list that `getifaddrs` made, which is freed only after this loop.
        let node = unsafe { &*at };
        let flags = node.ifa_flags.cast_signed();
        if flags & libc::IFF_UP != 0 && flags & libc::IFF_LOOPBACK == 0 && !node.ifa_addr.is_null() {
            // SAFETY: `ifa_addr` is a valid socket address of the family that it names.
            found = unsafe { address_of(node.ifa_addr, ipv6) };
        }
        at = node.ifa_next;
    }
    // SAFETY: `list` came from `getifaddrs` and is freed once.
    unsafe { libc::freeifaddrs(list) };
    found
}

/// # Safety
/// `address` points to a socket address of the family that its `sa_family` names.
unsafe fn address_of(address: *const libc::sockaddr, ipv6: bool) -> Option<std::net::IpAddr> {
    // SAFETY: by the caller's promise.
    match i32::from(unsafe { (*address).sa_family }) {
        libc::AF_INET if !ipv6 => {
            // SAFETY: AF_INET addresses are sockaddr_in.
            let v4 = unsafe { &*address.cast::<libc::sockaddr_in>() };
            Some(std::net::Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 if ipv6 => {
            // SAFETY: AF_INET6 addresses are sockaddr_in6.
            let v6 = unsafe { &*address.cast::<libc::sockaddr_in6>() };
            Some(std::net::Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

/// Every allocation of the process goes through jemalloc: it gives memory back, which glibc does not.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// jemalloc's settings, compiled in: one arena, for a sidecar has few threads, and each keeps at hand what it needs often;
/// dirty pages go back after a second, by a thread of jemalloc's own, so that memory falls also where nothing is allocated any
/// more. What a request has of 256 bytes and more comes from slabs of 32 KB instead of a few pages: the allocator never gives
/// back what it notes of each slab, and after a burst that was half a megabyte. `_RJEM_MALLOC_CONF` in the environment
/// overrides them.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static MALLOC_CONF: Option<&'static libc::c_char> =
    // SAFETY: the literal ends with a NUL byte and lives for ever.
    Some(unsafe {
        &*c"narenas:1,background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0,slab_sizes:256-14336:8".as_ptr()
    });
