//! Log files: workers copy lines to where they wait, one thread writes them, so that a slow disk never stops a request.
//!
//! `/dev/stdout` and `/dev/stderr` are the inherited descriptors: opening them by name fails where they belong to another
//! user, as under pilot-agent.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    mem,
    os::fd::AsFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use hashbrown::HashMap;

use crate::stats::{FilesystemStat, Group};

/// Bytes that wait for a file at most, beyond those that have to come together first. Then lines are dropped and counted
/// rather than requests stopped.
const WAITING_MAX: usize = 16 * 1024 * 1024;

/// When buffered lines are written: `--file-flush-interval-msec`, `--file-flush-min-size-kb`.
#[derive(Debug, Clone, Copy)]
pub struct FlushSettings {
    pub interval: Duration,
    /// Bytes.
    pub min_size: usize,
}

/// The way to every log file.
#[derive(Debug)]
pub struct LogFiles {
    shared: Arc<Shared>,
    settings: FlushSettings,
    /// `filesystem.`
    stats: Group<FilesystemStat>,
}

/// What workers and the writer share.
#[derive(Debug, Default)]
struct Shared {
    /// Held for as long as it takes to copy a line.
    waiting: Mutex<Waiting>,
    /// The writer is not woken for each line: that would cost a sixth of what a request costs.
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    files: HashMap<Arc<str>, Lines>,
    /// The writer waits for a first line rather than for a time.
    asleep: bool,
    /// Open the files anew (SIGUSR1, after a rotation).
    reopen: bool,
    /// Who waits until everything is written out.
    flushes: Vec<SyncSender<()>>,
    ended: bool,
}

#[derive(Debug)]
struct Lines {
    bytes: Vec<u8>,
    /// When the first of them came.
    since: Instant,
}

impl LogFiles {
    /// Starts the writer's thread, which ends with what is returned here.
    ///
    /// # Errors
    /// Where no thread can be made.
    pub fn start(settings: FlushSettings, stats: Group<FilesystemStat>) -> io::Result<Arc<Self>> {
        let settings = FlushSettings {
            // No bytes at all are never enough.
            min_size: settings.min_size.max(1),
            ..settings
        };
        let shared = Arc::new(Shared::default());
        let writer = Writer {
            shared: shared.clone(),
            settings,
            stats: stats.clone(),
            files: HashMap::new(),
        };
        thread::Builder::new()
            .name("access-log".into())
            .spawn(move || writer.run())?;
        Ok(Arc::new(Self {
            shared,
            settings,
            stats,
        }))
    }

    /// Hands a line (with its newline) over.
    pub fn write(&self, path: &Arc<str>, line: &str) {
        let mut waiting = self.shared.waiting();
        let lines = match waiting.files.get_mut(path) {
            Some(lines) => lines,
            None => waiting.files.entry(path.clone()).or_insert_with(Lines::new),
        };
        let before = lines.bytes.len();
        let after = before + line.len();
        if after > self.settings.min_size.saturating_add(WAITING_MAX) {
            drop(waiting);
            self.stats.inc(FilesystemStat::WriteFailed);
            tracing::warn!(path = &**path, "access-log line dropped: the writer is behind");
            return;
        }
        if before == 0 {
            lines.since = Instant::now();
        }
        lines.bytes.extend_from_slice(line.as_bytes());
        let enough = before < self.settings.min_size && after >= self.settings.min_size;
        // Before the writer can take it off again.
        self.stats.inc(FilesystemStat::WriteBuffered);
        self.stats
            .gauge_add(FilesystemStat::WriteTotalBuffered, line.len() as i64);
        let first = mem::take(&mut waiting.asleep);
        drop(waiting);
        if enough || first {
            self.shared.wake.notify_one();
        }
    }

    pub fn reopen(&self) {
        self.tell(|waiting| waiting.reopen = true);
    }

    /// Waits until every line that was handed over is written.
    pub fn flush(&self) {
        let (done, wait) = mpsc::sync_channel(1);
        self.tell(|waiting| waiting.flushes.push(done));
        // Refused only where the writer has panicked.
        let _ = wait.recv();
    }

    fn tell(&self, what: impl FnOnce(&mut Waiting)) {
        what(&mut self.shared.waiting());
        self.shared.wake.notify_one();
    }
}

