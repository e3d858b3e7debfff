//! The table of paths, and who may ask for what.

use std::{convert::Infallible, rc::Rc};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header, request::Parts};
use http_body::Frame;
use http_body_util::{Full, StreamBody};

use super::{Admin, Request, State, dump, hosts, info, server::Body};
use crate::stats::Query;

/// A finished body and its type.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

pub(super) const TEXT: &str = "text/plain; charset=UTF-8";
pub(super) const JSON: &str = "application/json";

impl Answer {
    pub(super) fn text(body: impl Into<String>) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: TEXT,
            body: body.into(),
        }
    }

    pub(super) fn json(body: impl Into<String>) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: JSON,
            body: body.into(),
        }
    }

    pub(super) fn error(status: StatusCode, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: TEXT,
            body: body.into(),
        }
    }
}

type Handler = fn(&Rc<Admin>, &Parameters<'_>) -> Answer;

/// (path, changes state, what it does, how).
const PATHS: &[(&str, bool, &str, Handler)] = &[
    ("/certs", false, "print certs on machine", |a, _| {
        Answer::json(hosts::certificates(a))
    }),
    ("/clusters", false, "upstream cluster status", hosts::clusters),
    ("/config_dump", false, "dump current configs", dump::config_dump),
    ("/drain_listeners", true, "drain listeners", drain_listeners),
    (
        "/healthcheck/fail",
        true,
        "cause the server to fail health checks",
        |a, _| {
            a.failing.set(true);
            Answer::text("OK\n")
        },
    ),
    (
        "/healthcheck/ok",
        true,
        "cause the server to pass health checks",
        |a, _| {
            a.failing.set(false);
            Answer::text("OK\n")
        },
    ),
    ("/help", false, "print out list of admin commands", |_, _| {
        Answer::text(help())
    }),
    (
        "/hot_restart_version",
        false,
        "print the hot restart compatibility version",
        |_, _| Answer::text("disabled"),
    ),
    ("/listeners", false, "print listener info", hosts::listeners),
    ("/logging", true, "query/change logging levels", logging),
    ("/memory", false, "print current allocation/heap usage", |_, _| {
        Answer::json(info::memory())
    }),
    ("/quitquitquit", true, "exit the server", |a, _| {
        // The process ends: nobody needs to hear more.
        let _ = a.requests.send(Request::Quit);
        Answer::text("OK\n")
    }),
    (
        "/ready",
        false,
        "print server state, return 200 if LIVE, otherwise return 503",
        |a, _| ready(a),
    ),
    ("/reset_counters", true, "reset all counters to zero", |a, _| {
        a.shared.stats.reset_counters();
        Answer::text("OK\n")
    }),
    ("/runtime", false, "print runtime values", |a, _| {
        Answer::json(info::runtime(a))
    }),
    (
        "/server_info",
        false,
        "print server version/status information",
        |a, _| Answer::json(info::server_info(a)),
    ),
];

/// Answers one request.
pub(super) fn respond(admin: &Rc<Admin>, head: &Parts) -> Response<Body> {
    let path = head.uri.path();
    let query = head.uri.query().unwrap_or("");
    let allowed = &admin.options.allow_paths;
    if !allowed.is_empty() && !allowed.iter().any(|m| m.matches(path.as_bytes())) {
        return full(Answer::error(
            StatusCode::FORBIDDEN,
            format!("request to path {path} not allowed\n"),
        ));
    }
    if matches!(path, "/stats" | "/stats/prometheus") {
        return stats(admin, query, path.ends_with("prometheus"));
    }
    if path == "/" {
        return full(Answer::text(help()));
    }
    let Some((_, changes, _, handler)) = PATHS.iter().find(|(known, ..)| *known == path) else {
        return full(Answer::error(
            StatusCode::NOT_FOUND,
            format!("invalid path. {}", help()),
        ));
    };
    if *changes && head.method != Method::POST {
        return full(Answer::error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"));
    }
    if *changes && from_elsewhere(&head.headers) {
        let why = "this request changes state and was sent by a page of another origin: refused\n";
        return full(Answer::error(StatusCode::FORBIDDEN, why));
    }
    full(handler(admin, &Parameters(query)))
}

/// A browser sent this for a page that is not ours (there is none of ours).
fn from_elsewhere(headers: &HeaderMap) -> bool {
    let site = headers
        .get("sec-fetch-site")
        .is_some_and(|v| v != "same-origin" && v != "none");
    site || headers.contains_key(header::ORIGIN)
}

fn full(answer: Answer) -> Response<Body> {
    let body: Body = Box::pin(Full::new(Bytes::from(answer.body)));
    finish(answer.status, answer.content_type, body)
}

fn finish(status: StatusCode, content_type: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Ok(value) = content_type.parse() {
        headers.insert(header::CONTENT_TYPE, value);
    }
    headers.insert(
        header::CACHE_CONTROL,
        http::HeaderValue::from_static("no-cache, max-age=0"),
    );
    headers.insert("x-content-type-options", http::HeaderValue::from_static("nosniff"));
    response
}

/// Statistics in pieces: the control thread turns to other work between two of them.
fn stats(admin: &Rc<Admin>, query: &str, prometheus: bool) -> Response<Body> {
    let query = match Query::parse(query, prometheus) {
        Ok(query) => query,
        Err(why) => return full(Answer::error(StatusCode::BAD_REQUEST, why)),
    };
    admin.refresh_gauges();
    let mut render = admin.shared.stats.render(query);
    let content_type = render.content_type();
    let pieces = futures_lite(move || {
        render
            .next()
            .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from(piece))))
    });
    finish(StatusCode::OK, content_type, Box::pin(StreamBody::new(pieces)))
}

