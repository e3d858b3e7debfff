//! Envoy 1.40's verdicts, recorded from the real binary: what it answered to each request and what it forwarded of it, and
//! what it made of each response. The codec must agree, but for the deviations listed here with their reasons.

use http::StatusCode;

use super::{
    super::{ClientSettings, ServerSettings},
    io::{Script, client, collect, context, now, server},
};
use crate::{
    cluster::HeaderCase,
    http::{
        UnderscoreAction,
        codec::CodecError,
        message::{Frame, RequestHead, ResponseHead},
    },
};

const RECORDED: &str = include_str!("envoy-1.40.jsonl");

/// Where the codec differs, on purpose: (row, why).
const DEVIATIONS: &[(&str, &str)] = &[
    (
        "crlf in TE value [default]",
        "a stray CR in a framing header; Envoy takes the body for the next request",
    ),
    ("cr in CL value [default]", "a stray CR in a framing header"),
    (
        "trailers forbidden host [options]",
        "RFC 9110 section 6.5.1: no routing or framing fields in trailers",
    ),
    ("trailers cl [options]", "RFC 9110 section 6.5.1"),
    ("trailers te [options]", "RFC 9110 section 6.5.1"),
    ("trailers conn [options]", "RFC 9110 section 6.5.1"),
    (
        "trailers def 101 [default]",
        "the bound on fields holds for trailers that will be dropped, too",
    ),
    (
        "preserve [preserve_case]",
        "repeated headers that are spelled in two ways",
    ),
    ("resp status b'HTTP/1.1 1000 X' [default]", "a status has three digits"),
    ("resp status b'HTTP/1.1 2000 OK' [default]", "a status has three digits"),
    (
        "resp connect 200 cl [default]",
        "RFC 9110 section 8.6: no Content-Length in a 2xx to CONNECT",
    ),
];

/// Answers of Envoy's connection manager and router, which read a head that the codec took.
const NOT_THE_CODECS: &[&str] = &[
    "absolute_path_rejected",
    "path_normalization_failed",
    "query_missing_content_type",
    "upgrade_failed",
    "websocket_handshake_unsuccessful",
    "downstream_remote_disconnect",
];

#[test]
fn requests_are_taken_refused_and_forwarded_as_envoy_does() {
    let mut wrong = Vec::new();
    let mut compared = 0;
    for row in rows().filter(|row| row.response.is_none()) {
        let ours = request_verdict(&row);
        compared += 1;
        let agrees = match &ours {
            Err((status, details)) => *status == row.status && *details == row.details,
            Ok(forwarded) if NOT_THE_CODECS.contains(&row.details.as_str()) => row
                .forwarded
                .first()
                .is_none_or(|theirs| same_message(theirs, forwarded)),
            Ok(forwarded) => row
                .forwarded
                .first()
                .is_some_and(|theirs| same_message(theirs, forwarded)),
        };
        let excused = DEVIATIONS.iter().any(|(name, _)| *name == row.name);
        if agrees == excused {
            wrong.push(format!(
                "{}: {:?}\n  envoy: {} {} {:?}\n  ours:  {ours:?}",
                row.name,
                String::from_utf8_lossy(&row.request),
                row.status,
                row.details,
                row.forwarded
            ));
        }
    }
    assert!(compared > 200, "{compared}");
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn responses_are_taken_refused_and_forwarded_as_envoy_does() {
    let mut wrong = Vec::new();
    let mut compared = 0;
    for row in rows().filter(|row| row.response.is_some()) {
        let ours = response_verdict(&row);
        compared += 1;
        let agrees = match &ours {
            Err(_) => row.status >= 502 && row.answered.contains("upstream connect error"),
            // The router's answer to a refused WebSocket handshake.
            Ok(_) if row.details == "websocket_handshake_unsuccessful" => true,
            Ok(answered) => same_message(&row.answered, answered),
        };
        let excused = DEVIATIONS.iter().any(|(name, _)| *name == row.name);
        if agrees == excused {
            wrong.push(format!(
                "{}: {:?}\n  envoy: {} {:?}\n  ours:  {ours:?}",
                row.name,
                row.response.as_deref().map(String::from_utf8_lossy),
                row.details,
                row.answered
            ));
        }
    }
    assert!(compared > 80, "{compared}");
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
}

#[derive(Debug)]
struct Row {
    name: String,
    listener: String,
    request: Vec<u8>,
    response: Option<Vec<u8>>,
    response_ends: bool,
    status: u16,
    details: String,
    forwarded: Vec<String>,
    answered: String,
}

fn rows() -> impl Iterator<Item = Row> {
    RECORDED.lines().map(|line| {
        let row: serde_json::Value = serde_json::from_str(line).expect("a recorded row");
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        Row {
            name: format!("{} [{}]", text("name"), text("listener")),
            listener: text("listener"),
            request: latin1(&text("request")),
            response: row["response"].as_str().map(latin1),
            response_ends: row["response_ends"].as_bool().unwrap_or_default(),
            status: row["status"]
                .as_u64()
                .and_then(|n| n.try_into().ok())
                .unwrap_or_default(),
            details: text("details"),
            forwarded: row["forwarded"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|f| f.as_str())
                .map(str::to_owned)
                .collect(),
            answered: text("answered"),
        }
    })
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).expect("bytes are recorded as Latin-1"))
        .collect()
}

