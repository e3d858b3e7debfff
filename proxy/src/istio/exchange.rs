//! Istio's metadata exchange over TCP: where ALPN settled on `istio-peer-exchange`, each side sends, before anything
//! else, a magic number, a length, and an `Any` with a Struct that tells who it is.

use std::{cell::OnceCell, fmt, io, rc::Rc, sync::OnceLock};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use xds_api::{
    Message,
    pb::{self, value::Kind},
};

use super::peer::{string, value};
use crate::{stream_info::TlsInfo, worker::Node};

const MAGIC: u32 = 0x3d23_0467;
/// The magic number and the length.
const HEAD_BYTES: usize = 8;
/// Longer ones are no sidecar's (a few hundred bytes is usual).
const MAX_BYTES: usize = 256 * 1024;

const STRUCT: &str = "type.googleapis.com/google.protobuf.Struct";
const METADATA: &str = "x-envoy-peer-metadata";
const ID: &str = "x-envoy-peer-metadata-id";

/// `envoy.tcp.metadataexchange.config.MetadataExchange`, parsed; a filter of either side.
#[derive(Default)]
pub struct MetadataExchange {
    /// The ALPN under which it is spoken.
    pub protocol: Box<str>,
    pub additional_labels: Box<[Box<str>]>,
    /// What is sent; made at first use.
    pub preamble: OnceLock<Bytes>,
}

impl fmt::Debug for MetadataExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MetadataExchange({})", self.protocol)
    }
}

/// What the other side told, once that is settled: the bytes of a Struct, or nothing.
pub type Learned = Rc<OnceCell<Option<Bytes>>>;

/// The exchange of one connection.
pub struct Exchange {
    /// Still to be sent, before all else.
    pub out: Bytes,
    /// What came and has not been delivered.
    pub came: BytesMut,
    learned: Learned,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange({} to send, {:?})", self.out.len(), self.learned)
    }
}

impl MetadataExchange {
    /// The exchange of a connection on which `tls` was established; `None`, and nothing to learn, where it is not spoken.
    pub fn begin(&self, tls: Option<&TlsInfo>, node: &Node) -> (Option<Box<Exchange>>, Learned) {
        let learned = Learned::default();
        if tls.and_then(|tls| tls.alpn.as_deref()) != Some(&*self.protocol) {
            // Settled: there is nothing to learn.
            let _ = learned.set(None);
            return (None, learned);
        }
        let exchange = Exchange {
            out: self.preamble.get_or_init(|| self.preamble(node)).clone(),
            came: BytesMut::new(),
            learned: learned.clone(),
        };
        (Some(Box::new(exchange)), learned)
    }

    fn preamble(&self, node: &Node) -> Bytes {
        let mut told = pb::Struct::default();
        let own = super::own(node).to_struct(&self.additional_labels);
        told.fields.insert(METADATA.to_owned(), value(Kind::StructValue(own)));
        if !node.id.is_empty() {
            told.fields.insert(ID.to_owned(), string(&node.id));
        }
        let any = pb::Any {
            type_url: STRUCT.to_owned(),
            value: told.encode_to_vec().into(),
        };
        let any = any.encode_to_vec();
        let mut preamble = BytesMut::with_capacity(HEAD_BYTES + any.len());
        preamble.put_u32(MAGIC);
        preamble.put_u32(any.len() as u32);
        preamble.put_slice(&any);
        preamble.freeze()
    }
}

impl Exchange {
    /// Whether nothing is left to do.
    pub fn is_over(&self) -> bool {
        self.out.is_empty() && self.came.is_empty() && self.is_settled()
    }

    /// Whether `came` holds the connection's own bytes.
    pub fn is_settled(&self) -> bool {
        self.learned.get().is_some()
    }

