//! Files with key material, watched: who uses them is told when they change.

use std::{path::Path, rc::Rc, sync::Arc};

use certs::source::FileSource;
use hashbrown::HashMap;
use tokio::{sync::mpsc, task::AbortHandle};

use super::interest::Need;
use crate::config::tls::Watched;

/// Whose material stands in files.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    Secret(Need),
    Cluster(Arc<str>),
    Listener(Arc<str>),
}

/// All watches. Owners of the same files share one.
pub struct Watches {
    watches: HashMap<Rc<Watched>, Watch>,
    inbox: mpsc::UnboundedReceiver<Rc<Watched>>,
    outbox: mpsc::UnboundedSender<Rc<Watched>>,
}

struct Watch {
    task: AbortHandle,
    owners: Vec<Owner>,
}

impl Default for Watches {
    fn default() -> Self {
        let (outbox, inbox) = mpsc::unbounded_channel();
        Self {
            watches: HashMap::new(),
            inbox,
            outbox,
        }
    }
}

impl Watches {
    /// Makes `wanted` what is watched for an owner. Must be called inside a `LocalRuntime` where there is anything to watch.
    pub fn set(&mut self, owner: &Owner, wanted: Vec<Watched>) {
        self.watches.retain(|files, watch| {
            if !wanted.contains(files) {
                watch.owners.retain(|of| of != owner);
            }
            !watch.owners.is_empty()
        });
        for files in wanted {
            match self.watches.get_mut(&files) {
                Some(watch) if watch.owners.contains(owner) => {}
                Some(watch) => watch.owners.push(owner.clone()),
                None => {
                    let files = Rc::new(files);
                    let task = tokio::task::spawn_local(follow(files.clone(), self.outbox.clone())).abort_handle();
                    let owners = vec![owner.clone()];
                    self.watches.insert(files, Watch { task, owners });
                }
            }
        }
    }

    /// Whose files changed. Safe to cancel.
    pub async fn changed(&mut self) -> Vec<Owner> {
        match self.inbox.recv().await {
            Some(files) => self
                .watches
                .get(&files)
                .map_or_else(Vec::new, |watch| watch.owners.clone()),
            // `outbox` is held here, so the inbox stays open.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(files: Rc<Watched>, outbox: mpsc::UnboundedSender<Rc<Watched>>) {
    let mut source = FileSource::new(files.files.clone(), files.directory.as_deref().map(Path::new));
    // Read once more at the start: the files may have changed between the loading of the material and the watch.
    source.contents();
    while outbox.send(files.clone()).is_ok() {
        source.changed().await;
    }
}
