//! gRPC over HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md), as much as a discovery stream needs.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use prost::Message;
use tokio::net::TcpStream;

use super::{Shared, stream};

/// Serves every stream of one connection.
pub(super) async fn serve(socket: TcpStream, shared: Arc<Shared>) -> Result<(), h2::Error> {
    socket.set_nodelay(true).ok();
    let mut connection = h2::server::handshake(socket).await?;
    while let Some(request) = connection.accept().await {
        let (request, mut respond) = request?;
        let delta = match request.uri().path().rsplit('/').next() {
            Some("StreamAggregatedResources" | "StreamSecrets") => false,
            Some("DeltaAggregatedResources" | "DeltaSecrets") => true,
            _ => {
                let refusal = http::Response::builder()
                    .header("grpc-status", "12")
                    .header("content-type", CONTENT_TYPE);
                if let Ok(refusal) = refusal.body(()) {
                    respond.send_response(refusal, true)?;
                }
                continue;
            }
        };
        let head = http::Response::builder().header("content-type", CONTENT_TYPE).body(());
        let Ok(head) = head else { continue };
        let send = Sender(respond.send_response(head, false)?);
        let receive = Receiver {
            body: request.into_body(),
            buffer: BytesMut::new(),
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            let ended = if delta {
                stream::delta(receive, send, &shared).await
            } else {
                stream::world(receive, send, &shared).await
            };
            if let Err(e) = ended {
                tracing::debug!("control plane: stream ended: {e}");
            }
        });
    }
    Ok(())
}

const CONTENT_TYPE: &str = "application/grpc";
/// Flag byte and length before every message.
const PREFIX: usize = 5;

pub(super) struct Sender(SendStream<Bytes>);

impl Sender {
    pub(super) fn send(&mut self, message: &impl Message) -> anyhow::Result<()> {
        let body = message.encode_to_vec();
        let mut framed = BytesMut::with_capacity(PREFIX + body.len());
        framed.put_u8(0);
        framed.put_u32(u32::try_from(body.len())?);
        framed.put_slice(&body);
        Ok(self.0.send_data(framed.freeze(), false)?)
    }
}

pub(super) struct Receiver {
    body: RecvStream,
    buffer: BytesMut,
}

impl Receiver {
    /// The next message; `None` at the stream's end. Safe to cancel.
    pub(super) async fn next<M: Message + Default>(&mut self) -> anyhow::Result<Option<M>> {
        loop {
            if let Some(length) = self.buffer.get(1..PREFIX).map(|mut l| l.get_u32() as usize)
                && self.buffer.len() >= PREFIX + length
            {
                self.buffer.advance(PREFIX);
                return Ok(Some(M::decode(self.buffer.split_to(length))?));
            }
            let Some(chunk) = self.body.data().await else {
                return Ok(None);
            };
            let chunk = chunk?;
            self.body.flow_control().release_capacity(chunk.len())?;
            self.buffer.extend_from_slice(&chunk);
        }
    }
}
