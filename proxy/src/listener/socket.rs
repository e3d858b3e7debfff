//! Listening sockets: one per worker with SO_REUSEPORT, made by the control thread, so that a bad address is a
//! rejection and not a surprise on a worker.

use std::{io, net::TcpListener, os::unix::net::UnixListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::{ListenAddress, Listener, SocketState};
use crate::{address::Address, sys};

/// One bound and listening socket.
#[derive(Debug)]
pub enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Why a listener could not bind.
#[derive(Debug, thiserror::Error)]
#[error("listener {listener}: cannot bind '{address}': {}", sys::error_text(.source))]
pub struct BindError {
    pub listener: String,
    pub address: String,
    pub source: io::Error,
}

/// Binds every address of a listener once per worker; outer index: worker. Unix sockets and listeners without
/// `reuse_port` have one socket, which the workers share.
///
/// # Errors
/// The first address that the kernel refuses.
pub fn bind(listener: &Listener, workers: usize) -> Result<Vec<Vec<Listening>>, BindError> {
    let mut by_worker: Vec<Vec<Listening>> = (0..workers).map(|_| Vec::new()).collect();
    for address in &listener.addresses {
        let error = |source| BindError {
            listener: listener.name.to_string(),
            address: address.address.to_string(),
            source,
        };
        let mut first = None;
        for sockets in &mut by_worker {
            let listening = match &first {
                Some(shared) if !separate(listener, address) => clone(shared).map_err(error)?,
                Some(Listening::Tcp(bound)) => {
                    // Port 0 was given a port once; the other workers share it.
                    let bound = bound.local_addr().map_err(error)?;
                    Listening::Tcp(bind_tcp(listener, address, bound).map_err(error)?)
                }
                _ => bind_one(listener, address).map_err(error)?,
            };
            if first.is_none() {
                first = Some(clone(&listening).map_err(error)?);
            }
            sockets.push(listening);
        }
    }
    Ok(by_worker)
}

/// Whether a listener's addresses can be bound at all. Nothing stays bound, and nobody is listened to.
///
/// # Errors
/// The first address that the kernel refuses.
pub fn probe(listener: &Listener) -> Result<(), BindError> {
    for address in &listener.addresses {
        let Address::Ip(ip) = address.address else { continue };
        bound_tcp(listener, address, ip).map_err(|source| BindError {
            listener: listener.name.to_string(),
            address: address.address.to_string(),
            source,
        })?;
    }
    Ok(())
}

/// Binds the admin address.
///
/// # Errors
/// The kernel's.
pub fn bind_admin(address: &ListenAddress) -> io::Result<Listening> {
    match &address.address {
        Address::Ip(ip) => {
            let socket = Socket::new(
                Domain::for_address(*ip),
                Type::STREAM.nonblocking().cloexec(),
                Some(Protocol::TCP),
            )?;
            socket.set_reuse_address(true)?;
            socket.bind(&(*ip).into())?;
            socket.listen(ADMIN_BACKLOG)?;
            Ok(Listening::Tcp(socket.into()))
        }
        Address::Pipe(path) => bind_unix(path, address.mode).map(Listening::Unix),
        Address::Internal(_) => Err(io::Error::new(io::ErrorKind::Unsupported, "admin cannot be internal")),
    }
}

/// Scrapers are few.
const ADMIN_BACKLOG: i32 = 128;

impl Listening {
    /// The address of a TCP socket, with the port that it was given.
    pub fn bound(&self) -> Option<Address> {
        match self {
            Self::Tcp(l) => l.local_addr().ok().map(Address::Ip),
            Self::Unix(_) => None,
        }
    }

    /// `host:port`, or the path.
    ///
    /// # Errors
    /// The kernel's.
    pub fn address(&self) -> io::Result<String> {
        Ok(match self {
            Self::Tcp(l) => l.local_addr()?.to_string(),
            Self::Unix(l) => l
                .local_addr()?
                .as_pathname()
                .map(|p| p.display().to_string())
                .unwrap_or_default(),
        })
    }
}

fn separate(listener: &Listener, address: &ListenAddress) -> bool {
    listener.reuse_port && matches!(address.address, Address::Ip(_))
}

fn clone(listening: &Listening) -> io::Result<Listening> {
    Ok(match listening {
        Listening::Tcp(l) => Listening::Tcp(l.try_clone()?),
        Listening::Unix(l) => Listening::Unix(l.try_clone()?),
    })
}

fn bind_one(listener: &Listener, address: &ListenAddress) -> io::Result<Listening> {
    match &address.address {
        Address::Ip(ip) => bind_tcp(listener, address, *ip).map(Listening::Tcp),
        Address::Pipe(path) => bind_unix(path, address.mode).map(Listening::Unix),
        Address::Internal(_) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "internal listeners are not served",
        )),
    }
}

fn bound_tcp(listener: &Listener, address: &ListenAddress, to: std::net::SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(to),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if listener.reuse_port {
        socket.set_reuse_port(true)?;
    }
    if to.is_ipv6() {
        socket.set_only_v6(!address.ipv4_compat)?;
    }
    if listener.transparent {
        if to.is_ipv6() {
            socket.set_ip_transparent_v6(true)?
        } else {
            socket.set_ip_transparent_v4(true)?
        }
    }
    if listener.freebind {
        if to.is_ipv6() {
            socket.set_freebind_v6(true)?
        } else {
            socket.set_freebind_v4(true)?
        }
    }
    if let Some(keepalive) = &listener.tcp_keepalive {
        // Accepted sockets inherit it.
        socket.set_tcp_keepalive(&keepalive.for_socket())?;
    }
    set_options(&socket, listener, SocketState::Prebind)?;
    socket.bind(&to.into())?;
    set_options(&socket, listener, SocketState::Bound)?;
    Ok(socket)
}

fn bind_tcp(listener: &Listener, address: &ListenAddress, to: std::net::SocketAddr) -> io::Result<TcpListener> {
    let socket = bound_tcp(listener, address, to)?;
    if let Some(queue) = listener.tcp_fast_open_queue {
        sys::set_tcp_fast_open(&socket, queue)?;
    }
    socket.listen(listener.backlog.min(i32::MAX as u32) as i32)?;
    set_options(&socket, listener, SocketState::Listening)?;
    Ok(socket.into())
}

fn set_options(socket: &Socket, listener: &Listener, state: SocketState) -> io::Result<()> {
    let mut due = listener.socket_options.iter().filter(|option| option.state == state);
    due.try_for_each(|option| sys::set_socket_option(socket, option))
}

fn bind_unix(path: &str, mode: Option<u32>) -> io::Result<UnixListener> {
    use std::os::{linux::net::SocketAddrExt, unix::fs::PermissionsExt};
    if let Some(name) = path.strip_prefix('@') {
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        let listener = UnixListener::bind_addr(&address)?;
        listener.set_nonblocking(true)?;
        return Ok(listener);
    }
    // A file that an earlier process left would make bind fail for ever.
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let listener = UnixListener::bind(path)?;
    if let Some(mode) = mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    listener.set_nonblocking(true)?;
    Ok(listener)
}
