//! `x-forwarded-client-cert`: what is told of the client's certificate (Envoy's docs, "x-forwarded-client-cert").

use std::fmt::Write;

use http::{HeaderName, HeaderValue};

use crate::{
    http::{ForwardClientCert, HttpConnectionManager, message::RequestHead},
    stream_info::ConnectionInfo,
};

const XFCC: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

pub(super) fn forward(manager: &HttpConnectionManager, connection: &ConnectionInfo, request: &mut RequestHead) {
    if manager.forward_client_cert == ForwardClientCert::AlwaysForwardOnly {
        return;
    }
    let peer = connection.tls.as_ref().and_then(|t| t.peer.as_ref());
    let mutual = peer.is_some();
    if manager.forward_client_cert == ForwardClientCert::Sanitize || !mutual {
        request.headers.remove(XFCC);
        return;
    }
    if manager.forward_client_cert == ForwardClientCert::ForwardOnly {
        return;
    }
    let Some(element) = element(manager, connection) else {
        if manager.forward_client_cert == ForwardClientCert::SanitizeSet {
            request.headers.remove(XFCC);
        }
        return;
    };
    let value = match request.headers.get(XFCC) {
        Some(before) if manager.forward_client_cert == ForwardClientCert::AppendForward => {
            let mut joined = before.as_bytes().to_vec();
            joined.push(b',');
            joined.extend_from_slice(element.as_bytes());
            HeaderValue::try_from(joined)
        }
        _ => HeaderValue::try_from(element),
    };
    if let Ok(value) = value {
        request.headers.insert(XFCC, value);
    }
}

/// One `;`-joined element for this hop.
fn element(manager: &HttpConnectionManager, connection: &ConnectionInfo) -> Option<String> {
    let tls = connection.tls.as_ref()?;
    let peer = tls.peer.as_ref()?;
    let certificate = &peer.certificate;
    let set = manager.set_client_cert;
    let mut out = String::new();
    let mut key = |name: &str, value: &str| {
        if !out.is_empty() {
            out.push(';');
        }
        // Writing to a String cannot fail.
        let _ = write!(out, "{name}={value}");
    };
    if let Some(local) = &tls.local {
        for uri in local.uris() {
            key("By", uri);
        }
    }
    key("Hash", &certs::certificate::hex(&certificate.sha256));
    if set.cert {
        let leaf = tls
            .peer_chain
            .first()
            .map(|der| certs::pem::encode_certificate(der))
            .unwrap_or_default();
        key("Cert", &format!("\"{}\"", url_encode(&leaf)));
    }
    if set.chain {
        let chain: String = tls
            .peer_chain
            .iter()
            .map(|der| certs::pem::encode_certificate(der))
            .collect();
        key("Chain", &format!("\"{}\"", url_encode(&chain)));
    }
    if set.subject {
        key("Subject", &format!("\"{}\"", certificate.subject));
    }
    if set.uri {
        let mut uris = certificate.uris().peekable();
        if uris.peek().is_none() {
            key("URI", "");
        }
        for uri in uris {
            key("URI", uri);
        }
    }
    if set.dns {
        for dns in certificate.dns_names() {
            key("DNS", dns);
        }
    }
    Some(out)
}

/// URL encoding of PEM text, as Envoy encodes `Cert` and `Chain`.
fn url_encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, b| {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(b as char),
            other => {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{other:02X}");
            }
        }
        out
    })
}
