//! A filter whose config comes from a control plane by itself (ECDS). Streams take what is there when they begin.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::FilterKind;

/// One place in a connection manager's filters that a config fills.
#[derive(Debug)]
pub struct Discovered {
    /// Of the config, and of the filter.
    pub name: Arc<str>,
    /// Types that the config may be of, by message name.
    pub types: Vec<Box<str>>,
    /// Nothing comes after it, so that it must answer the request; elsewhere it must not.
    pub last: bool,
    /// Takes the place of a config that does not come, or is removed.
    pub default: Option<Arc<FilterKind>>,
    current: ArcSwapOption<FilterKind>,
}

impl Discovered {
    /// `without_warming`: the default applies until a config comes.
    pub fn new(
        name: Arc<str>,
        types: Vec<Box<str>>,
        last: bool,
        default: Option<FilterKind>,
        without_warming: bool,
    ) -> Self {
        let default = default.map(Arc::new);
        Self {
            name,
            types,
            last,
            current: ArcSwapOption::from(default.clone().filter(|_| without_warming)),
            default,
        }
    }

    /// `None`: there is no config, and requests cannot be served.
    pub fn current(&self) -> Option<Arc<FilterKind>> {
        self.current.load_full()
    }

    pub fn set(&self, kind: Arc<FilterKind>) {
        self.current.store(Some(kind));
    }

    /// No config will come: the default stands in, where nothing came before.
    pub fn give_up(&self) {
        if self.current.load().is_none() {
            self.current.store(self.default.clone());
        }
    }

    /// The config was removed.
    pub fn unset(&self) {
        self.current.store(self.default.clone());
    }
}
