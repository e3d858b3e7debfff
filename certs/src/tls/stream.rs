//! An established TLS connection as a byte stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::HandshakeKind;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::ciphers;
use super::params::TlsVersion;
use super::peer::PeerInfo;
use super::session::Session;

/// TLS over any byte stream. Pointer-sized beside its `IO`, so that it moves cheaply through a proxy's layers.
///
/// Holds neither plaintext nor ciphertext while nothing arrives: what is decrypted goes to the reader's buffer, and
/// rustls's own record buffer falls back to 4 KB whenever a read has to wait.
///
/// Reading ends with `Ok` and no bytes after the peer's close_notify, and with [`io::ErrorKind::UnexpectedEof`] where
/// the peer closed without one (RFC 8446 section 6.1: the data may be truncated). Envoy takes both for an end.
/// Shutting down sends close_notify, then shuts `IO` down.
#[derive(Debug)]
pub struct TlsStream<IO> {
    io: IO,
    session: Box<Session>,
}

impl<IO> TlsStream<IO> {
    pub(super) fn new(io: IO, session: Box<Session>) -> Self {
        Self { io, session }
    }

    pub fn get_ref(&self) -> &IO {
        &self.io
    }

    pub fn get_mut(&mut self) -> &mut IO {
        &mut self.io
    }

    /// None where the peer sent no certificate.
    pub fn peer(&self) -> Option<&PeerInfo> {
        self.session.peer.as_ref()
    }

    /// The peer's certificates in DER, leaf first, as it sent them.
    pub fn peer_chain(&self) -> impl Iterator<Item = &[u8]> {
        self.session
            .tls
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(AsRef::as_ref)
    }

    /// The protocol agreed on by ALPN.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.session.tls.alpn_protocol()
    }

    /// The SNI that was sent, by us or by the client.
    pub fn sni(&self) -> Option<&str> {
        self.session.sni.as_deref()
    }

    pub fn tls_version(&self) -> TlsVersion {
        self.session
            .tls
            .protocol_version()
            .map_or(TlsVersion::Tls12, TlsVersion::of)
    }

    /// OpenSSL's name: `ECDHE-ECDSA-AES128-GCM-SHA256`, `TLS_AES_128_GCM_SHA256`.
    pub fn cipher(&self) -> &'static str {
        self.session
            .tls
            .negotiated_cipher_suite()
            .map_or("", |suite| ciphers::cipher_name(suite.suite()))
    }

    /// The key exchange group: `X25519`, `P-256`. None for a resumed TLS 1.2 session, which exchanges none.
    pub fn group(&self) -> Option<&'static str> {
        self.session
            .tls
            .negotiated_key_exchange_group()
            .map(|group| ciphers::group_name(group.name()))
    }

    /// What the peer signed this handshake with: `ecdsa_secp256r1_sha256`. None where it showed no certificate, and for
    /// resumed sessions, which sign nothing.
    pub fn peer_signature(&self) -> Option<&'static str> {
        self.session.peer_signature.map(ciphers::signature_name)
    }

    /// Whether the handshake resumed an earlier session.
    pub fn resumed(&self) -> bool {
        self.session.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Bytes that can be read without the network.
    pub fn has_buffered_input(&mut self) -> bool {
        self.session.has_buffered_input()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { io, session } = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            match session.read_plaintext(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
            ready!(session.poll_fill(io, cx))?;
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    /// Several slices share records: a head and the start of its body leave in one.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { io, session } = self.get_mut();
        // What is not yet sent goes first: this bounds what a stalled peer can make us hold.
        ready!(session.poll_send(io, cx))?;
        let accepted = session.write_plaintext(bufs)?;
        match session.poll_send(io, cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(accepted)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, session } = self.get_mut();
        ready!(session.poll_send(io, cx))?;
        Pin::new(io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, session } = self.get_mut();
        session.close();
        ready!(session.poll_send(io, cx))?;
        Pin::new(io).poll_shutdown(cx)
    }
}
