//! Certificates, keys and revocation lists out of PEM bytes (RFC 7468), with errors that point at the bad block.
//!
//! Blocks are found here rather than by a library because a bundle with one broken block must still serve the others,
//! and the operator must learn which block it was.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer,
    PrivateSec1KeyDer,
};

/// What is wrong with one block of a PEM file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("PEM block {block} ({label}, line {line}): {reason}")]
pub struct BlockError {
    /// Counted from 1, over all blocks of the file.
    pub block: usize,
    pub label: String,
    /// Line of the block's BEGIN, counted from 1.
    pub line: usize,
    pub reason: String,
}

/// What is wrong with certificates, keys or revocation lists that were to be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaterialError {
    #[error(transparent)]
    Block(#[from] BlockError),
    #[error("no {wanted} in the PEM{}", there_is(.found))]
    Missing { wanted: &'static str, found: Vec<String> },
    #[error("every one of the {} certificates in the bundle is unusable; first: {}", .0.len(), .0[0])]
    AllUnusable(Vec<BlockError>),
    #[error("the private key is encrypted; decrypt it (openssl pkey -in key.pem) or deliver it without a password")]
    EncryptedKey,
    #[error("the private key cannot be used: {0}")]
    UnusableKey(String),
    #[error(
        "the private key does not belong to certificate {subject:?} (serial {serial}): certificate and key were mixed up"
    )]
    KeyMismatch { subject: String, serial: String },
    #[error("certificate cannot be read: {0}")]
    Certificate(String),
    #[error("certificate revocation list cannot be read: {0}")]
    RevocationList(String),
    #[error("{path}: {reason}")]
    File { path: String, reason: String },
    #[error("SPIFFE trust bundle: {0}")]
    SpiffeBundle(String),
}

fn there_is(labels: &[String]) -> String {
    match labels {
        [] => " (it has no PEM block at all)".into(),
        labels => format!(" (it has: {})", labels.join(", ")),
    }
}

/// One block, decoded or not.
pub(crate) struct Block<'a> {
    number: usize,
    line: usize,
    label: &'a str,
    content: Result<Vec<u8>, String>,
    encrypted: bool,
}

impl Block<'_> {
    pub(crate) fn error(&self, reason: impl Into<String>) -> BlockError {
        BlockError {
            block: self.number,
            label: self.label.into(),
            line: self.line,
            reason: reason.into(),
        }
    }

    fn is_certificate(&self) -> bool {
        matches!(self.label, "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE")
    }

    fn der(&self) -> Result<&[u8], BlockError> {
        self.content.as_deref().map_err(|reason| self.error(reason.clone()))
    }
}

/// Splits PEM into its blocks. Text between blocks is commentary (RFC 7468 section 2).
pub(crate) fn blocks(pem: &[u8]) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut open: Option<(usize, &str, Vec<u8>, bool)> = None;
    for (index, line) in pem.split(|b| *b == b'\n').enumerate() {
        let line = line.trim_ascii();
        if let Some(label) = marker(line, b"-----BEGIN ") {
            if let Some((at, unfinished, ..)) = open.take() {
                push(&mut blocks, at, unfinished, Err("it has no END line".into()), false);
            }
            open = Some((index + 1, label, Vec::new(), false));
        } else if let Some(label) = marker(line, b"-----END ") {
            if let Some((at, begun, base64, encrypted)) = open.take() {
                let content = if begun == label {
                    STANDARD
                        .decode(&base64)
                        .map_err(|e| format!("its base64 is broken: {e}"))
                } else {
                    Err(format!("it ends as {label:?}"))
                };
                push(&mut blocks, at, begun, content, encrypted);
            }
        } else if let Some((.., base64, encrypted)) = &mut open {
            // RFC 1421 headers of OpenSSL's old key format ("Proc-Type: 4,ENCRYPTED") hold a colon, base64 never does.
            match line.contains(&b':') {
                true => *encrypted |= line.ends_with(b"ENCRYPTED"),
                false => base64.extend_from_slice(line),
            }
        }
    }
    if let Some((at, label, ..)) = open {
        push(&mut blocks, at, label, Err("it has no END line".into()), false);
    }
    blocks
}

fn push<'a>(
    blocks: &mut Vec<Block<'a>>,
    line: usize,
    label: &'a str,
    content: Result<Vec<u8>, String>,
    encrypted: bool,
) {
    blocks.push(Block {
        number: blocks.len() + 1,
        line,
        label,
        content,
        encrypted,
    });
}

fn marker<'a>(line: &'a [u8], start: &[u8]) -> Option<&'a str> {
    let label = line.strip_prefix(start)?.strip_suffix(b"-----")?;
    std::str::from_utf8(label).ok()
}

/// Every certificate of a bundle that can be decoded, and the blocks that cannot.
pub(crate) fn certificates_leniently(pem: &[u8]) -> (Vec<(CertificateDer<'static>, Block<'_>)>, Vec<BlockError>) {
    let (mut certificates, mut broken) = (Vec::new(), Vec::new());
    for block in blocks(pem).into_iter().filter(Block::is_certificate) {
        match block.der() {
            Ok(der) => certificates.push((CertificateDer::from(der.to_vec()), block)),
            Err(error) => broken.push(error),
        }
    }
    (certificates, broken)
}

