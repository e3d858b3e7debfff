//! The HTTP/2 upstream's connection.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::{Act, Entry, Fields, HARNESS_PATH, Recorder, Reply, fields, header_map};
use crate::support::message::Message;

/// Larger than any limit that a proxy is tested for.
const MAX_HEADER_LIST: u32 = 1 << 20;

pub(super) async fn serve(stream: TcpStream, name: String, id: usize, recorder: Arc<Recorder>) {
    let mut builder = Builder::new();
    builder.max_header_list_size(MAX_HEADER_LIST).enable_connect_protocol();
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
        return;
    };
    let (goaway, mut goaways) = mpsc::unbounded_channel::<()>();
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                let stream = Stream { respond, body: None, goaway: goaway.clone(), recorder: recorder.clone() };
                tokio::spawn(stream.serve(request, name.clone(), id));
            }
            Some(()) = goaways.recv() => connection.graceful_shutdown(),
        }
    }
}

struct Stream {
    respond: SendResponse<Bytes>,
    body: Option<SendStream<Bytes>>,
    goaway: mpsc::UnboundedSender<()>,
    recorder: Arc<Recorder>,
}

impl Stream {
    async fn serve(mut self, request: Request<RecvStream>, name: String, id: usize) {
        let (parts, incoming) = request.into_parts();
        let message = request_head(&parts);
        let head_only = parts.method == http::Method::HEAD;
        if parts.uri.path().contains(HARNESS_PATH) {
            self.act_all(default_reply(head_only)).await;
            return;
        }
        let (entry, reply) = self.recorder.add(&name, id, message);
        let reply = reply.unwrap_or_else(|| default_reply(head_only));
        let recorder = self.recorder.clone();
        let end = if reply.acts.iter().any(|act| matches!(act, Act::Echo)) {
            self.echo(reply, incoming, entry).await
        } else if reply.early {
            let reading = take_body(incoming, entry, recorder.clone());
            let (read, acted) = tokio::join!(reading, self.act_all(reply));
            acted.or(read)
        } else {
            match take_body(incoming, entry, recorder.clone()).await {
                Some(reset) => Some(reset),
                None => self.act_all(reply).await,
            }
        };
        recorder.end(entry, end.as_deref().unwrap_or("complete"));
    }

    /// Carries out the reply; how the proxy ended the stream, where it did.
    async fn act_all(&mut self, reply: Reply) -> Option<String> {
        for act in reply.acts {
            let sent = match act {
                Act::Interim(status, fields) => self.respond.send_informational(head(status, fields)),
                Act::Head(status, fields) => self
                    .respond
                    .send_response(head(status, fields), false)
                    .map(|body| self.body = Some(body)),
                Act::Data(bytes) => self.body().send_data(bytes.into(), false),
                Act::Trailers(fields) => self.body().send_trailers(header_map(fields)),
                Act::End => self.body().send_data(Bytes::new(), true),
                Act::Reset(reason) => {
                    self.respond.send_reset(reason);
                    return None;
                }
                Act::GoAway => {
                    let _ = self.goaway.send(());
                    Ok(())
                }
                Act::Sleep(time) => {
                    tokio::time::sleep(time).await;
                    Ok(())
                }
                Act::Hang => return Some(self.reset().await),
                other => panic!("{other:?} is no act of an HTTP/2 upstream"),
            };
            if let Err(error) = sent {
                return Some(error.reason().map_or("truncated".to_owned(), reset_name));
            }
        }
        None
    }

    async fn echo(&mut self, reply: Reply, mut incoming: RecvStream, entry: Entry) -> Option<String> {
        let acts = reply
            .acts
            .into_iter()
            .filter(|act| !matches!(act, Act::Echo))
            .collect::<Vec<_>>();
        self.act_all(Reply::acts(acts)).await;
        while let Some(Ok(bytes)) = incoming.data().await {
            let _ = incoming.flow_control().release_capacity(bytes.len());
            self.recorder
                .update(entry, |received| received.message.body.extend_from_slice(&bytes));
            self.body().send_data(bytes, false).ok()?;
        }
        self.body().send_data(Bytes::new(), true).ok()?;
        None
    }

    fn body(&mut self) -> &mut SendStream<Bytes> {
        self.body.as_mut().expect("a reply sends its head first")
    }

    async fn reset(&mut self) -> String {
        let reason = match &mut self.body {
            Some(body) => poll_fn(|cx| body.poll_reset(cx)).await,
            None => poll_fn(|cx| self.respond.poll_reset(cx)).await,
        };
        reason.map_or("abandoned".to_owned(), reset_name)
    }
}

/// Records body and trailers; how the proxy cut it off, where it did.
async fn take_body(mut incoming: RecvStream, entry: Entry, recorder: Arc<Recorder>) -> Option<String> {
    while let Some(data) = incoming.data().await {
        let Ok(bytes) = data.map_err(|error| error.reason()) else {
            return Some("truncated".to_owned());
        };
        let _ = incoming.flow_control().release_capacity(bytes.len());
        recorder.update(entry, |received| received.message.body.extend_from_slice(&bytes));
    }
    match incoming.trailers().await {
        Ok(trailers) => {
            recorder.update(entry, |received| {
                received.message.trailers = trailers.as_ref().map(fields).unwrap_or_default();
                received.message.complete = true;
            });
            None
        }
        Err(error) => Some(error.reason().map_or("truncated".to_owned(), reset_name)),
    }
}

fn reset_name(reason: Reason) -> String {
    format!("reset {reason:?}")
}

fn request_head(parts: &http::request::Parts) -> Message {
    let mut headers = vec![(":method".to_owned(), parts.method.to_string())];
    if let Some(protocol) = parts.extensions.get::<h2::ext::Protocol>() {
        headers.push((":protocol".to_owned(), protocol.as_str().to_owned()));
    }
    if let Some(scheme) = parts.uri.scheme_str() {
        headers.push((":scheme".to_owned(), scheme.to_owned()));
    }
    if let Some(authority) = parts.uri.authority() {
        headers.push((":authority".to_owned(), authority.to_string()));
    }
    if let Some(path) = parts.uri.path_and_query() {
        headers.push((":path".to_owned(), path.to_string()));
    }
    headers.extend(fields(&parts.headers));
    Message {
        start: "HTTP/2".to_owned(),
        headers,
        ..Message::default()
    }
}

fn head(status: u16, fields: Fields) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status.try_into().expect("a status in a table of cases");
    *response.headers_mut() = header_map(fields);
    response
}

fn default_reply(head_only: bool) -> Reply {
    if head_only {
        Reply::acts([Act::Head(200, &[]), Act::End])
    } else {
        Reply::h2(200, &[], "hello")
    }
}
