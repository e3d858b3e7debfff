//! Files that hold material, watched: Envoy's `DataSource.filename`, `watched_directory` and file-based SDS.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{mpsc, watch};

use crate::certificate::sha256;

/// The contents of a set of files, read again whenever one may have changed.
///
/// All files of a set are read together, so that a certificate is delivered with its key. Writers should replace files
/// by renaming (Kubernetes does); one that writes in place is seen too, but may be read halfway, so that a reader must
/// keep its last good material where new material does not parse. Dropping the source ends its watch.
pub struct FileSource {
    updates: watch::Receiver<Contents>,
    _watcher: Option<RecommendedWatcher>,
}

/// What was read: bytes or the reason why there are none, by path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents(pub BTreeMap<PathBuf, Result<Vec<u8>, FileError>>);

/// A file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct FileError {
    pub path: String,
    pub reason: String,
}

/// How often files are looked at besides being notified of changes: network file systems and exhausted inotify limits
/// notify of nothing, and a certificate's lifetime is at least minutes.
pub const DEFAULT_POLL: Duration = Duration::from_secs(10);

/// Changes arrive in bursts (a key, then its certificate); they are read together once it is quiet for this long.
const SETTLE: Duration = Duration::from_millis(50);

/// A burst of change notices holds no news beyond its first.
const PENDING_NOTICES: usize = 1;

impl FileSource {
    /// Reads `files` now, and again when they change. With `watched_directory`, as in Envoy, only a rename inside that
    /// directory (Kubernetes' atomic swap of `..data`) means a change; without, the directories that hold the files are
    /// watched. Must be called within a tokio runtime.
    pub fn new(files: Vec<PathBuf>, watched_directory: Option<&Path>) -> Self {
        Self::polling_every(files, watched_directory, DEFAULT_POLL)
    }

    /// As [`Self::new`], with another interval of polling.
    pub fn polling_every(files: Vec<PathBuf>, watched_directory: Option<&Path>, poll: Duration) -> Self {
        let (notices_in, notices) = mpsc::channel(PENDING_NOTICES);
        let renames_only = watched_directory.is_some();
        let directories = match watched_directory {
            Some(directory) => vec![directory.to_owned()],
            None => directories_of(&files),
        };
        let watcher = match watch_directories(&directories, renames_only, notices_in) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(?directories, %error, "cannot watch for file changes; polling every {poll:?} instead");
                None
            }
        };
        // After the watch is set up, so that no change falls between the two.
        let (sender, updates) = watch::channel(read(&files));
        tokio::spawn(follow(files, notices, sender, poll));
        Self {
            updates,
            _watcher: watcher,
        }
    }

    /// What the files hold now.
    pub fn contents(&mut self) -> Contents {
        self.updates.borrow_and_update().clone()
    }

    /// Waits for contents other than those last returned by this call or by [`Self::contents`] before it.
    pub async fn changed(&mut self) -> Contents {
        match self.updates.changed().await {
            Ok(()) => self.updates.borrow_and_update().clone(),
            // The follower lives as long as this receiver, unless its runtime is being torn down.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Contents {
    /// The bytes of one file.
    pub fn get(&self, path: &Path) -> Result<&[u8], FileError> {
        match self.0.get(path) {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(error)) => Err(error.clone()),
            None => Err(FileError {
                path: path.display().to_string(),
                reason: "it is not watched".into(),
            }),
        }
    }

    /// A digest of everything, to tell a change from a touch.
    pub fn digest(&self) -> [u8; 32] {
        let mut all = Vec::new();
        for (path, content) in &self.0 {
            all.extend(sha256(path.as_os_str().as_encoded_bytes()));
            all.extend(
                content
                    .as_ref()
                    .map_or_else(|error| sha256(error.reason.as_bytes()), |bytes| sha256(bytes)),
            );
        }
        sha256(&all)
    }
}

/// Ends when the source is dropped.
async fn follow(files: Vec<PathBuf>, mut notices: mpsc::Receiver<()>, sender: watch::Sender<Contents>, poll: Duration) {
    loop {
        tokio::select! {
            () = sender.closed() => return,
            () = tokio::time::sleep(poll) => {}
            notice = notices.recv() => match notice {
                Some(()) => tokio::time::sleep(SETTLE).await,
                // No watcher: polling alone.
                None => tokio::select! {
                    () = sender.closed() => return,
                    () = tokio::time::sleep(poll) => {}
                },
            },
        }
        let now = read(&files);
        sender.send_if_modified(|before| {
            let changed = *before != now;
            *before = now;
            changed
        });
    }
}

