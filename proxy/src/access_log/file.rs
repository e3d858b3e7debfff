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
        mpsc::{self, Sender, SyncSender, TryRecvError},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use hashbrown::HashMap;

use crate::stats::{FilesystemStat, Group};

/// Lines that wait for the writer at most; beyond, lines are dropped and counted rather than requests stopped.
const QUEUE_LINES: usize = 64 * 1024;
/// Bytes that wait for the writer before it is woken ahead of its time.
const QUEUE_BYTES: usize = 64 * 1024;

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
    waiting: Arc<Waiting>,
    /// The writer sleeps between flushes: a thread that every line woke would cost a sixth of what a request costs.
    writer: Thread,
    /// Bytes that wake it: [`QUEUE_BYTES`], or the size at which files are flushed.
    wake_at: usize,
    /// `filesystem.`
    stats: Group<FilesystemStat>,
}

/// What was handed over and not taken yet.
#[derive(Debug, Default)]
struct Waiting {
    lines: AtomicUsize,
    bytes: AtomicUsize,
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
        let waiting = Arc::new(Waiting::default());
        let writer = Writer {
            settings,
            stats: stats.clone(),
            waiting: waiting.clone(),
            files: HashMap::new(),
        };
        let thread = thread::Builder::new()
            .name("access-log".into())
            .spawn(move || writer.run(&lines))?;
        Ok(Arc::new(Self {
            queue,
            waiting,
            writer: thread.thread().clone(),
            wake_at: settings.min_size.min(QUEUE_BYTES),
            stats,
        }))
    }

    /// Hands a line (with its newline) over.
    pub fn write(&self, path: &Arc<str>, line: String) {
        if self.waiting.lines.fetch_add(1, Ordering::Relaxed) >= QUEUE_LINES {
            self.waiting.lines.fetch_sub(1, Ordering::Relaxed);
            self.stats.inc(FilesystemStat::WriteFailed);
            tracing::warn!(path = &**path, "access-log line dropped: the writer is behind");
            return;
        }
        let length = line.len();
        // Before it is handed over, so that the writer never takes off what was not added.
        let before = self.waiting.bytes.fetch_add(length, Ordering::Relaxed);
        // The writer ends only with the process.
        if self.queue.send(Message::Line(path.clone(), line)).is_ok() {
            self.stats.inc(FilesystemStat::WriteBuffered);
            self.stats.gauge_add(FilesystemStat::WriteTotalBuffered, length as i64);
        }
        if before < self.wake_at && before + length >= self.wake_at {
            self.writer.unpark();
        }
    }

    pub fn reopen(&self) {
        // The writer ends only with the process.
        let _ = self.queue.send(Message::Reopen);
        self.writer.unpark();
    }

    /// Waits until every line that was handed over is written.
    pub fn flush(&self) {
        let (done, wait) = mpsc::sync_channel(1);
        if self.queue.send(Message::Flush(done)).is_ok() {
            self.writer.unpark();
            let _ = wait.recv();
        }
    }
}

struct Writer {
    settings: FlushSettings,
    stats: Group<FilesystemStat>,
    waiting: Arc<Waiting>,
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
            loop {
                match lines.try_recv() {
                    Ok(message) => self.take(message),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return self.flush_all(),
                }
            }
            self.flush_due();
            let buffered = self.files.values().filter(|file| !file.buffer.is_empty());
            match buffered.map(|file| file.oldest + self.settings.interval).min() {
                // Not on the queue, where every line would wake it.
                Some(due) => thread::park_timeout(due.saturating_duration_since(Instant::now())),
                None => match lines.recv() {
                    Ok(message) => self.take(message),
                    Err(_) => return,
                },
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Line(path, line) => {
                self.waiting.lines.fetch_sub(1, Ordering::Relaxed);
                self.waiting.bytes.fetch_sub(line.len(), Ordering::Relaxed);
                self.line(path, &line);
            }
            Message::Reopen => {
                self.flush_all();
                self.files.clear();
            }
            Message::Flush(done) => {
                self.flush_all();
                let _ = done.send(());
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
