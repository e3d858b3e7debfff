//! Log files: workers hand lines over, one thread writes them, so that a slow disk never stops a request.
//!
//! `/dev/stdout` and `/dev/stderr` are the inherited descriptors: opening them by name fails where they belong to another
//! user, as under pilot-agent.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError, Sender, SyncSender},
    },
    time::{Duration, Instant},
};

use hashbrown::HashMap;

use crate::stats::{FilesystemStat, Group};

/// Lines that wait for the writer at most; beyond, lines are dropped and counted rather than requests stopped.
const QUEUE_LINES: usize = 64 * 1024;

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
    /// Grows with what it holds: a bounded channel would take its 3 MB at once, also where nothing is logged.
    queue: Sender<Message>,
    waiting: Arc<AtomicUsize>,
    /// `filesystem.`
    stats: Group<FilesystemStat>,
}

#[derive(Debug)]
enum Message {
    Line(Arc<str>, String),
    /// Open the files anew (SIGUSR1, after a rotation).
    Reopen,
    /// Write everything out, then answer.
    Flush(SyncSender<()>),
}

impl LogFiles {
    /// Starts the writer's thread.
    ///
    /// # Errors
    /// Where no thread can be made.
    pub fn start(settings: FlushSettings, stats: Group<FilesystemStat>) -> io::Result<Arc<Self>> {
        let (queue, lines) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let writer = Writer {
            settings,
            stats: stats.clone(),
            waiting: waiting.clone(),
            files: HashMap::new(),
        };
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || writer.run(&lines))?;
        Ok(Arc::new(Self { queue, waiting, stats }))
    }

    /// Hands a line (with its newline) over.
    pub fn write(&self, path: &Arc<str>, line: String) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE_LINES {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.stats.inc(FilesystemStat::WriteFailed);
            tracing::warn!(path = &**path, "access-log line dropped: the writer is behind");
            return;
        }
        let length = line.len() as i64;
        // The writer ends only with the process.
        if self.queue.send(Message::Line(path.clone(), line)).is_ok() {
            self.stats.inc(FilesystemStat::WriteBuffered);
            self.stats.gauge_add(FilesystemStat::WriteTotalBuffered, length);
        }
    }

    pub fn reopen(&self) {
        // The writer ends only with the process.
        let _ = self.queue.send(Message::Reopen);
    }

    /// Waits until every line that was handed over is written.
    pub fn flush(&self) {
        let (done, wait) = mpsc::sync_channel(1);
        if self.queue.send(Message::Flush(done)).is_ok() {
            let _ = wait.recv();
        }
    }
}

struct Writer {
    settings: FlushSettings,
    stats: Group<FilesystemStat>,
    /// Lines that were handed over and not taken yet.
    waiting: Arc<AtomicUsize>,
    files: HashMap<Arc<str>, Buffered>,
}

struct Buffered {
    file: Option<File>,
    buffer: Vec<u8>,
    oldest: Instant,
}

impl Writer {
    fn run(mut self, lines: &mpsc::Receiver<Message>) {
        loop {
            let wait = self
                .files
                .values()
                .filter(|f| !f.buffer.is_empty())
                .map(|f| f.oldest + self.settings.interval)
                .min();
            let message = match wait {
                Some(at) => lines.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => lines.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match message {
                Ok(Message::Line(path, line)) => {
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                    self.line(path, &line);
                }
                Ok(Message::Reopen) => {
                    self.flush_all();
                    self.files.clear();
                }
                Ok(Message::Flush(done)) => {
                    self.flush_all();
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.flush_due(),
                Err(RecvTimeoutError::Disconnected) => return self.flush_all(),
            }
        }
    }

    fn line(&mut self, path: Arc<str>, line: &str) {
        let file = self.files.entry(path).or_insert_with_key(|path| Buffered {
            file: open(path)
                .inspect_err(|e| {
                    self.stats.inc(FilesystemStat::ReopenFailed);
                    tracing::error!("access log {path}: cannot open it: {e}");
                })
                .ok(),
            buffer: Vec::new(),
            oldest: Instant::now(),
        });
        if file.buffer.is_empty() {
            file.oldest = Instant::now();
        }
        file.buffer.extend_from_slice(line.as_bytes());
        if file.buffer.len() >= self.settings.min_size {
            file.flush(&self.stats);
        }
    }

    fn flush_due(&mut self) {
        let now = Instant::now();
        let interval = self.settings.interval;
        self.files
            .values_mut()
            .filter(|f| !f.buffer.is_empty() && now.duration_since(f.oldest) >= interval)
            .for_each(|f| {
                self.stats.inc(FilesystemStat::FlushedByTimer);
                f.flush(&self.stats);
            });
    }

    fn flush_all(&mut self) {
        self.files.values_mut().for_each(|f| f.flush(&self.stats));
    }
}

impl Buffered {
    fn flush(&mut self, stats: &Group<FilesystemStat>) {
        if self.buffer.is_empty() {
            return;
        }
        match self.file.as_mut().map(|file| file.write_all(&self.buffer)) {
            Some(Ok(())) => stats.inc(FilesystemStat::WriteCompleted),
            Some(Err(e)) => {
                stats.inc(FilesystemStat::WriteFailed);
                tracing::error!("access log: lines are lost: {e}");
            }
            None => stats.inc(FilesystemStat::WriteFailed),
        }
        stats.gauge_add(FilesystemStat::WriteTotalBuffered, -(self.buffer.len() as i64));
        self.buffer.clear();
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