fn read(files: &[PathBuf]) -> Contents {
    let content = |path: &PathBuf| {
        std::fs::read(path).map_err(|error| FileError {
            path: path.display().to_string(),
            reason: error.to_string(),
        })
    };
    Contents(files.iter().map(|path| (path.clone(), content(path))).collect())
}

fn directories_of(files: &[PathBuf]) -> Vec<PathBuf> {
    let parent = |path: &PathBuf| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut directories: Vec<_> = files.iter().map(parent).collect();
    directories.sort();
    directories.dedup();
    directories
}

fn watch_directories(
    directories: &[PathBuf],
    renames_only: bool,
    notices: mpsc::Sender<()>,
) -> Result<RecommendedWatcher, notify::Error> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let relevant = event.map_or(true, |event| match event.kind {
            EventKind::Modify(ModifyKind::Name(_)) => true,
            EventKind::Access(_) => false,
            _ => !renames_only,
        });
        if relevant {
            // Full: a change is pending already.
            let _ = notices.try_send(());
        }
    })?;
    for directory in directories {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);
    /// Long enough that a test which passes was notified.
    const NEVER: Duration = Duration::from_secs(3600);

    async fn next(source: &mut FileSource) -> Contents {
        tokio::time::timeout(LIMIT, source.changed())
            .await
            .expect("no change was noticed")
    }

    #[tokio::test]
    async fn replaced_and_rewritten_files() {
        let folder = tempfile::tempdir().unwrap();
        let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("cert.pem"));
        std::fs::write(&key, "key 1").unwrap();
        let mut source = FileSource::polling_every(vec![key.clone(), certificate.clone()], None, NEVER);
        let first = source.contents();
        assert_eq!(first.get(&key).unwrap(), b"key 1");
        let missing = first.get(&certificate).unwrap_err().to_string();
        assert!(
            missing.contains("cert.pem") && missing.contains("No such file"),
            "{missing}"
        );

        let new = folder.path().join("new");
        std::fs::write(&new, "certificate 1").unwrap();
        std::fs::rename(&new, &certificate).unwrap();
        assert_eq!(next(&mut source).await.get(&certificate).unwrap(), b"certificate 1");
        std::fs::write(&key, "key 2").unwrap();
        assert_eq!(next(&mut source).await.get(&key).unwrap(), b"key 2");
    }

    #[tokio::test]
    async fn kubernetes_swaps_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let in_volume = |name: &str| folder.path().join(name);
        for (version, text) in [("v1", "one"), ("v2", "two")] {
            std::fs::create_dir(in_volume(version)).unwrap();
            std::fs::write(in_volume(version).join("cert.pem"), text).unwrap();
        }
        std::os::unix::fs::symlink("v1", in_volume("..data")).unwrap();
        std::os::unix::fs::symlink("..data/cert.pem", in_volume("cert.pem")).unwrap();
        let file = in_volume("cert.pem");
        let mut source = FileSource::polling_every(vec![file.clone()], Some(folder.path()), NEVER);
        assert_eq!(source.contents().get(&file).unwrap(), b"one");
        std::os::unix::fs::symlink("v2", in_volume("..tmp")).unwrap();
        std::fs::rename(in_volume("..tmp"), in_volume("..data")).unwrap();
        assert_eq!(next(&mut source).await.get(&file).unwrap(), b"two");
    }

    #[tokio::test]
    async fn polling_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("late/cert.pem");
        let mut source = FileSource::polling_every(vec![file.clone()], None, Duration::from_millis(20));
        source.contents().get(&file).unwrap_err();
        std::fs::create_dir(folder.path().join("late")).unwrap();
        std::fs::write(&file, "late").unwrap();
        loop {
            if next(&mut source).await.get(&file).is_ok_and(|bytes| bytes == b"late") {
                break;
            }
        }
    }

    #[test]
    fn a_touch_is_no_change() {
        let of = |text: &str| Contents([("a".into(), Ok(text.into()))].into());
        assert_eq!(of("x").digest(), of("x").digest());
        assert_ne!(of("x").digest(), of("y").digest());
    }
}
