//! `--mode validate` says what Envoy 1.40's says: of every public bootstrap, and of our own broken ones, where the field
//! at fault must be named too.

// Modules of a test program are public to it alone.
#![allow(unreachable_pub)]

mod support;

/// The broken bootstraps, as data.
mod validate {
    pub mod broken;
}

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::{fs, thread};

use support::peers;
use validate::broken::{BROKEN, Broken, ODD, TEXTS};

const FOLDERS: &[&str] = &["go-control-plane", "istio-bootstraps", "spire", "kuma-bootstraps"];
/// What the project promises.
const MIN_BROKEN: usize = 45;

/// Public bootstraps on which the two may disagree.
struct Exception {
    file: &'static str,
    /// Whether ours takes it; `None`: either way.
    ours: Option<bool>,
    reason: &'static str,
}

const EXCEPTIONS: &[Exception] = &[
    Exception {
        file: "istio-bootstraps/ambient_golden.json",
        ours: Some(true),
        reason: "its bootstrap extension exists only in Istio's build of Envoy, and extensions there guard nothing",
    },
    Exception {
        file: "istio-bootstraps/tracing_lightstep_golden.json",
        ours: Some(true),
        reason: "Envoy dropped this tracer; tracers that are not known are skipped, since they guard nothing",
    },
    Exception {
        file: "kuma-bootstraps/generator.custom-config-minimal-request.golden.yaml",
        ours: None,
        reason: "its admin log is the folder /var/log of this machine",
    },
];

/// Exit status and everything printed.
struct Said {
    accepted: bool,
    text: String,
}

#[test]
fn agrees_on_public_bootstraps() {
    let test = "validate";
    let (Some(envoy), Some(pillion)) = (peers::need(test, "envoy"), peers::pillion(test)) else {
        return;
    };
    let mut files = Vec::new();
    for folder in FOLDERS {
        let Some(path) = peers::corpus(test, folder) else {
            return;
        };
        let listed = fs::read_dir(&path)
            .expect("a folder of the corpus")
            .map(|entry| entry.expect("an entry").path());
        files.extend(listed.map(|file| {
            (
                format!("{folder}/{}", file.file_name().unwrap_or_default().to_string_lossy()),
                file,
            )
        }));
    }
    files.sort();
    let rows = in_parallel(&files, |(name, file)| {
        let (theirs, ours) = (validate(&envoy, file), validate(&pillion, file));
        let exception = EXCEPTIONS.iter().find(|exception| exception.file == *name);
        let agreed = match exception {
            Some(exception) => {
                exception.ours.is_none_or(|wanted| wanted == ours.accepted) || ours.accepted == theirs.accepted
            }
            None => theirs.accepted == ours.accepted,
        };
        let word = |said: &Said| if said.accepted { "accepts" } else { "refuses" };
        let note = exception.map_or(String::new(), |exception| format!("  ({})", exception.reason));
        let mut row = format!("{:74} Envoy {}, Pillion {}{note}", name, word(&theirs), word(&ours));
        if !agreed {
            let _ = write!(
                row,
                "\n  DISAGREE\n  Envoy: {}\n  Pillion: {}",
                tail(&theirs.text),
                tail(&ours.text)
            );
        }
        (agreed, row)
    });
    let agreed = finish("public bootstraps", &rows);
    assert_eq!(
        agreed,
        rows.len(),
        "of {} bootstraps some are judged otherwise than by Envoy, see the table",
        rows.len()
    );
}

