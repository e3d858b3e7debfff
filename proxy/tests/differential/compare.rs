//! What a case showed, with what may differ between two processes taken out, and the judgement of two of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::Duration;

use crate::differential::case::Suite;
use crate::support::bootstrap::Bootstrap;

/// A body longer than this is compared by length and hash, so that a table stays readable.
const SHOWN_BODY: usize = 600;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    Status,
    Headers,
    Body,
    Trailers,
    /// The downstream connection afterwards.
    Connection,
    /// Requests as the upstreams got them.
    Upstream,
    /// Which requests shared an upstream connection.
    Pool,
    AccessLog,
}

/// A difference that stays.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    /// `suite: case`
    pub case: &'static str,
    pub aspect: Aspect,
    pub reason: &'static str,
}

pub const KNOWN: &[Known] = &[];

/// What one proxy did with one case.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    seen: BTreeMap<Aspect, Vec<String>>,
    pub time: Duration,
}

impl Observed {
    pub fn add(&mut self, aspect: Aspect, text: String) {
        self.seen.entry(aspect).or_default().push(text);
    }
}

pub struct Verdict {
    /// `suite: case`
    pub name: String,
    pub unexpected: Vec<(Aspect, String)>,
    pub known: Vec<&'static Known>,
    /// Both sides in full.
    pub details: String,
    /// Envoy's and ours.
    pub times: (Duration, Duration),
}

pub fn verdicts(suite: &Suite, theirs: &[Observed], ours: &[Observed]) -> Vec<Verdict> {
    let cases = suite.cases.iter().zip(theirs.iter().zip(ours));
    cases
        .map(|(case, (theirs, ours))| verdict(format!("{}: {}", suite.name, case.name), theirs, ours))
        .collect()
}

/// Where our proxy did not even start on the suite's bootstrap.
pub fn all_failed(suite: &Suite) -> Vec<Verdict> {
    let failed = suite.cases.iter().map(|case| Verdict {
        name: format!("{}: {}", suite.name, case.name),
        unexpected: vec![(Aspect::Status, String::new())],
        known: Vec::new(),
        details: String::new(),
        times: Default::default(),
    });
    failed.collect()
}

fn verdict(name: String, theirs: &Observed, ours: &Observed) -> Verdict {
    let mut verdict = Verdict {
        name,
        unexpected: Vec::new(),
        known: Vec::new(),
        details: String::new(),
        times: (theirs.time, ours.time),
    };
    let mut aspects: Vec<_> = theirs.seen.keys().chain(ours.seen.keys()).copied().collect();
    aspects.sort_unstable();
    aspects.dedup();
    let none = Vec::new();
    for aspect in aspects {
        let (their, our) = (
            theirs.seen.get(&aspect).unwrap_or(&none),
            ours.seen.get(&aspect).unwrap_or(&none),
        );
        let text = lines("Envoy", aspect, their) + &lines("Pillion", aspect, our);
        verdict.details.push_str(&text);
        if their == our {
            continue;
        }
        match KNOWN
            .iter()
            .find(|known| known.case == verdict.name && known.aspect == aspect)
        {
            Some(known) => verdict.known.push(known),
            None => verdict.unexpected.push((aspect, text)),
        }
    }
    verdict
}

fn lines(who: &str, aspect: Aspect, seen: &[String]) -> String {
    let mut text = format!("    {who} {aspect:?}:\n");
    for item in seen {
        let _ = writeln!(text, "      {}", item.replace('\n', "\n      "));
    }
    text
}

/// Names for what differs from run to run.
pub struct Names {
    ports: BTreeMap<String, String>,
    dir: String,
}

impl Names {
    pub fn new(bootstrap: &Bootstrap, dir: &Path) -> Self {
        let ports = bootstrap
            .ports
            .iter()
            .map(|(name, port)| (port.to_string(), format!("{{{name}}}")))
            .collect();
        Self {
            ports,
            dir: dir.display().to_string(),
        }
    }

    pub fn client(&mut self, port: u16) {
        self.ports.insert(port.to_string(), "{client}".to_owned());
    }

    /// Sorted by name: order between different names means nothing, and neither proxy promises it.
    pub fn headers(&self, headers: &[(String, String)]) -> String {
        let mut headers: Vec<_> = headers.iter().collect();
        headers.sort_by_key(|(name, _)| name.to_ascii_lowercase());
        headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", self.value(name, value)))
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn value(&self, name: &str, value: &str) -> String {
        match name.to_ascii_lowercase().as_str() {
            "date" if value.ends_with(" GMT") => "{date}".to_owned(),
            "x-envoy-upstream-service-time" if value.parse::<u64>().is_ok() => "{ms}".to_owned(),
            // A later try is told what is left of the timeout.
            "x-envoy-expected-rq-timeout-ms" if value.len() > 4 => value
                .parse::<f64>()
                .map_or(value.to_owned(), |ms| format!("{} s", (ms / 1000.0).round())),
            // The version digit carries the trace decision.
            "x-request-id" if is_uuid(value) => format!("{{uuid {}}}", &value[14..15]),
            _ => self.text(value),
        }
    }

    /// Ports after a colon become names; so does the proxy's folder.
    pub fn text(&self, text: &str) -> String {
        let text = text.replace(&self.dir, "{dir}");
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(colon) = rest.find(':') {
            let digits = rest[colon + 1..].bytes().take_while(u8::is_ascii_digit).count();
            let port = &rest[colon + 1..colon + 1 + digits];
            out.push_str(&rest[..=colon]);
            match self.ports.get(port) {
                Some(name) => out.push_str(name),
                None if digits >= 4 && rest[..colon].ends_with("127.0.0.1") => out.push_str("{ephemeral}"),
                None => out.push_str(port),
            }
            rest = &rest[colon + 1 + digits..];
        }
        out + rest
    }

    pub fn body(&self, bytes: &[u8]) -> String {
        if bytes.len() > SHOWN_BODY {
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            return format!("({} bytes, hash {:x})", bytes.len(), hasher.finish());
        }
        format!("{:?}", self.text(&String::from_utf8_lossy(bytes)))
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| {
            if [8, 13, 18, 23].contains(&at) {
                byte == b'-'
            } else {
                byte.is_ascii_hexdigit()
            }
        })
}
