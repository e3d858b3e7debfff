//! Runtime layers as they are now: static ones, directories, what the admin interface set, what control planes send.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Value, json};

use crate::{
    config::runtime::{Runtime, RuntimeLayerKind, RuntimeValue, Values},
    stats::{Group, Prefix, RuntimeStat, Store},
};

/// All layers of the bootstrap, in order.
#[derive(Debug)]
pub struct RuntimeLayers {
    layers: Vec<Layer>,
    /// `node.cluster`, after which override directories are named.
    cluster: Box<str>,
    stats: Group<RuntimeStat>,
}

#[derive(Debug)]
struct Layer {
    name: Arc<str>,
    kind: RuntimeLayerKind,
    /// `None`: a directory that is not there. Such a layer is not shown, as in Envoy.
    values: Option<Values>,
    /// Where the symlink of a directory led when it was read.
    root: Option<PathBuf>,
}

/// Why `/runtime_modify` changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("No admin layer specified")]
pub struct NoAdminLayer;

impl RuntimeLayers {
    /// Reads the directories.
    pub fn new(config: &Runtime, cluster: &str, store: &Store) -> Self {
        let layer = |layer: &crate::config::runtime::RuntimeLayer| Layer {
            name: layer.name.clone(),
            kind: layer.kind.clone(),
            values: match &layer.kind {
                RuntimeLayerKind::Static(values) => Some(values.clone()),
                _ => Some(Values::new()),
            },
            root: None,
        };
        let mut layers = Self {
            layers: config.layers.iter().map(layer).collect(),
            cluster: cluster.into(),
            stats: store.group(Prefix::root("runtime.")),
        };
        layers.load();
        layers
    }

    /// Reads directories anew and counts what is there now.
    fn load(&mut self) {
        let (mut overridden, mut failed) = (false, false);
        for layer in &mut self.layers {
            let RuntimeLayerKind::Disk {
                symlink_root,
                subdirectory,
                append_service_cluster,
            } = &layer.kind
            else {
                continue;
            };
            let mut path = symlink_root.join(subdirectory);
            if *append_service_cluster {
                path.push(&*self.cluster);
            }
            layer.root = leads_to(symlink_root);
            layer.values = None;
            if path.is_dir() {
                overridden |= append_service_cluster;
                match read(&path) {
                    Ok(values) => layer.values = Some(values),
                    Err(e) => {
                        failed = true;
                        tracing::warn!("runtime layer {:?}: {}: {e}", layer.name, path.display());
                    }
                }
            }
        }
        self.stats.inc(match overridden {
            true => RuntimeStat::OverrideDirExists,
            false => RuntimeStat::OverrideDirNotExists,
        });
        self.stats.inc(match failed {
            true => RuntimeStat::LoadError,
            false => RuntimeStat::LoadSuccess,
        });
        let is_admin = |layer: &&Layer| matches!(layer.kind, RuntimeLayerKind::Admin);
        let admin = self
            .layers
            .iter()
            .find(is_admin)
            .and_then(|layer| layer.values.as_ref());
        let overrides = admin.is_some_and(|values| !values.is_empty());
        self.stats.set(RuntimeStat::AdminOverridesActive, u64::from(overrides));
        let shown = self.layers.iter().filter(|layer| layer.values.is_some());
        self.stats.set(RuntimeStat::NumLayers, shown.count() as u64);
        self.stats.set(RuntimeStat::NumKeys, self.merged().len() as u64);
    }

    /// Reads directories whose symlinks lead elsewhere by now; whether there were any.
    pub fn follow_links(&mut self) -> bool {
        let moved = |layer: &&Layer| match &layer.kind {
            RuntimeLayerKind::Disk { symlink_root, .. } => leads_to(symlink_root) != layer.root,
            _ => false,
        };
        let moved = self.layers.iter().filter(moved).count();
        // Each of Envoy's watches loads, and is counted.
        (0..moved).for_each(|_| self.load());
        moved > 0
    }

    /// Puts `values` into the layers that control planes serve for which `which` holds.
    pub fn set_remote(&mut self, which: impl Fn(&crate::config::Reference) -> bool, values: &Values) {
        for layer in &mut self.layers {
            if let RuntimeLayerKind::Rtds(reference) = &layer.kind
                && which(reference)
            {
                layer.values = Some(values.clone());
            }
        }
        self.load();
    }

    /// The layers that control planes serve.
    pub fn remote(&self) -> impl Iterator<Item = &crate::config::Reference> {
        self.layers.iter().filter_map(|layer| match &layer.kind {
            RuntimeLayerKind::Rtds(reference) => Some(reference),
            _ => None,
        })
    }

    /// All control planes have answered, or were waited for: Envoy loads once more.
    pub fn complete(&mut self) {
        self.load();
    }

    /// Sets keys of the admin layer; an empty value takes an override back.
    ///
    /// # Errors
    /// There is no such layer.
    pub fn modify(&mut self, changes: Vec<(String, String)>) -> Result<(), NoAdminLayer> {
        let is_admin = |layer: &&mut Layer| matches!(layer.kind, RuntimeLayerKind::Admin);
        let admin = self.layers.iter_mut().find(is_admin).ok_or(NoAdminLayer)?;
        let values = admin.values.get_or_insert_default();
        for (key, value) in changes {
            if value.is_empty() {
                values.remove(&*key);
            } else {
                values.insert(key.into(), RuntimeValue::of_text(&value));
            }
        }
        self.load();
        Ok(())
    }

