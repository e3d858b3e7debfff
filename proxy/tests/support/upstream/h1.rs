//! The HTTP/1.1 upstream's connection.

use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Act, Entry, HARNESS_PATH, Recorder, Reply};
use crate::support::message::{Kind, Message};

const READ: usize = 64 * 1024;

pub(super) async fn serve(stream: TcpStream, name: String, id: usize, recorder: Arc<Recorder>) {
    let _ = stream.set_nodelay(true);
    let mut connection = Connection {
        stream,
        buffer: Vec::new(),
        recorder,
    };
    while connection.request(&name, id).await.is_continue() {}
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    recorder: Arc<Recorder>,
}

impl Connection {
    async fn request(&mut self, name: &str, id: usize) -> ControlFlow<()> {
        let head = loop {
            if let Some((message, _)) = Message::parse(&self.buffer, Kind::Request, false) {
                break message;
            }
            self.fill().await?;
        };
        if head.start.contains(HARNESS_PATH) {
            let reply = default_reply(&head);
            let used = self.body(None).await?;
            self.buffer.drain(..used);
            return self.act_all(reply, None).await;
        }
        let (entry, reply) = self.recorder.add(name, id, head.clone());
        let reply = reply.unwrap_or_else(|| default_reply(&head));
        let flow = if reply.early {
            let flow = self.act_all(reply, Some(entry)).await;
            if flow.is_continue() {
                self.take_body(entry).await
            } else {
                flow
            }
        } else {
            self.take_body(entry).await?;
            self.act_all(reply, Some(entry)).await
        };
        if flow.is_continue() {
            self.recorder.end(entry, "complete");
        }
        flow
    }

    async fn take_body(&mut self, entry: Entry) -> ControlFlow<()> {
        let Continue(used) = self.body(Some(entry)).await else {
            self.recorder.end(entry, "truncated");
            return Break(());
        };
        self.buffer.drain(..used);
        Continue(())
    }

    /// Reads to the end of the request's body; its length in the buffer.
    async fn body(&mut self, entry: Option<Entry>) -> ControlFlow<(), usize> {
        loop {
            let (message, used) = Message::parse(&self.buffer, Kind::Request, false).expect("the head was parsed");
            let complete = message.complete;
            if let Some(entry) = entry {
                self.recorder.update(entry, |received| received.message = message);
            }
            if complete {
                return Continue(used);
            }
            self.fill().await?;
        }
    }

    async fn act_all(&mut self, reply: Reply, entry: Option<Entry>) -> ControlFlow<()> {
        let recorder = self.recorder.clone();
        let end = |what: &str| {
            if let Some(entry) = entry {
                recorder.end(entry, what);
            }
        };
        for act in reply.acts {
            match act {
                Act::Raw(bytes) => {
                    if self.stream.write_all(&bytes).await.is_err() {
                        end("abandoned");
                        return Break(());
                    }
                }
                Act::Sleep(time) => tokio::time::sleep(time).await,
                Act::Hang => {
                    while self.fill().await.is_continue() {}
                    end("abandoned");
                    return Break(());
                }
                Act::Close => {
                    let _ = self.stream.shutdown().await;
                    end("complete");
                    return Break(());
                }
                Act::Abort => {
                    let _ = SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO));
                    end("complete");
                    return Break(());
                }
                Act::Echo => {
                    self.echo(entry).await;
                    end("complete");
                    return Break(());
                }
                Act::EchoOnce => {
                    if self.buffer.is_empty() {
                        self.fill().await?;
                    }
                    self.echo_buffer(entry).await?;
                }
                other => panic!("{other:?} is no act of an HTTP/1.1 upstream"),
            }
        }
        Continue(())
    }

    async fn echo(&mut self, entry: Option<Entry>) {
        while self.echo_buffer(entry).await.is_continue() && self.fill().await.is_continue() {}
    }

    async fn echo_buffer(&mut self, entry: Option<Entry>) -> ControlFlow<()> {
        let bytes = std::mem::take(&mut self.buffer);
        if let Some(entry) = entry {
            self.recorder
                .update(entry, |received| received.message.body.extend_from_slice(&bytes));
        }
        if self.stream.write_all(&bytes).await.is_ok() {
            Continue(())
        } else {
            Break(())
        }
    }

    async fn fill(&mut self) -> ControlFlow<()> {
        self.buffer.reserve(READ);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => Break(()),
            Ok(_) => Continue(()),
        }
    }
}

fn default_reply(request: &Message) -> Reply {
    Reply::h1("200 OK", "", if request.method() == "HEAD" { "" } else { "hello" })
}
