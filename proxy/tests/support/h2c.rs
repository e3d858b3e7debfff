//! An HTTP/2 client with prior knowledge, on `h2`.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::Method;
use tokio::net::TcpStream;

use super::h1::Connection;
use super::message::Message;
use super::upstream::{Fields, HARNESS_PATH, Recorder, fields, header_map};

const LIMIT: Duration = Duration::from_secs(8);
/// Larger than any limit that a proxy is tested for.
const MAX_HEADER_LIST: u32 = 1 << 20;

/// A request as data; `scheme` is `http`.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: &'static str,
    pub authority: &'static str,
    pub path: String,
    /// `:protocol` of an extended CONNECT.
    pub protocol: Option<&'static str>,
    pub headers: Vec<(String, String)>,
    /// Sent one DATA frame after the other, with a pause before each.
    pub data: Vec<(Duration, Vec<u8>)>,
    pub trailers: Fields,
    /// Leaves the sending side open after the data.
    pub unfinished: bool,
    /// RST_STREAM(CANCEL) once the upstreams have seen so many requests.
    pub cancel_after: Option<usize>,
}

/// What came back for one request: informational responses, then the response; no response where it was reset first.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub responses: Vec<Message>,
    pub reset: Option<String>,
}

/// Sends all requests at once on one connection.
pub async fn exchange(
    address: SocketAddr,
    requests: &[Request],
    recorder: &Recorder,
) -> (Vec<Answer>, Connection, u16) {
    let stream = TcpStream::connect(address).await.expect("a listening proxy");
    let port = stream.local_addr().map_or(0, |local| local.port());
    let mut builder = client::Builder::new();
    builder.max_header_list_size(MAX_HEADER_LIST).enable_push(false);
    let Ok((sender, connection)) = builder.handshake::<_, Bytes>(stream).await else {
        return (Vec::new(), Connection::Closed, port);
    };
    let driver = tokio::spawn(connection);
    if requests.iter().any(|request| request.protocol.is_some()) {
        let settings = async {
            while !sender.is_extended_connect_protocol_enabled() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), settings).await;
    }
    let mut pending = Vec::new();
    for request in requests {
        pending.push(tokio::time::timeout(LIMIT, one(sender.clone(), request, recorder)));
    }
    let mut answers = Vec::new();
    for answer in join_all(pending).await {
        answers.push(answer.unwrap_or_else(|_| Answer {
            responses: Vec::new(),
            reset: Some("no answer".to_owned()),
        }));
    }
    let probe = Request::harness();
    let fate = match tokio::time::timeout(LIMIT, one(sender, &probe, recorder)).await {
        Ok(answer) if answer.reset.is_none() => Connection::Kept,
        Ok(_) => Connection::Closed,
        Err(_) => Connection::Stuck,
    };
    driver.abort();
    (answers, fate, port)
}

/// In order of the requests, all polled together, so that none waits for another's answer.
async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(cx)
            {
                *output = Some(ready);
            }
        }
        if outputs.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

async fn one(sender: SendRequest<Bytes>, request: &Request, recorder: &Recorder) -> Answer {
    let mut answer = Answer::default();
    if let Err(error) = attempt(sender, request, recorder, &mut answer).await {
        answer.reset = Some(match error.reason() {
            Some(reason) if error.is_go_away() => format!("goaway {reason:?}"),
            Some(reason) => format!("reset {reason:?}"),
            None => "connection closed".to_owned(),
        });
    }
    answer
}

async fn attempt(
    sender: SendRequest<Bytes>,
    request: &Request,
    recorder: &Recorder,
    answer: &mut Answer,
) -> Result<(), h2::Error> {
    let mut sender = sender.ready().await?;
    let ends_with_head = request.data.is_empty() && request.trailers.is_empty() && !request.unfinished;
    let (mut response, mut send) = sender.send_request(request.head(), ends_with_head)?;
    if !ends_with_head {
        for (pause, bytes) in &request.data {
            tokio::time::sleep(*pause).await;
            if send.send_data(bytes.clone().into(), false).is_err() {
                break;
            }
        }
        // The proxy may have answered or reset already: that shows in the response.
        if !request.trailers.is_empty() {
            let _ = send.send_trailers(header_map(request.trailers));
        } else if !request.unfinished {
            let _ = send.send_data(Bytes::new(), true);
        }
    }
    if let Some(count) = request.cancel_after {
        recorder.wait(LIMIT, |received| received.len() >= count).await;
        send.send_reset(h2::Reason::CANCEL);
    }
    while let Some(interim) = poll_fn(|cx| response.poll_informational(cx)).await {
        answer.responses.push(head_of(&interim?));
    }
    let (parts, mut body) = response.await?.into_parts();
    answer.responses.push(head_of(&http::Response::from_parts(parts, ())));
    let message = answer.responses.last_mut().expect("just pushed");
    while let Some(data) = body.data().await {
        let data = data?;
        let _ = body.flow_control().release_capacity(data.len());
        message.body.extend_from_slice(&data);
    }
    message.trailers = body.trailers().await?.as_ref().map(fields).unwrap_or_default();
    message.complete = true;
    Ok(())
}

fn head_of(response: &http::Response<()>) -> Message {
    Message {
        start: format!("HTTP/2 {}", response.status().as_u16()),
        headers: fields(response.headers()),
        ..Message::default()
    }
}

impl Request {
    pub fn get(path: &str) -> Self {
        Self {
            method: "GET",
            authority: "a.test",
            path: path.to_owned(),
            protocol: None,
            headers: Vec::new(),
            data: Vec::new(),
            trailers: &[],
            unfinished: false,
            cancel_after: None,
        }
    }

    fn harness() -> Self {
        Self {
            authority: "harness.invalid",
            ..Self::get(HARNESS_PATH)
        }
    }

    fn head(&self) -> http::Request<()> {
        let uri = if self.method == "CONNECT" && self.protocol.is_none() {
            self.authority.to_owned()
        } else {
            format!("http://{}{}", self.authority, self.path)
        };
        let mut head = http::Request::new(());
        *head.method_mut() = Method::from_bytes(self.method.as_bytes()).expect("a method in a table of cases");
        *head.uri_mut() = uri.parse().expect("a path in a table of cases");
        if let Some(protocol) = self.protocol {
            head.extensions_mut().insert(h2::ext::Protocol::from_static(protocol));
        }
        for (name, value) in &self.headers {
            let name = http::HeaderName::from_bytes(name.as_bytes()).expect("a header name in a table of cases");
            let value = http::HeaderValue::from_bytes(value.as_bytes()).expect("a header value in a table of cases");
            head.headers_mut().append(name, value);
        }
        head
    }
}