    /// Every key with its value in the last layer that has it.
    pub fn merged(&self) -> Map<String, Value> {
        let mut merged = Map::new();
        for (key, value) in self.layers.iter().filter_map(|layer| layer.values.as_ref()).flatten() {
            merged.insert(key.to_string(), value.value.clone());
        }
        merged
    }

    /// As `/runtime` shows them: every key with its text in each layer.
    pub fn shown(&self) -> Value {
        let layers = || {
            self.layers
                .iter()
                .filter_map(|layer| Some((&layer.name, layer.values.as_ref()?)))
        };
        let text =
            |values: &Values, key: &str| values.get(key).map_or_else(String::new, |value| value.text.to_string());
        let mut entries = Map::new();
        for key in layers().flat_map(|(_, values)| values.keys()) {
            if entries.contains_key(&**key) {
                continue;
            }
            let last = layers().filter_map(|(_, values)| values.get(key)).next_back();
            let texts: Vec<String> = layers().map(|(_, values)| text(values, key)).collect();
            let entry = json!({"final_value": last.map(|value| &*value.text), "layer_values": texts});
            entries.insert(key.to_string(), entry);
        }
        let names: Vec<&str> = layers().map(|(name, _)| &**name).collect();
        json!({"entries": entries, "layers": names})
    }
}

fn leads_to(symlink: &Path) -> Option<PathBuf> {
    fs::canonicalize(symlink).ok()
}

/// How deep a directory may be, as in Envoy.
const MAX_DEPTH: usize = 16;

fn read(directory: &Path) -> io::Result<Values> {
    fn walk(prefix: &str, directory: &Path, depth: usize, out: &mut Values) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(io::Error::other(format!("deeper than {MAX_DEPTH} directories")));
        }
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let key = format!("{prefix}{}", name.to_string_lossy());
            if fs::metadata(entry.path())?.is_dir() {
                walk(&format!("{key}."), &entry.path(), depth + 1, out)?;
            } else {
                let text = fs::read_to_string(entry.path())?;
                let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
                let value = RuntimeValue::of_text(lines.join("\n").trim_end());
                out.insert(key.into(), value);
            }
        }
        Ok(())
    }
    let mut out = Values::new();
    walk("", directory, 1, &mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::runtime::RuntimeLayer, stats::StatsConfig};

    fn layers(kinds: Vec<(&str, RuntimeLayerKind)>) -> RuntimeLayers {
        let layer = |(name, kind): (&str, RuntimeLayerKind)| RuntimeLayer {
            name: name.into(),
            kind,
        };
        let config = Runtime {
            layers: kinds.into_iter().map(layer).collect(),
        };
        RuntimeLayers::new(&config, "cluster", &Store::new(1, StatsConfig::default()))
    }

    fn fixed(pairs: &[(&str, &str)]) -> RuntimeLayerKind {
        let value = |(key, text): &(&str, &str)| ((*key).into(), RuntimeValue::of_text(text));
        RuntimeLayerKind::Static(pairs.iter().map(value).collect())
    }

    #[test]
    fn later_layers_win_and_the_admin_layer_gives_back() {
        let mut layers = layers(vec![
            ("a", fixed(&[("x", "1"), ("y", "2")])),
            ("adm", RuntimeLayerKind::Admin),
        ]);
        layers.modify(vec![("x".into(), "9".into())]).unwrap();
        assert_eq!(layers.merged(), *json!({"x": 9, "y": 2}).as_object().unwrap());
        assert_eq!(
            layers.shown()["entries"]["x"],
            json!({"final_value": "9", "layer_values": ["1", "9"]})
        );
        assert_eq!(layers.stats.value(RuntimeStat::AdminOverridesActive), 1);
        layers.modify(vec![("x".into(), String::new())]).unwrap();
        assert_eq!(layers.merged(), *json!({"x": 1, "y": 2}).as_object().unwrap());
        assert_eq!(layers.stats.value(RuntimeStat::AdminOverridesActive), 0);
    }

    #[test]
    fn without_an_admin_layer_nothing_is_set() {
        let mut layers = layers(vec![("a", fixed(&[]))]);
        assert_eq!(layers.modify(vec![("x".into(), "9".into())]), Err(NoAdminLayer));
    }

    #[test]
    fn directories_are_read_again_when_the_symlink_moves() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("current");
        for (version, text) in [("v1", "# a note\n5\n"), ("v2", "6\n")] {
            fs::create_dir_all(dir.path().join(version).join("sub")).unwrap();
            fs::write(dir.path().join(version).join("sub/key"), text).unwrap();
        }
        std::os::unix::fs::symlink("v1", &root).unwrap();
        let disk = |subdirectory: &str, append_service_cluster| RuntimeLayerKind::Disk {
            symlink_root: root.clone(),
            subdirectory: subdirectory.into(),
            append_service_cluster,
        };
        let mut layers = layers(vec![("disk", disk("", false)), ("over", disk("none", true))]);
        assert_eq!(
            layers.shown()["layers"],
            json!(["disk"]),
            "a directory that is not there is no layer"
        );
        assert_eq!(layers.merged()["sub.key"], 5);
        assert!(!layers.follow_links());
        std::os::unix::fs::symlink("v2", dir.path().join("new")).unwrap();
        fs::rename(dir.path().join("new"), &root).unwrap();
        assert!(layers.follow_links());
        assert_eq!(layers.merged()["sub.key"], 6);
    }
}
