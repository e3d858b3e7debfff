//! Two ends of a real loopback connection, and material for them.

use std::sync::Arc;
use std::time::Duration;

use certs::ca::{CertificateAuthority, Template};
use certs::{
    ClientContext, ClientSettings, ConnectOptions, HandshakeError, Identity, SanKind, SanMatcher, ServerContext,
    ServerSettings, SpiffeId, StringMatcher, TlsParams, TlsStream, TlsVersion, Trust, TrustBundle, Validation,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Functional limit of one test's I/O; a hang fails instead of blocking the suite.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) type Outcome = Result<TlsStream<TcpStream>, HandshakeError>;

pub(crate) fn id(path: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://td/{path}")).unwrap()
}

pub(crate) fn svid(ca: &CertificateAuthority, path: &str) -> Identity {
    ca.issue_svid(&id(path), Duration::from_secs(3600))
        .unwrap()
        .identity()
        .unwrap()
}

pub(crate) fn server_certificate(ca: &CertificateAuthority, names: &[&str]) -> Identity {
    let dns_names = names.iter().map(|name| (*name).to_owned()).collect();
    ca.issue(&Template {
        dns_names,
        ..Template::default()
    })
    .unwrap()
    .identity()
    .unwrap()
}

pub(crate) fn bundle(ca: &CertificateAuthority) -> Arc<TrustBundle> {
    Arc::new(ca.bundle().unwrap())
}

pub(crate) fn trusting(ca: &CertificateAuthority) -> Validation {
    Validation {
        trust: Some(Trust::Bundle(bundle(ca))),
        ..Validation::default()
    }
}

pub(crate) fn trusting_only(ca: &CertificateAuthority, uri: &str) -> Validation {
    let san_matchers = vec![SanMatcher::typed(SanKind::Uri, StringMatcher::exact(uri))];
    Validation {
        san_matchers,
        ..trusting(ca)
    }
}

pub(crate) fn any_version() -> TlsParams {
    TlsParams::server_default()
}

pub(crate) fn only(version: TlsVersion) -> TlsParams {
    TlsParams::new(version, version, &[], &[]).unwrap()
}

/// A mutual-TLS server that trusts `ca`.
pub(crate) fn server(identity: Identity, ca: &CertificateAuthority) -> ServerSettings {
    ServerSettings {
        validation: Some(Arc::new(trusting(ca))),
        require_client_certificate: true,
        ..ServerSettings::new(vec![identity])
    }
}

/// A client that trusts `ca` and shows `identity`.
pub(crate) fn client(identity: Option<Identity>, ca: &CertificateAuthority) -> ClientSettings {
    ClientSettings {
        identity,
        validation: Some(Arc::new(trusting(ca))),
        params: any_version(),
        ..ClientSettings::new()
    }
}

pub(crate) async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    (client.unwrap(), server.unwrap().0)
}

/// One handshake; the client first sends and reads a byte, so that a TLS 1.3 server's refusal reaches it.
pub(crate) async fn handshake(client: &ClientContext, server: &ServerContext) -> (Outcome, Outcome) {
    handshake_with(client, server, ConnectOptions::default()).await
}

pub(crate) async fn handshake_with(
    client: &ClientContext,
    server: &ServerContext,
    options: ConnectOptions<'_>,
) -> (Outcome, Outcome) {
    let (near, far) = sockets().await;
    let serve = async {
        let mut stream = server.accept(far).await?;
        let mut byte = [0];
        if stream.read_exact(&mut byte).await.is_ok() {
            let _ = stream.write_all(&byte).await;
        }
        Ok(stream)
    };
    let call = async {
        let mut stream = client.connect(near, options).await?;
        let mut byte = [7];
        let _ = stream.write_all(&byte).await;
        match stream.read_exact(&mut byte).await {
            Ok(_) => Ok(stream),
            Err(error) => Err(match HandshakeError::behind(&error) {
                Some(HandshakeError::PeerAlert {
                    alert,
                    our_certificate,
                    peer_certificate,
                }) => HandshakeError::PeerAlert {
                    alert: *alert,
                    our_certificate: our_certificate.clone(),
                    peer_certificate: peer_certificate.clone(),
                },
                _ => HandshakeError::Io(error),
            }),
        }
    };
    tokio::time::timeout(LIMIT, async { tokio::join!(call, serve) })
        .await
        .expect("handshake hangs")
}

pub(crate) async fn echo(client: &mut TlsStream<TcpStream>, server: &mut TlsStream<TcpStream>, length: usize) {
    let sent: Vec<u8> = (0..length).map(|n| n as u8).collect();
    let exchange = async {
        let back = async {
            let mut buf = vec![0; length];
            server.read_exact(&mut buf).await.unwrap();
            server.write_all(&buf).await.unwrap();
            server.flush().await.unwrap();
        };
        let there = async {
            let (mut reader, mut writer) = tokio::io::split(&mut *client);
            let mut received = vec![0; length];
            let write = async {
                writer.write_all(&sent).await.unwrap();
                writer.flush().await.unwrap();
            };
            let (read, ()) = tokio::join!(reader.read_exact(&mut received), write);
            read.unwrap();
            assert_eq!(received, sent);
        };
        tokio::join!(there, back);
    };
    tokio::time::timeout(LIMIT, exchange).await.expect("echo hangs");
}
