//! Opens one upstream connection: bind, connect, socket options, TLS, all under the cluster's connect timeout.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use bytes::Bytes;
use socket2::{Domain, Protocol as IpProtocol, Socket as Socket2, Type};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::{
    address::Address,
    cluster::{Cluster, Endpoint},
    failure::ResetReason,
    io::{Raw, Socket, Stream},
    istio::exchange::Learned,
    listener::UpstreamSource,
    stats::{ClusterStat, SslSocketFactoryStat},
    stream_info::TlsInfo,
    tls::{self, UpstreamTransport},
    worker::Node,
};

/// What of a request or downstream connection shapes the connection itself; part of the pool key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ConnectOptions {
    /// Overrides the context's server name (`auto_sni`).
    pub sni: Option<Arc<str>>,
    /// Overrides the context's ALPN list.
    pub alpn: Option<Arc<[Vec<u8>]>>,
    /// Takes the place of the cluster's bind address.
    pub source: Option<UpstreamSource>,
    /// `auto_san_validation`: the name that the peer's certificate must carry besides what the context asks.
    pub verify_name: Option<Arc<str>>,
}

/// An open connection and what is known of it.
#[derive(Debug)]
pub struct Connected {
    pub stream: Stream,
    pub local_address: Option<Address>,
    pub tls: Option<Arc<TlsInfo>>,
    pub started: Instant,
    pub finished: Instant,
}

impl Connected {
    /// Begins Istio's metadata exchange where the cluster asks for it; what is learned of the peer, once it is.
    pub fn exchange(&mut self, cluster: &Cluster, node: &Node) -> Option<Learned> {
        let filter = cluster.metadata_exchange.as_ref()?;
        let (exchange, learned) = filter.begin(self.tls.as_deref(), node);
        self.stream.set_exchange(exchange);
        Some(learned)
    }
}

/// Why no connection came about.
#[derive(Debug, Clone)]
pub struct ConnectFailure {
    pub reason: ResetReason,
    /// `%UPSTREAM_TRANSPORT_FAILURE_REASON%`, as Envoy words it.
    pub transport: Option<Box<str>>,
    /// One sentence that names the endpoint and the value.
    pub sentence: String,
}

/// Connects to an endpoint of a cluster.
///
/// # Errors
/// A timeout after `cluster.connect_timeout`, a refused or failed connect, or a failed handshake in the words of `certs`.
pub async fn connect(
    cluster: &Cluster,
    endpoint: &Endpoint,
    options: &ConnectOptions,
) -> Result<Connected, ConnectFailure> {
    let started = Instant::now();
    let attempt = async {
        let raw = open(cluster, endpoint, options.source).await?;
        let local_address = local_address(&raw);
        let (stream, tls) = secure(cluster, endpoint, options, raw).await?;
        Ok(Connected {
            stream,
            local_address,
            tls,
            started,
            finished: Instant::now(),
        })
    };
    let stats = &cluster.state.stats;
    stats.inc(ClusterStat::UpstreamCxTotal);
    endpoint.state.counters.cx_total.fetch_add(1, Ordering::Relaxed);
    let result = tokio::time::timeout(cluster.connect_timeout, attempt)
        .await
        .unwrap_or_else(|_| {
            stats.inc(ClusterStat::UpstreamCxConnectTimeout);
            Err(ConnectFailure {
                reason: ResetReason::ConnectTimeout,
                transport: None,
                sentence: format!(
                    "cluster {}: no connection to {} within connect_timeout {:?}",
                    cluster.name, endpoint.address, cluster.connect_timeout
                ),
            })
        });
    match &result {
        Ok(connected) => {
            let taken = connected.finished - started;
            stats.record(ClusterStat::UpstreamCxConnectMs, taken.as_millis() as u64);
        }
        Err(_) => {
            stats.inc(ClusterStat::UpstreamCxConnectFail);
            endpoint.state.counters.cx_connect_fail.fetch_add(1, Ordering::Relaxed);
        }
    }
    result
}

async fn open(cluster: &Cluster, endpoint: &Endpoint, source: Option<UpstreamSource>) -> Result<Raw, ConnectFailure> {
    let mut last = None;
    for address in std::iter::once(&endpoint.address).chain(&endpoint.config.additional_addresses) {
        match open_one(cluster, address, source).await {
            Ok(socket) => return Ok(Raw::new(socket, Bytes::new())),
            Err(e) => last = Some((address, e)),
        }
    }
    let (address, e) = last.unwrap_or_else(|| (&endpoint.address, io::ErrorKind::AddrNotAvailable.into()));
    Err(ConnectFailure {
        reason: ResetReason::ConnectFailure,
        transport: Some(format!("delayed connect error: {}", crate::sys::error_text(&e)).into()),
        sentence: format!("cluster {}: connection to {address} failed: {e}", cluster.name),
    })
}

async fn open_one(cluster: &Cluster, address: &Address, source: Option<UpstreamSource>) -> io::Result<Socket> {
    match address {
        Address::Ip(ip) => Ok(Socket::Tcp(open_tcp(cluster, *ip, source).await?)),
        Address::Pipe(path) => Ok(Socket::Unix(UnixStream::connect(&*unix_path(path)).await?)),
        Address::Internal(name) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("internal listener {name} is not served"),
        )),
    }
}