/// A certificate chain, leaf first. One bad block spoils it: a chain with a hole verifies nowhere.
pub(crate) fn certificate_chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let blocks = blocks(pem);
    let chain: Vec<_> = blocks
        .iter()
        .filter(|block| block.is_certificate())
        .map(|block| block.der().map(|der| CertificateDer::from(der.to_vec())))
        .collect::<Result<_, _>>()?;
    if chain.is_empty() {
        Err(missing("certificate", &blocks))
    } else {
        Ok(chain)
    }
}

/// The first private key: PKCS#8, PKCS#1 (RSA) or SEC1 (EC).
pub(crate) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, MaterialError> {
    let blocks = blocks(pem);
    for block in &blocks {
        if block.encrypted || block.label == "ENCRYPTED PRIVATE KEY" {
            return Err(MaterialError::EncryptedKey);
        }
        let der = || block.der().map(<[u8]>::to_vec);
        return Ok(match block.label {
            "PRIVATE KEY" => PrivatePkcs8KeyDer::from(der()?).into(),
            "RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(der()?).into(),
            "EC PRIVATE KEY" => PrivateSec1KeyDer::from(der()?).into(),
            _ => continue,
        });
    }
    Err(missing("private key", &blocks))
}

/// Every certificate revocation list.
pub(crate) fn revocation_lists(pem: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, MaterialError> {
    let blocks = blocks(pem);
    let lists: Vec<_> = blocks
        .iter()
        .filter(|block| block.label == "X509 CRL")
        .map(|block| block.der().map(|der| CertificateRevocationListDer::from(der.to_vec())))
        .collect::<Result<_, _>>()?;
    if lists.is_empty() {
        Err(missing("certificate revocation list", &blocks))
    } else {
        Ok(lists)
    }
}

fn missing(wanted: &'static str, blocks: &[Block<'_>]) -> MaterialError {
    MaterialError::Missing {
        wanted,
        found: blocks.iter().map(|block| block.label.to_owned()).collect(),
    }
}

/// What a PEM holds, for errors about what it lacks.
pub(crate) fn labels(pem: &[u8]) -> Vec<String> {
    blocks(pem).iter().map(|block| block.label.to_owned()).collect()
}

/// A certificate as a PEM block, as XFCC's `Cert` and `/certs` print it.
pub fn encode_certificate(der: &[u8]) -> String {
    encode("CERTIFICATE", der)
}

/// RFC 7468 section 2: lines of exactly 64 characters.
const LINE: usize = 64;

fn encode(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(LINE));
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_broken_block_does_not_hide_the_others() {
        let good = encode_certificate(b"one");
        let pem = format!(
            "# a comment\n{good}-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\r\n{good}-----BEGIN CERTIFICATE-----\nAAAA\n"
        );
        let (certificates, broken) = certificates_leniently(pem.as_bytes());
        assert_eq!(certificates.len(), 2);
        assert_eq!(
            broken.iter().map(|e| (e.block, e.line)).collect::<Vec<_>>(),
            [(2, 5), (4, 11)]
        );
        assert!(broken[0].to_string().contains("base64"), "{}", broken[0]);
        assert!(broken[1].to_string().contains("no END line"), "{}", broken[1]);
    }

    #[test]
    fn keys_of_every_form() {
        for (label, pkcs8, pkcs1, sec1) in [
            ("PRIVATE KEY", true, false, false),
            ("RSA PRIVATE KEY", false, true, false),
            ("EC PRIVATE KEY", false, false, true),
        ] {
            let pem = format!(
                "-----BEGIN EC PARAMETERS-----\nAAAA\n-----END EC PARAMETERS-----\n{}",
                encode(label, b"k")
            );
            let key = private_key(pem.as_bytes()).unwrap();
            assert_eq!(matches!(key, PrivateKeyDer::Pkcs8(_)), pkcs8);
            assert_eq!(matches!(key, PrivateKeyDer::Pkcs1(_)), pkcs1);
            assert_eq!(matches!(key, PrivateKeyDer::Sec1(_)), sec1);
        }
    }

    #[test]
    fn errors_say_what_is_there_instead() {
        let certificate = encode_certificate(b"x");
        let error = private_key(certificate.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, "no private key in the PEM (it has: CERTIFICATE)");
        assert!(
            certificate_chain(b"")
                .unwrap_err()
                .to_string()
                .contains("no PEM block at all")
        );
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        assert_eq!(private_key(old.as_bytes()), Err(MaterialError::EncryptedKey));
        assert_eq!(
            private_key(encode("ENCRYPTED PRIVATE KEY", b"k").as_bytes()),
            Err(MaterialError::EncryptedKey)
        );
    }

    proptest! {
        #[test]
        fn any_bytes(pem in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = blocks(&pem);
        }

        #[test]
        fn round_trip(der in proptest::collection::vec(any::<u8>(), 0..300)) {
            let chain = certificate_chain(encode_certificate(&der).as_bytes()).unwrap();
            prop_assert_eq!(chain[0].as_ref(), &der[..]);
        }
    }
}