    /// Looks at what came; `end`: nothing more will.
    ///
    /// # Errors
    /// A preamble that is too long to be one.
    pub fn look(&mut self, end: bool) -> io::Result<()> {
        if self.is_settled() {
            return Ok(());
        }
        let magic = MAGIC.to_be_bytes();
        let seen = self.came.len().min(magic.len());
        // A peer that does not speak it after all need not have sent eight bytes.
        if end || self.came[..seen] != magic[..seen] {
            return self.settle(None);
        }
        let Some(length) = self.came.get(magic.len()..HEAD_BYTES) else {
            return Ok(());
        };
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        if length > MAX_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the peer's metadata exchange announces {length} bytes"),
            ));
        }
        let Some(message) = self.came.get(HEAD_BYTES..HEAD_BYTES + length) else {
            return Ok(());
        };
        let told = read(message);
        self.came.advance(HEAD_BYTES + length);
        self.settle(told)
    }

    fn settle(&mut self, told: Option<Bytes>) -> io::Result<()> {
        let _ = self.learned.set(told);
        Ok(())
    }
}

/// The bytes of the workload's Struct within an `Any`.
fn read(message: &[u8]) -> Option<Bytes> {
    let any = pb::Any::decode(message).ok()?;
    let mut told = pb::Struct::decode(any.value).ok()?;
    match told.fields.remove(METADATA)?.kind? {
        Kind::StructValue(own) => Some(own.encode_to_vec().into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::istio::peer::Peer;
    use serde_json::json;

    fn filter() -> (MetadataExchange, Node) {
        let metadata = json!({"NAMESPACE": "demo", "WORKLOAD_NAME": "w", "LABELS": {"app": "a"}});
        let node = Node {
            id: "sidecar~1".into(),
            metadata: std::sync::Arc::new(metadata),
            ..Node::default()
        };
        let filter = MetadataExchange {
            protocol: "istio-peer-exchange".into(),
            ..MetadataExchange::default()
        };
        (filter, node)
    }

    fn spoken() -> TlsInfo {
        TlsInfo {
            peer: None,
            peer_chain: Vec::new(),
            local: None,
            version: "TLSv1.3",
            cipher: "",
            alpn: Some("istio-peer-exchange".into()),
        }
    }

    #[test]
    fn what_one_side_sends_the_other_learns_however_it_is_cut() {
        let (filter, node) = filter();
        let (exchange, _) = filter.begin(Some(&spoken()), &node);
        let sent = [&exchange.unwrap().out[..], b"hello"].concat();
        for cut in 1..sent.len() {
            let (exchange, learned) = filter.begin(Some(&spoken()), &node);
            let mut exchange = exchange.unwrap();
            for piece in sent.chunks(cut) {
                exchange.came.extend_from_slice(piece);
                exchange.look(false).unwrap();
            }
            assert_eq!(&exchange.came[..], b"hello");
            let peer = Peer::from_struct(learned.get().unwrap().as_ref().unwrap()).unwrap();
            assert_eq!((&*peer.workload, &*peer.app), ("w", "a"));
        }
    }

    #[test]
    fn without_the_protocol_there_is_no_exchange_and_without_the_magic_no_peer() {
        let (filter, node) = filter();
        let (exchange, learned) = filter.begin(None, &node);
        assert!(exchange.is_none() && learned.get().unwrap().is_none());
        let (exchange, learned) = filter.begin(Some(&spoken()), &node);
        let mut exchange = exchange.unwrap();
        exchange.came.extend_from_slice(b"GET");
        exchange.look(false).unwrap();
        assert_eq!((&exchange.came[..], learned.get()), (&b"GET"[..], Some(&None)));
    }

    #[test]
    fn a_preamble_that_announces_too_much_is_refused() {
        let (filter, node) = filter();
        let (exchange, _) = filter.begin(Some(&spoken()), &node);
        let mut exchange = exchange.unwrap();
        exchange
            .came
            .extend_from_slice(&[0x3d, 0x23, 0x04, 0x67, 0xff, 0, 0, 0]);
        assert!(exchange.look(false).is_err());
    }
}
