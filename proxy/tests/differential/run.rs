//! One suite on one proxy: the process, its upstreams, and every case in turn.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::differential::case::{Case, Client, Suite};
use crate::differential::compare::{Aspect, Names, Observed};
use crate::support::bootstrap::{self, Bootstrap};
use crate::support::h1::{self, Connection};
use crate::support::h2c;
use crate::support::message::Message;
use crate::support::proxy::Proxy;
use crate::support::upstream::{self, HARNESS_PATH, Received, Recorder};

/// No times and no ephemeral ports: what must be equal.
const LOG_FORMAT: &str = "%PROTOCOL% %REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% code=%RESPONSE_CODE% flags=%RESPONSE_FLAGS% \
    details=%RESPONSE_CODE_DETAILS% rx=%BYTES_RECEIVED% tx=%BYTES_SENT% cluster=%UPSTREAM_CLUSTER% route=%ROUTE_NAME% \
    attempts=%UPSTREAM_REQUEST_ATTEMPT_COUNT% failure=%UPSTREAM_TRANSPORT_FAILURE_REASON% host=%REQ(:AUTHORITY)%";
/// The proxy's own connections and log lines end a moment after the client's.
const SETTLE: Duration = Duration::from_secs(3);
/// For a client that left: the proxy must have noticed before the next case marks the log.
const LEFT: Duration = Duration::from_millis(60);

/// What each case of the suite showed, in order.
pub fn suite(suite: &Suite, binary: &Path) -> Vec<Observed> {
    let dir = tempfile::tempdir().expect("a folder for the proxy");
    let bootstrap = Bootstrap::new(suite.bootstrap, dir.path(), LOG_FORMAT);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut observed = runtime.block_on(async {
        let recorder = Arc::new(Recorder::default());
        for (name, port) in &bootstrap.ports {
            match name.split_once(':') {
                Some(("h1", name)) => upstream::serve_h1(*port, name, &recorder),
                Some(("h2", name)) => upstream::serve_h2(*port, name, &recorder),
                _ => {}
            }
        }
        let proxy = {
            let (binary, text, dir) = (binary.to_owned(), bootstrap.text.clone(), dir.path().to_owned());
            tokio::task::spawn_blocking(move || Proxy::start(&binary, &text, &dir))
                .await
                .expect("a proxy that starts")
        };
        let mut observed = Vec::new();
        for (index, case) in suite.cases.iter().enumerate() {
            observed.push(one(case, &bootstrap, &recorder).await);
            mark(&format!("{HARNESS_PATH}/mark/{index}"), &bootstrap).await;
        }
        let last = format!("{HARNESS_PATH}/mark/{}", suite.cases.len() - 1);
        let deadline = Instant::now() + SETTLE;
        while !read_log(dir.path()).contains(&last) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(proxy);
        observed
    });
    split_log(
        &read_log(dir.path()),
        &mut observed,
        &Names::new(&bootstrap, dir.path()),
    );
    observed
}

async fn one(case: &Case, bootstrap: &Bootstrap, recorder: &Arc<Recorder>) -> Observed {
    let start = Instant::now();
    recorder.begin(case.script.clone());
    let address = bootstrap.listener(case.listener);
    let mut names = Names::new(bootstrap, Path::new("/nonexistent"));
    let mut observed = Observed::default();
    let connection = match (&case.client, case.h1_steps()) {
        (Client::H2(requests), _) => {
            let (answers, connection, port) = h2c::exchange(address, requests, recorder).await;
            names.client(port);
            for answer in answers {
                responses(&mut observed, &names, &answer.responses);
                observed.add(Aspect::Status, answer.reset.unwrap_or_default());
            }
            if requests.iter().any(|request| request.cancel_after.is_some()) {
                tokio::time::sleep(LEFT).await;
            }
            connection
        }
        (_, Some((steps, kinds))) => {
            let exchange = h1::exchange(address, &steps, &kinds, recorder).await;
            names.client(exchange.port);
            responses(&mut observed, &names, &exchange.responses);
            observed.add(Aspect::Body, format!("then {}", names.body(&exchange.rest)));
            // A connection without HTTP is logged once both its ends are gone.
            let raw = case.listener.starts_with("tcp-");
            if raw || matches!(exchange.connection, Connection::Left | Connection::Tunnel) {
                tokio::time::sleep(LEFT).await;
            }
            exchange.connection
        }
        (_, None) => unreachable!("every HTTP/1.1 client has steps"),
    };
    observed.add(Aspect::Connection, format!("{connection:?}"));
    recorder
        .wait(SETTLE, |received| {
            received.iter().all(|received| received.end != "open")
        })
        .await;
    upstreams(&mut observed, &names, recorder.received());
    observed.time = start.elapsed();
    observed
}

fn responses(observed: &mut Observed, names: &Names, messages: &[Message]) {
    for message in messages {
        observed.add(Aspect::Status, message.start.clone());
        observed.add(Aspect::Headers, names.headers(&message.headers));
        observed.add(
            Aspect::Body,
            names.body(&message.body) + if message.complete { "" } else { " (cut off)" },
        );
        observed.add(Aspect::Trailers, names.headers(&message.trailers));
    }
}

fn upstreams(observed: &mut Observed, names: &Names, received: Vec<Received>) {
    // By upstream: which endpoint is asked first is a matter of chance where there are several.
    let mut connections: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut pool: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut requests = Vec::new();
    for Received {
        upstream,
        connection,
        message,
        end,
    } in received
    {
        let known = connections.entry(upstream.clone()).or_default();
        let ordinal = known.iter().position(|have| *have == connection).unwrap_or_else(|| {
            known.push(connection);
            known.len() - 1
        });
        pool.entry(upstream.clone()).or_default().push(ordinal);
        let headers = names.headers(&message.headers).replace('\n', "\n      ");
        let trailers = names.headers(&message.trailers).replace('\n', "\n      ");
        requests.push(format!(
            "{upstream}: {} [{end}]\n      {headers}\n      body: {}\n      trailers: {trailers}",
            names.text(&message.start),
            names.body(&message.body)
        ));
    }
    for (upstream, ordinals) in pool {
        for ordinal in ordinals {
            observed.add(Aspect::Pool, format!("{upstream}: connection {ordinal}"));
        }
    }
    requests.sort();
    for request in requests {
        observed.add(Aspect::Upstream, request);
    }
}

/// A request of the harness's own, whose line in the access log ends the case's.
async fn mark(path: &str, bootstrap: &Bootstrap) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: harness.invalid\r\n\r\n");
    h1::ask(bootstrap.listener("main"), request.as_bytes()).await;
}

fn read_log(dir: &Path) -> String {
    std::fs::read_to_string(bootstrap::access_log(dir)).unwrap_or_default()
}

fn split_log(log: &str, observed: &mut [Observed], names: &Names) {
    let mut case = 0;
    let mut lines = Vec::new();
    for line in log.lines() {
        if line.contains(&format!("{HARNESS_PATH}/mark/")) {
            lines.sort();
            if let Some(observed) = observed.get_mut(case) {
                lines.drain(..).for_each(|line| observed.add(Aspect::AccessLog, line));
            }
            case += 1;
        } else if !line.contains(HARNESS_PATH) {
            lines.push(names.text(line));
        }
    }
}
