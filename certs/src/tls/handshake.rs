//! Handshakes, from the first byte to a stream or a named failure.

mod explain;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::SystemTime;

use rustls::server::{Accepted, AcceptedAlert, Acceptor, ClientHello};
use rustls::{ClientConnection, Connection, HandshakeKind};
use tokio::io::{AsyncRead, AsyncWrite};

use super::peer::PeerInfo;
use super::session::{Session, Socket, poll_receive};
use super::stream::TlsStream;
use super::{client, server};
use crate::certificate::CertificateInfo;
use crate::error::HandshakeError;
use crate::validation::{PeerRole, Presented, Validation, VerifyError, verifier};
use explain::Facts;
pub(super) use explain::after;

pub(super) async fn accept<IO: AsyncRead + AsyncWrite + Unpin>(
    context: &server::Parts,
    mut io: IO,
) -> Result<TlsStream<IO>, HandshakeError> {
    let mut facts = Facts::new(PeerRole::Client, &context.settings.params);
    let (hello, rest) = receive_hello(&mut io, &mut facts).await?;
    let mut session = match begin(context, hello, &mut facts) {
        Ok(session) => session,
        Err(refused) => {
            let (error, mut alert) = *refused;
            if let Some(alert) = &mut alert {
                last_words(&mut io, |socket| alert.write(socket)).await;
            }
            return Err(error);
        }
    };
    if let Err(error) = exchange(&mut session, &mut facts, &rest) {
        return Err(refuse(&mut io, &mut session, error).await);
    }
    finish_negotiation(&mut io, &mut session, &mut facts).await?;
    learn_peer(&mut session, facts, context.settings.validation.as_deref())?;
    Ok(TlsStream::new(io, session))
}

pub(super) async fn connect<IO: AsyncRead + AsyncWrite + Unpin>(
    context: &client::Parts,
    mut io: IO,
    options: client::ConnectOptions<'_>,
) -> Result<TlsStream<IO>, HandshakeError> {
    let mut facts = Facts::new(PeerRole::Server, &context.settings.params);
    let name = context.server_name(options)?;
    let alpn = options
        .alpn
        .map_or_else(|| context.settings.alpn.clone(), <[_]>::to_vec);
    let connection = ClientConnection::new_with_alpn(context.config.clone(), name, alpn);
    let mut session = Session::new(Connection::Client(connection.map_err(|error| facts.explain(error))?));
    session.sni = options.sni.or(context.settings.sni.as_deref()).map(Into::into);
    session.our_certificate = context
        .settings
        .identity
        .as_ref()
        .map(|i| i.certificate().display_name().into());
    facts.our_certificate = session.our_certificate.clone();
    finish_negotiation(&mut io, &mut session, &mut facts).await?;
    learn_peer(&mut session, facts, context.settings.validation.as_deref())?;
    if !options.verify_sans.is_empty() {
        let expected = Validation {
            san_matchers: options.verify_sans.to_vec(),
            ..Validation::default()
        };
        check(&session, PeerRole::Server, &expected)?;
    }
    Ok(TlsStream::new(io, session))
}

/// Answers a hello. Not async, so that rustls's kilobytes pass through the stack and stay out of the future.
fn begin(
    context: &server::Parts,
    accepted: Box<Accepted>,
    facts: &mut Facts<'_>,
) -> Result<Box<Session>, Box<(HandshakeError, Option<AcceptedAlert>)>> {
    let hello = accepted.client_hello();
    facts.note(&hello);
    let sni: Option<Box<str>> = hello.server_name().map(Into::into);
    if context.settings.require_sni && sni.is_none() {
        return Err(Box::new((HandshakeError::NoSni, None)));
    }
    let config = match speaks_one_of(&hello, &context.settings.alpn) {
        true => &context.config,
        false => &context.without_alpn,
    };
    let connection = accepted.into_connection(config.clone());
    let connection = connection.map_err(|(error, alert)| Box::new((facts.explain(error), Some(alert))))?;
    let mut session = Session::new(Connection::Server(connection));
    session.sni = sni;
    session.our_certificate = context
        .settings
        .identities
        .first()
        .map(|i| i.certificate().display_name().into());
    facts.our_certificate.clone_from(&session.our_certificate);
    Ok(session)
}

/// Reads until the ClientHello is whole, however many records and packets it comes in.
async fn receive_hello<IO: AsyncRead + AsyncWrite + Unpin>(
    io: &mut IO,
    facts: &mut Facts<'_>,
) -> Result<Hello, HandshakeError> {
    // Boxed, as is what it yields: each is a kilobyte that the future would carry to its end.
    let mut acceptor = Box::new(Acceptor::default());
    loop {
        let step = poll_fn(|cx| {
            poll_receive(io, cx, |bytes| {
                facts.received(bytes);
                offer(&mut acceptor, bytes)
            })
        });
        match step.await.map_err(HandshakeError::Io)? {
            Ok(None) if facts.ended => return Err(facts.closed()),
            Ok(None) => {}
            Ok(Some(hello)) => return Ok(hello),
            Err((error, mut alert)) => {
                let explained = facts.explain(error);
                last_words(io, |socket| alert.write(socket)).await;
                return Err(explained);
            }
        }
    }
}

/// A whole hello and what came after it.
type Hello = (Box<Accepted>, Vec<u8>);
type Refused = (rustls::Error, AcceptedAlert);