impl Drop for LogFiles {
    fn drop(&mut self) {
        self.tell(|waiting| waiting.ended = true);
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    fn new() -> Self {
        Self {
            bytes: Vec::new(),
            since: Instant::now(),
        }
    }
}

/// What the writer has to do at a time.
#[derive(Default)]
struct Due {
    lines: Vec<(Arc<str>, Vec<u8>)>,
    reopen: bool,
    flushes: Vec<SyncSender<()>>,
    ended: bool,
}

impl Waiting {
    /// Takes what is to be written now. Otherwise: how long until the next will be, if there are lines.
    fn take_due(&mut self, settings: FlushSettings, stats: &Group<FilesystemStat>) -> Result<Due, Option<Duration>> {
        let mut due = Due {
            lines: Vec::new(),
            reopen: mem::take(&mut self.reopen),
            flushes: mem::take(&mut self.flushes),
            ended: self.ended,
        };
        let all = due.reopen || due.ended || !due.flushes.is_empty();
        let mut next = None;
        for (path, lines) in self.files.iter_mut().filter(|(_, lines)| !lines.bytes.is_empty()) {
            let length = lines.bytes.len();
            let enough = length >= settings.min_size;
            let left = settings.interval.saturating_sub(lines.since.elapsed());
            if enough || all || left.is_zero() {
                if !enough && !all {
                    stats.inc(FilesystemStat::FlushedByTimer);
                }
                // As many will come again before the next time, if they came fast.
                let room = Vec::with_capacity(if enough { length } else { 0 });
                due.lines.push((path.clone(), mem::replace(&mut lines.bytes, room)));
            } else {
                next = Some(next.map_or(left, |next: Duration| next.min(left)));
            }
        }
        if all || !due.lines.is_empty() {
            Ok(due)
        } else {
            Err(next)
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    settings: FlushSettings,
    stats: Group<FilesystemStat>,
    /// `None`: it could not be opened.
    files: HashMap<Arc<str>, Option<File>>,
}

impl Writer {
    fn run(mut self) {
        loop {
            let due = self.due();
            for (path, bytes) in due.lines {
                self.write(path, &bytes);
            }
            if due.reopen {
                self.files.clear();
            }
            for done in due.flushes {
                let _ = done.send(());
            }
            if due.ended {
                return;
            }
        }
    }

    /// Waits until there is something to do.
    fn due(&self) -> Due {
        let (mut waiting, mut lately) = (self.shared.waiting(), true);
        loop {
            let until = match waiting.take_due(self.settings, &self.stats) {
                Ok(due) => return due,
                Err(Some(next)) => next,
                // While lines come, the first of them need not wake the writer.
                Err(None) if mem::take(&mut lately) => self.settings.interval,
                Err(None) => {
                    waiting.asleep = true;
                    waiting.files.values_mut().for_each(|lines| lines.bytes = Vec::new());
                    waiting = self.shared.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
            };
            let woken = self.shared.wake.wait_timeout(waiting, until);
            (waiting, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn write(&mut self, path: Arc<str>, bytes: &[u8]) {
        let file = self.files.entry(path).or_insert_with_key(|path| {
            open(path)
                .inspect_err(|e| {
                    self.stats.inc(FilesystemStat::ReopenFailed);
                    tracing::error!("access log {path}: cannot open it: {e}");
                })
                .ok()
        });
        match file.as_mut().map(|file| file.write_all(bytes)) {
            Some(Ok(())) => self.stats.inc(FilesystemStat::WriteCompleted),
            Some(Err(e)) => {
                self.stats.inc(FilesystemStat::WriteFailed);
                tracing::error!("access log: lines are lost: {e}");
            }
            None => self.stats.inc(FilesystemStat::WriteFailed),
        }
        let written = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        self.stats.gauge_add(FilesystemStat::WriteTotalBuffered, -written);
    }
}

/// Opens a log file for appending.
///
/// # Errors
/// The file system's.
pub fn open(path: &str) -> io::Result<File> {
    match path {
        "/dev/stdout" => io::stdout().as_fd().try_clone_to_owned().map(File::from),
        "/dev/stderr" => io::stderr().as_fd().try_clone_to_owned().map(File::from),
        path => OpenOptions::new().create(true).append(true).open(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Prefix, StatsConfig, Store};

    const FOREVER: Duration = Duration::from_secs(3600);

    fn written(path: &str, wanted: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::fs::read_to_string(path).unwrap_or_default() != wanted {
            assert!(Instant::now() < deadline, "not written to {path}: {wanted:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn files(interval: Duration, min_size: usize) -> (Arc<LogFiles>, tempfile::TempDir, Arc<str>) {
        let settings = FlushSettings { interval, min_size };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log").to_str().unwrap().into();
        let stats = Store::new(1, StatsConfig::default()).group(Prefix::root("filesystem."));
        (LogFiles::start(settings, stats).unwrap(), folder, path)
    }

    #[test]
    fn lines_are_written_together_once_they_are_enough_and_what_is_left_at_the_end() {
        let (files, _folder, path) = files(FOREVER, 8);
        files.write(&path, "first\n");
        assert!(!std::fs::exists(&*path).unwrap());
        files.write(&path, "second\n");
        written(&path, "first\nsecond\n");
        files.write(&path, "third\n");
        drop(files);
        written(&path, "first\nsecond\nthird\n");
    }

    #[test]
    fn few_lines_are_written_after_the_interval_also_after_a_pause() {
        let (files, _folder, path) = files(Duration::from_millis(20), 1024);
        files.write(&path, "first\n");
        written(&path, "first\n");
        // Longer than the writer waits for more.
        thread::sleep(Duration::from_millis(100));
        files.write(&path, "second\n");
        written(&path, "first\nsecond\n");
    }

    #[test]
    fn a_rotated_file_is_opened_anew_and_loses_nothing() {
        let (files, folder, path) = files(FOREVER, 1024);
        files.write(&path, "before\n");
        files.flush();
        let rotated = folder.path().join("rotated");
        std::fs::rename(&*path, &rotated).unwrap();
        files.write(&path, "between\n");
        files.reopen();
        files.flush();
        files.write(&path, "after\n");
        files.flush();
        assert_eq!(std::fs::read_to_string(rotated).unwrap(), "before\nbetween\n");
        assert_eq!(std::fs::read_to_string(&*path).unwrap(), "after\n");
    }
}