fn settings(listener: &str) -> ServerSettings {
    let mut settings = ServerSettings::default();
    match listener {
        "options" => {
            settings.accept_http_10 = true;
            settings.default_host_for_http_10 = Some(http::HeaderValue::from_static("default.host"));
            settings.enable_trailers = true;
            settings.allow_chunked_length = true;
        }
        "underscore_reject" => settings.headers_with_underscores = UnderscoreAction::RejectRequest,
        "underscore_drop" => settings.headers_with_underscores = UnderscoreAction::DropHeader,
        "no_absolute_url" => settings.allow_absolute_url = false,
        "proper_case" => settings.header_case = HeaderCase::Proper,
        "preserve_case" => settings.header_case = HeaderCase::Preserve,
        _ => {}
    }
    settings
}

/// What goes upstream of the first request, or how it is refused.
fn request_verdict(row: &Row) -> Result<String, (u16, String)> {
    let refused = |error: CodecError| match error {
        CodecError::Protocol { status, details, .. } => (status, details.to_owned()),
        other => (0, other.to_string()),
    };
    let mut server = server(Script::new([row.request.as_slice()]).ending(), settings(&row.listener));
    let Some(mut head) = now(server.poll_request(&mut context())).map_err(refused)? else {
        return Err((0, "closed".into()));
    };
    if head.host_missing {
        return Err((400, "missing_host_header".into()));
    }
    // The router's work: Envoy answers 100-continue itself on these listeners.
    if head.headers.get("expect").is_some_and(|v| v == "100-continue") {
        head.headers.remove("expect");
    }
    let tunnel = head.upgrade.is_some() || head.method == http::Method::CONNECT;
    let mut client = client(
        Script::default(),
        ClientSettings {
            enable_trailers: true,
            ..ClientSettings::default()
        },
    );
    client.send_head(&head, !server.request_has_body());
    if !tunnel && server.request_has_body() {
        match now(collect(|cx| server.poll_body(cx))) {
            Ok(body) => {
                client.send_frame(Frame::Data(body.data.into()), false);
                match body.trailers {
                    Some(trailers) => client.send_frame(Frame::Trailers(trailers), true),
                    None => client.send_end(),
                }
            }
            // The request's body was never completed: only the heads are compared.
            Err(CodecError::Closed) => {}
            Err(error) => return Err(refused(error)),
        }
    }
    now(client.poll_flush(&mut context())).expect("a write");
    Ok(client.io().written.iter().map(|b| char::from(*b)).collect())
}

/// What goes downstream.
fn response_verdict(row: &Row) -> Result<String, CodecError> {
    let mut server = server(Script::new([row.request.as_slice()]), settings(&row.listener));
    let request: RequestHead = now(server.poll_request(&mut context()))?.expect("a request");
    let mut script = Script::new([row.response.as_deref().unwrap_or_default()]);
    script.ends = row.response_ends;
    let mut client = client(
        script,
        ClientSettings {
            enable_trailers: true,
            ..ClientSettings::default()
        },
    );
    client.send_head(&request, !server.request_has_body());
    let (head, end): (ResponseHead, bool) = loop {
        let (head, end) = now(client.poll_head(&mut context()))?;
        if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
            break (head, end);
        }
    };
    server.send_head(&head, end);
    let mut whole = Vec::new();
    while let (false, std::task::Poll::Ready(incoming)) = (end, client.poll_body(&mut context())) {
        match incoming {
            Ok(crate::http::message::Incoming::End) => {
                server.send_frame(Frame::Data(std::mem::take(&mut whole).into()), true);
                break;
            }
            Ok(crate::http::message::Incoming::Frame(Frame::Data(data))) => whole.extend_from_slice(&data),
            Ok(crate::http::message::Incoming::Frame(trailers)) => {
                server.send_frame(Frame::Data(std::mem::take(&mut whole).into()), false);
                server.send_frame(trailers, true);
                break;
            }
            // Too late for an answer: the connection is cut.
            Err(_) => break,
        }
    }
    server.send_frame(Frame::Data(whole.into()), false);
    now(server.poll_flush(&mut context())).expect("a write");
    Ok(server.io().written.iter().map(|b| char::from(*b)).collect())
}

/// The same start line, the same lines in any order, the same body. Envoy keeps lines in the order of arrival, ours groups
/// repeated ones.
fn same_message(theirs: &str, ours: &str) -> bool {
    let split = |message: &str| {
        let (head, body) = message.split_once("\r\n\r\n").unwrap_or((message, ""));
        let mut lines: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
        lines[1..].sort();
        (lines, body.to_owned())
    };
    let (theirs, ours) = (split(theirs), split(ours));
    theirs.0 == ours.0 && (theirs.1 == ours.1 || ours.1.is_empty())
}