fn offer(acceptor: &mut Acceptor, mut bytes: &[u8]) -> Result<Option<Hello>, Refused> {
    while !bytes.is_empty() {
        // A reader of bytes never fails; a hello too large for rustls shows as an error of accept.
        if acceptor.read_tls(&mut bytes).is_err() {
            break;
        }
        if let Some(accepted) = acceptor.accept()? {
            return Ok(Some((Box::new(accepted), bytes.to_vec())));
        }
    }
    Ok(None)
}

fn speaks_one_of(hello: &ClientHello<'_>, ours: &[Vec<u8>]) -> bool {
    hello
        .alpn()
        .is_some_and(|mut theirs| theirs.any(|protocol| ours.iter().any(|our| our == protocol)))
}

/// Gives rustls what came and takes over what it learned, in one go: see [`verifier`].
fn exchange(session: &mut Session, facts: &mut Facts<'_>, bytes: &[u8]) -> Result<(), HandshakeError> {
    session.feed(bytes).map_err(|error| facts.explain(error))?;
    let seen = verifier::take_seen();
    session.peer_signature = seen.scheme.or(session.peer_signature);
    facts.peer_certificate = seen.certificate.or_else(|| facts.peer_certificate.take());
    Ok(())
}

/// Exchanges messages until both sides are done. The last of ours (session tickets, for a server) need not have left
/// by then: they go with the first read or write, and a client that reads nothing cannot hold up its server.
async fn finish_negotiation<IO: AsyncRead + AsyncWrite + Unpin>(
    io: &mut IO,
    session: &mut Session,
    facts: &mut Facts<'_>,
) -> Result<(), HandshakeError> {
    loop {
        let sent = poll_fn(|cx| match session.poll_send(io, cx) {
            Poll::Pending if !session.tls.is_handshaking() => Poll::Ready(Ok(())),
            sent => sent,
        });
        let sent = sent.await;
        if !session.tls.is_handshaking() {
            // A client that has gone by now ended well as far as the handshake goes; reading will tell.
            return Ok(());
        }
        // A failed write often means that the peer refused and left: its alert, if there is one, says why.
        let received = poll_fn(|cx| {
            poll_receive(io, cx, |bytes| {
                facts.received(bytes);
                match bytes.is_empty() {
                    true => Err(facts.closed()),
                    false => exchange(session, facts, bytes),
                }
            })
        });
        match (received.await, sent) {
            (Ok(Err(error)), _) => return Err(refuse(io, session, error).await),
            (Err(error), _) | (Ok(Ok(())), Err(error)) => return Err(HandshakeError::Io(error)),
            (Ok(Ok(())), Ok(())) => {}
        }
    }
}

/// Sends the alert that rustls has prepared.
async fn refuse<IO: AsyncRead + AsyncWrite + Unpin>(
    io: &mut IO,
    session: &mut Session,
    error: HandshakeError,
) -> HandshakeError {
    last_words(io, |socket| session.tls.write_tls(socket)).await;
    error
}

/// How much of what a refused peer still sends is read away before the connection is dropped.
const DRAINED: usize = 64 << 10;

/// Writes an alert as far as the socket takes it at once, and reads away what has already come: a socket closed with
/// unread data is reset, and the reset overtakes the alert that says why.
async fn last_words<IO: AsyncRead + AsyncWrite + Unpin>(
    io: &mut IO,
    mut write: impl FnMut(&mut dyn io::Write) -> io::Result<usize>,
) {
    poll_fn(|cx| {
        while write(&mut Socket {
            io: &mut *io,
            cx: &mut *cx,
        })
        .is_ok_and(|written| written > 0)
        {}
        let mut drained = 0;
        while let Poll::Ready(Ok(length)) = poll_receive(io, cx, <[u8]>::len) {
            drained += length;
            if length == 0 || drained > DRAINED {
                break;
            }
        }
        let _ = std::pin::Pin::new(&mut *io).poll_shutdown(cx);
        Poll::Ready(())
    })
    .await;
}

/// Notes who the peer is. A resumed session was not verified by rustls, so names and expiry are checked here.
fn learn_peer(session: &mut Session, facts: Facts<'_>, validation: Option<&Validation>) -> Result<(), HandshakeError> {
    let Some([leaf, intermediates @ ..]) = session.tls.peer_certificates() else {
        return Ok(());
    };
    let role = facts.role;
    let fail = |error| HandshakeError::PeerCertificate { role, error };
    let certificate = match facts.peer_certificate {
        Some(certificate) => certificate,
        None => Arc::new(CertificateInfo::from_der(leaf).map_err(|reason| {
            let subject = "of the peer".into();
            fail(VerifyError::Unacceptable { subject, reason })
        })?),
    };
    let mut validated = validation.is_some_and(Validation::checks_anything);
    if let Some(validation) = validation {
        let now = SystemTime::now();
        let sni = session.sni.as_deref().filter(|_| role == PeerRole::Server);
        if validation.accept_untrusted {
            let presented = Presented {
                leaf,
                intermediates,
                info: &certificate,
            };
            validated &= validation.verify(role, presented, sni, now).is_ok();
        } else if session.tls.handshake_kind() == Some(HandshakeKind::Resumed) {
            validation.reauthorize(&certificate, sni, now).map_err(fail)?;
        }
    }
    let spiffe_id = certificate.spiffe_id();
    session.peer = Some(PeerInfo {
        certificate,
        spiffe_id,
        validated,
    });
    Ok(())
}

fn check(session: &Session, role: PeerRole, expected: &Validation) -> Result<(), HandshakeError> {
    let refused = match &session.peer {
        Some(peer) => expected.authorize(&peer.certificate, None),
        None => Ok(()),
    };
    refused.map_err(|error| HandshakeError::PeerCertificate { role, error })
}