/// An iterator as a stream that yields to the runtime before every item.
fn futures_lite<T>(next: impl FnMut() -> Option<T> + Unpin) -> impl futures_core::Stream<Item = T> {
    Yielding { next, yielded: false }
}

struct Yielding<F> {
    next: F,
    yielded: bool,
}

impl<T, F: FnMut() -> Option<T> + Unpin> futures_core::Stream for Yielding<F> {
    type Item = T;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        if !std::mem::replace(&mut self.yielded, true) {
            cx.waker().wake_by_ref();
            return std::task::Poll::Pending;
        }
        self.yielded = false;
        std::task::Poll::Ready((self.next)())
    }
}

fn ready(admin: &Admin) -> Answer {
    let (status, name) = match admin.state.get() {
        State::Live => (StatusCode::OK, "LIVE"),
        State::Draining => (StatusCode::SERVICE_UNAVAILABLE, "DRAINING"),
        State::PreInitializing => (StatusCode::SERVICE_UNAVAILABLE, "PRE_INITIALIZING"),
        State::Initializing => (StatusCode::SERVICE_UNAVAILABLE, "INITIALIZING"),
    };
    Answer {
        status,
        content_type: TEXT,
        body: format!("{name}\n"),
    }
}

fn drain_listeners(admin: &Rc<Admin>, parameters: &Parameters<'_>) -> Answer {
    let graceful = parameters.has("graceful");
    let skip_exit = parameters.has("skip_exit");
    if skip_exit && !graceful {
        return Answer::error(StatusCode::BAD_REQUEST, "skip_exit requires graceful\n");
    }
    // The control thread serves the channel as long as it serves this request.
    let _ = admin.requests.send(Request::DrainListeners {
        inbound_only: parameters.has("inboundonly"),
        graceful,
        close: !skip_exit,
    });
    Answer::text("OK\n")
}

fn logging(_: &Rc<Admin>, parameters: &Parameters<'_>) -> Answer {
    use crate::logging;
    let changed = match (parameters.get("level"), parameters.get("paths"), parameters.first()) {
        (Some(level), ..) => logging::set_level(level),
        (None, Some(pairs), _) => logging::change(|levels| levels.set_all(pairs)),
        (None, None, Some((name, level))) => logging::change(|levels| levels.set(name, level)),
        (None, None, None) => Ok(()),
    };
    if let Err(e) = changed {
        let what = match e {
            logging::LevelError::Level(_) => "level",
            logging::LevelError::Component(_) | logging::LevelError::Pair(_) => "name",
        };
        return Answer {
            status: StatusCode::BAD_REQUEST,
            ..Answer::text(format!("error: unknown logger {what}\n\n{LOGGING_USAGE}"))
        };
    }
    let mut text = String::from("active loggers:\n");
    for (name, level) in logging::levels().iter().flat_map(logging::Levels::iter) {
        text.push_str(&format!("  {name}: {level}\n"));
    }
    text.push('\n');
    Answer::text(text)
}

const LOGGING_USAGE: &str = "usage: /logging?<name>=<level> (change single level)
usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)
usage: /logging?level=<level> (change all levels)
levels: trace debug info warning error critical off 
";

fn help() -> String {
    let mut text = String::from("admin commands are:\n");
    for (path, changes, what, _) in PATHS {
        text.push_str(&format!("  {path}{}: {what}\n", if *changes { " (POST)" } else { "" }));
    }
    text.push_str("  /stats: print server stats\n  /stats/prometheus: print server stats in prometheus format\n");
    text
}

/// A query string.
pub(super) struct Parameters<'a>(&'a str);

impl Parameters<'_> {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        })
    }

    /// The first pair, for what is named by its key.
    fn first(&self) -> Option<(&str, &str)> {
        self.0.split('&').next()?.split_once('=')
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}
