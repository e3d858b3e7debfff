//! Reads a ClientHello out of peeked bytes, to choose a filter chain before any handshake (Envoy's `tls_inspector`).
//!
//! A pure function over all bytes seen so far: call it again when there are more. The hello may be spread over packets
//! and over records (RFC 8446 section 5.1); nothing is decided for "not TLS" while what is there could still become TLS.

mod cursor;

use std::borrow::Cow;

use cursor::Cursor;

/// What peeked bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peeked {
    /// A hello may yet come of it.
    NeedMore,
    /// No client of TLS 1.0 to 1.3 begins like that; says how it differs.
    NotTls(&'static str),
    /// The hello is larger than the limit given.
    TooLarge,
    Hello(ClientHello),
}

/// What a client offers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientHello {
    /// Lower case, as filter chains are matched.
    pub sni: Option<String>,
    /// In the client's order. Empty: none offered.
    pub alpn: Vec<Vec<u8>>,
    /// Versions as on the wire (0x0303 is TLS 1.2, 0x0304 TLS 1.3), GREASE (RFC 8701) left out. Without the extension:
    /// the hello's own version alone.
    pub supported_versions: Vec<u16>,
    /// Cipher suites as on the wire, GREASE left out.
    pub cipher_suites: Vec<u16>,
}

/// `max_client_hello_size` of Envoy's `tls_inspector`, in bytes: its default and its greatest value.
pub const MAX_CLIENT_HELLO: usize = 16 << 10;

/// Reads the hello at the start of `bytes`, which may go on behind it, spending at most `limit` bytes on it.
pub fn parse(bytes: &[u8], limit: usize) -> Peeked {
    let outcome = match handshake_message(bytes) {
        Ok(message) => hello(&message).map_or(Peeked::NotTls("its ClientHello is malformed"), Peeked::Hello),
        Err(outcome) => outcome,
    };
    match outcome {
        Peeked::NeedMore if bytes.len() >= limit => Peeked::TooLarge,
        outcome => outcome,
    }
}

const HANDSHAKE_RECORD: u8 = 22;
const MAJOR_VERSION: u8 = 3;
const RECORD_HEADER: usize = 5;
/// RFC 8446 section 5.1: 2^14 bytes; a larger record is an error, and a peer could make us wait for it.
const LARGEST_RECORD: usize = 1 << 14;
const CLIENT_HELLO: u8 = 1;
const MESSAGE_HEADER: usize = 4;

/// Joins records until the first handshake message is whole; without copying where one record holds all of it.
fn handshake_message(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Peeked> {
    let mut message: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    let mut rest = bytes;
    loop {
        let (fragment, behind) = record(rest)?;
        rest = behind;
        if message.is_empty() {
            message = Cow::Borrowed(fragment);
        } else {
            message.to_mut().extend_from_slice(fragment);
        }
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(Peeked::NotTls("its first handshake message is no ClientHello"));
        }
        if let Some(header) = message.first_chunk::<MESSAGE_HEADER>() {
            let length = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
            let end = MESSAGE_HEADER + length;
            if message.len() >= end {
                return Ok(match message {
                    Cow::Borrowed(all) => Cow::Borrowed(&all[MESSAGE_HEADER..end]),
                    Cow::Owned(all) => Cow::Owned(all[MESSAGE_HEADER..end].to_vec()),
                });
            }
        }
    }
}

/// The first record, as far as it has come, and what is behind it. An incomplete record that already shows a wrong
/// message type is told by its first bytes, so partial fragments are looked at too.
fn record(bytes: &[u8]) -> Result<(&[u8], &[u8]), Peeked> {
    match bytes {
        [] => return Err(Peeked::NeedMore),
        [kind, ..] if *kind != HANDSHAKE_RECORD => {
            return Err(Peeked::NotTls("its first byte begins no TLS handshake"));
        }
        [_, major, ..] if *major != MAJOR_VERSION => return Err(Peeked::NotTls("its record version is not 3.x")),
        _ => {}
    }
    let Some((header, body)) = bytes.split_first_chunk::<RECORD_HEADER>() else {
        return Err(Peeked::NeedMore);
    };
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if length == 0 || length > LARGEST_RECORD {
        return Err(Peeked::NotTls("its record length is out of range"));
    }
    match body.split_at_checked(length) {
        Some((fragment, behind)) => Ok((fragment, behind)),
        None if body.is_empty() => Err(Peeked::NeedMore),
        None => Ok((body, &[])),
    }
}

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
const RANDOM: usize = 32;
const HOST_NAME: u8 = 0;

/// RFC 8446 section 4.1.2. None: malformed.
fn hello(message: &[u8]) -> Option<ClientHello> {
    let mut cursor = Cursor::new(message);
    let mut hello = ClientHello {
        supported_versions: vec![cursor.u16()?],
        ..ClientHello::default()
    };
    cursor.skip(RANDOM)?;
    cursor.block8()?; // session id
    hello.cipher_suites = cursor.block16()?.u16s()?;
    cursor.block8()?; // compression methods
    if cursor.is_empty() {
        return Some(hello); // TLS 1.2 allows a hello without extensions.
    }
    let mut extensions = cursor.block16()?;
    while !extensions.is_empty() {
        let kind = extensions.u16()?;
        let mut body = extensions.block16()?;
        match kind {
            SERVER_NAME => hello.sni = server_name(body)?,
            ALPN => hello.alpn = protocols(body)?,
            SUPPORTED_VERSIONS => hello.supported_versions = body.block8()?.u16s()?,
            _ => {}
        }
    }
    cursor.is_empty().then_some(hello)
}

/// RFC 6066 section 3: of the names, the first of type host_name. The outer None: malformed.
fn server_name(mut body: Cursor<'_>) -> Option<Option<String>> {
    let mut names = body.block16()?;
    while !names.is_empty() {
        let kind = names.u8()?;
        let name = names.block16()?.rest();
        if kind == HOST_NAME {
            let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
            return Some(Some(name.to_ascii_lowercase()));
        }
    }
    Some(None)
}

fn protocols(mut body: Cursor<'_>) -> Option<Vec<Vec<u8>>> {
    let mut list = body.block16()?;
    let mut protocols = Vec::new();
    while !list.is_empty() {
        protocols.push(list.block8()?.rest().to_vec());
    }
    Some(protocols)
}

#[cfg(test)]
mod tests;