/// Abstract sockets are written `@name` in config and begin with a NUL byte in the kernel.
fn unix_path(path: &str) -> std::borrow::Cow<'_, std::ffi::OsStr> {
    match path.strip_prefix('@') {
        Some(name) => std::borrow::Cow::Owned(format!("\0{name}").into()),
        None => std::borrow::Cow::Borrowed(path.as_ref()),
    }
}

async fn open_tcp(cluster: &Cluster, to: SocketAddr, source: Option<UpstreamSource>) -> io::Result<TcpStream> {
    let socket = Socket2::new(
        Domain::for_address(to),
        Type::STREAM.nonblocking().cloexec(),
        Some(IpProtocol::TCP),
    )?;
    socket.set_tcp_nodelay(true)?;
    if let Some(k) = &cluster.tcp_keepalive {
        socket.set_tcp_keepalive(&k.for_socket())?;
    }
    for option in &cluster.socket_options {
        crate::sys::set_socket_option(&socket, option)?;
    }
    match (source, &cluster.bind) {
        (Some(source), _) if source.ip.is_ipv4() == to.is_ipv4() => take_address(&socket, source)?,
        (_, Some(bind)) => bind_source(&socket, bind, to)?,
        (_, None) => {}
    }
    TcpSocket::from_std_stream(socket.into()).connect(to).await
}

/// Speaks from an address that is not this machine's: the client's.
fn take_address(socket: &Socket2, source: UpstreamSource) -> io::Result<()> {
    if source.mark != 0 {
        socket.set_mark(source.mark)?;
    }
    if source.ip.is_ipv4() {
        socket.set_ip_transparent_v4(true)?;
        crate::sys::set_bind_address_no_port(socket)?;
    } else {
        socket.set_ip_transparent_v6(true)?;
    }
    socket.bind(&SocketAddr::new(source.ip, 0).into())
}

/// `upstream_bind_config`: the source of the destination's address family.
fn bind_source(socket: &Socket2, bind: &crate::cluster::BindConfig, to: SocketAddr) -> io::Result<()> {
    for option in &bind.socket_options {
        crate::sys::set_socket_option(socket, option)?;
    }
    if bind.freebind == Some(true) {
        socket.set_freebind_v4(true)?;
    }
    let mut sources = std::iter::once(bind.source).chain(bind.extra_sources.iter().map(|ip| SocketAddr::new(*ip, 0)));
    let Some(source) = sources.find(|s| s.is_ipv4() == to.is_ipv4()) else {
        return Ok(());
    };
    if source.port() == 0 && to.is_ipv4() {
        // The port is chosen at connect, per destination: 127.0.0.6 would run out of ports otherwise.
        crate::sys::set_bind_address_no_port(socket)?;
    }
    socket.bind(&source.into())
}

async fn secure(
    cluster: &Cluster,
    endpoint: &Endpoint,
    options: &ConnectOptions,
    raw: Raw,
) -> Result<(Stream, Option<Arc<TlsInfo>>), ConnectFailure> {
    let UpstreamTransport::Tls(own) = &endpoint.transport else {
        return Ok((Stream::plain(raw), None));
    };
    let Some(context) = own.context.load_full() else {
        own.factory.inc(SslSocketFactoryStat::UpstreamContextSecretsNotReady);
        return Err(ConnectFailure {
            reason: ResetReason::ConnectFailure,
            transport: Some("TLS_error:_Secret_is_not_supplied_by_SDS".into()),
            sentence: format!("cluster {}: its TLS secrets have not arrived yet", cluster.name),
        });
    };
    let names: Vec<_> = options.verify_name.iter().map(|name| san_of_host(name)).collect();
    let wanted = certs::ConnectOptions {
        sni: options.sni.as_deref(),
        alpn: options.alpn.as_deref(),
        verify_sans: &names,
    };
    match context.connect(raw, wanted).await {
        Ok(stream) => {
            tls::count_handshake(&own.stats, &stream);
            let info = TlsInfo::of(&stream, context.identity(), false);
            Ok((Stream::tls(stream), Some(Arc::new(info))))
        }
        Err(e) => {
            if let Some(stat) = e.stat() {
                own.stats.inc(tls::failure_stat(stat));
            }
            tls::refused::say(&e, context.identity(), || {
                format!("cluster {:?}: TLS with {}", cluster.name, endpoint.address)
            });
            Err(ConnectFailure {
                reason: ResetReason::ConnectFailure,
                transport: Some(e.envoy_reason().into()),
                sentence: format!("cluster {}: TLS with {} failed: {e}", cluster.name, endpoint.address),
            })
        }
    }
}

/// What a certificate for this host carries: the name as DNS or as IP address.
fn san_of_host(host: &str) -> certs::SanMatcher {
    let kind = match host.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
        Ok(_) => certs::SanKind::Ip,
        Err(_) => certs::SanKind::Dns,
    };
    certs::SanMatcher::typed(kind, certs::StringMatcher::exact(host))
}

fn local_address(raw: &Raw) -> Option<Address> {
    match raw.socket() {
        Socket::Tcp(s) => s.local_addr().ok().map(Address::from),
        Socket::Unix(_) => None,
    }
}