#[test]
fn refuses_what_envoy_refuses_and_says_where() {
    let test = "validate";
    let (Some(envoy), Some(pillion)) = (peers::need(test, "envoy"), peers::pillion(test)) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let base = validate::broken::base(dir.path());
    let good = write(dir.path(), "good", &base.to_string());
    for (who, binary) in [("Envoy", &envoy), ("Pillion", &pillion)] {
        let said = validate(binary, &good);
        assert!(
            said.accepted,
            "{who} refuses the base of all broken bootstraps: {}",
            tail(&said.text)
        );
    }
    let texts = TEXTS
        .iter()
        .map(|(name, text, wanted)| (*name, (*text).to_owned(), (*wanted).to_owned()));
    let patched = BROKEN
        .iter()
        .map(|broken| (broken.name, broken.bootstrap(&base), broken.wanted()));
    let cases: Vec<_> = patched.chain(texts).collect();
    let same = envoy == pillion;
    let rows = in_parallel(&cases, |(name, text, wanted)| {
        let file = write(dir.path(), name, text);
        let (theirs, ours) = (validate(&envoy, &file), validate(&pillion, &file));
        let fault = match (theirs.accepted, ours.accepted) {
            (true, _) => Some(format!("Envoy takes it: {}", tail(&theirs.text))),
            (_, true) => Some("Pillion takes it".to_owned()),
            _ if !same && !ours.text.contains(wanted) => {
                Some(format!("Pillion does not name `{wanted}`: {}", tail(&ours.text)))
            }
            _ => None,
        };
        let row = fault
            .as_ref()
            .map_or(format!("{name:50} refused by both: {}", tail(&theirs.text)), |fault| {
                format!("{name:50} WRONG: {fault}\n  Envoy: {}", tail(&theirs.text))
            });
        (fault.is_none(), row)
    });
    let right = finish("broken bootstraps", &rows);
    assert!(cases.len() >= MIN_BROKEN, "{} broken bootstraps", cases.len());
    assert_eq!(right, rows.len(), "see the table");
}

#[test]
fn takes_the_odd_ones_that_envoy_takes() {
    let test = "validate";
    let (Some(envoy), Some(pillion)) = (peers::need(test, "envoy"), peers::pillion(test)) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let base = validate::broken::base(dir.path());
    let rows = in_parallel(ODD, |odd| {
        let file = write(dir.path(), odd.name, &odd.bootstrap(&base));
        let (theirs, ours) = (validate(&envoy, &file), validate(&pillion, &file));
        let row = match (theirs.accepted, ours.accepted) {
            (true, true) => format!("{:50} taken by both", odd.name),
            (true, false) => format!("{:50} WRONG: Pillion refuses it: {}", odd.name, tail(&ours.text)),
            (false, _) => format!("{:50} WRONG: Envoy refuses it: {}", odd.name, tail(&theirs.text)),
        };
        (theirs.accepted && ours.accepted, row)
    });
    let right = finish("odd bootstraps", &rows);
    assert_eq!(right, rows.len(), "see the table");
}

/// Runs `--mode validate` in a folder of its own, since a bootstrap may name files.
fn validate(binary: &Path, file: &Path) -> Said {
    let dir = tempfile::tempdir().expect("a folder");
    let Output { status, stdout, stderr } = Command::new(binary)
        .args([
            "--mode",
            "validate",
            "--service-node",
            "n",
            "--service-cluster",
            "c",
            "-l",
            "error",
            "-c",
        ])
        .arg(file)
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", binary.display()));
    let text = String::from_utf8_lossy(&stderr).into_owned() + &String::from_utf8_lossy(&stdout);
    assert!(
        status.code().is_some(),
        "{} died of a signal on {}: {text}",
        binary.display(),
        file.display()
    );
    Said {
        accepted: status.success(),
        text,
    }
}

fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (queue, results) = (Mutex::new(items.iter().enumerate()), Mutex::new(Vec::new()));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no thread panics with the queue").next();
                    let Some((index, item)) = next else { return };
                    let result = work(item);
                    results
                        .lock()
                        .expect("no thread panics with the results")
                        .push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("all threads ended");
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Prints the table; how many are right.
fn finish(what: &str, rows: &[(bool, String)]) -> usize {
    let right = rows.iter().filter(|(right, _)| *right).count();
    let table: String = rows.iter().map(|(_, row)| format!("{row}\n")).collect();
    say!("{table}{what}: {right} of {} as they should be", rows.len());
    right
}

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let extension = if text.starts_with('{') { "json" } else { "yaml" };
    let path = dir.join(format!("{}.{extension}", name.replace([' ', '/'], "-")));
    fs::write(&path, text).expect("a bootstrap file");
    path
}

/// Enough to see what was said; Envoy repeats the whole bootstrap in its errors.
fn tail(text: &str) -> String {
    const SHOWN: usize = 600;
    let line = text
        .lines()
        .find(|line| line.contains("error") || line.contains("critical"))
        .unwrap_or(text);
    line.chars().take(SHOWN).collect()
}

impl Broken {
    fn wanted(&self) -> String {
        self.at
            .map_or_else(|| validate::broken::from_resource(self.path), str::to_owned)
    }
}
