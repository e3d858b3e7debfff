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
        mpsc::{self, RecvTimeoutError, SyncSender, TrySendError},
    },
    time::{Duration, Instant},
};

use hashbrown::HashMap;

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
    queue: SyncSender<Message>,
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
    pub fn start(settings: FlushSettings) -> io::Result<Arc<Self>> {
        let (queue, lines) = mpsc::sync_channel(QUEUE_LINES);
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || Writer::new(settings).run(&lines))?;
        Ok(Arc::new(Self { queue }))
    }

    /// Hands a line (with its newline) over.
    pub fn write(&self, path: &Arc<str>, line: String) {
        match self.queue.try_send(Message::Line(path.clone(), line)) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                tracing::warn!(path = &**path, "access-log line dropped: the writer is behind")
            }
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
    files: HashMap<Arc<str>, Buffered>,
}

struct Buffered {
    file: Option<File>,
    buffer: Vec<u8>,
    oldest: Instant,
}

impl Writer {
    fn new(settings: FlushSettings) -> Self {
        Self {
            settings,
            files: HashMap::new(),
        }
    }

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
                Ok(Message::Line(path, line)) => self.line(path, &line),
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
                .inspect_err(|e| tracing::error!("access log {path}: cannot open it: {e}"))
                .ok(),
            buffer: Vec::new(),
            oldest: Instant::now(),
        });
        if file.buffer.is_empty() {
            file.oldest = Instant::now();
        }
        file.buffer.extend_from_slice(line.as_bytes());
        if file.buffer.len() >= self.settings.min_size {
            file.flush();
        }
    }

    fn flush_due(&mut self) {
        let now = Instant::now();
        let interval = self.settings.interval;
        self.files
            .values_mut()
            .filter(|f| now.duration_since(f.oldest) >= interval)
            .for_each(Buffered::flush);
    }

    fn flush_all(&mut self) {
        self.files.values_mut().for_each(Buffered::flush);
    }
}

impl Buffered {
    fn flush(&mut self) {
        if let Some(file) = &mut self.file
            && let Err(e) = file.write_all(&self.buffer)
        {
            tracing::error!("access log: lines are lost: {e}");
        }
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
