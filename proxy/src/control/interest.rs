//! Who needs what: resources are subscribed when the first cluster or listener names them, and let go with the last.

use std::{sync::Arc, time::Duration};

use hashbrown::{HashMap, hash_map::Entry};
use xds_client::resource_type;

use super::origin::OriginId;

/// Kinds of resources that are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Cluster,
    Endpoints,
    /// The config of a filter.
    Extension,
    Listener,
    Routes,
    Runtime,
    Secret,
}

/// One resource of one source.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Need {
    pub kind: Kind,
    pub origin: OriginId,
    /// [`xds_client::WILDCARD`]: all of the kind.
    pub name: Arc<str>,
}

/// Who has a need.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum User {
    /// The proxy itself: `cds_config`, `lds_config`.
    Bootstrap,
    Cluster(Arc<str>),
    Listener(Arc<str>),
}

/// All needs, and what of them has changed since it was last asked.
#[derive(Debug, Default)]
pub struct Interest {
    holdings: HashMap<Need, Holding>,
    touched: Vec<Need>,
}

#[derive(Debug, Default)]
struct Holding {
    /// Once for each time that it was wanted.
    users: Vec<User>,
    /// Zero: for ever.
    timeout: Duration,
    subscribed: bool,
}

/// What to subscribe and what to let go.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// With `initial_fetch_timeout`; zero waits for ever.
    pub wanted: Vec<(Need, Duration)>,
    pub unwanted: Vec<Need>,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self::Cluster,
        Self::Endpoints,
        Self::Extension,
        Self::Listener,
        Self::Routes,
        Self::Runtime,
        Self::Secret,
    ];

    pub fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => resource_type::CLUSTER,
            Self::Endpoints => resource_type::ENDPOINT,
            Self::Extension => resource_type::EXTENSION_CONFIG,
            Self::Listener => resource_type::LISTENER,
            Self::Routes => resource_type::ROUTE,
            Self::Runtime => resource_type::RUNTIME,
            Self::Secret => resource_type::SECRET,
        }
    }

    pub fn of(type_url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == type_url)
    }
}

impl Interest {
    pub fn want(&mut self, need: Need, user: User, timeout: Duration) {
        let holding = match self.holdings.entry(need.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                self.touched.push(need);
                new.insert(Holding {
                    timeout,
                    ..Holding::default()
                })
            }
        };
        holding.users.push(user);
    }

    /// Takes back one [`Self::want`].
    pub fn release(&mut self, need: &Need, user: &User) {
        let Some(holding) = self.holdings.get_mut(need) else {
            return;
        };
        if let Some(i) = holding.users.iter().rposition(|u| u == user) {
            holding.users.swap_remove(i);
        }
        if holding.users.is_empty() {
            self.touched.push(need.clone());
        }
    }

    /// Who needs it; a name may come more than once.
    pub fn users(&self, need: &Need) -> &[User] {
        self.holdings.get(need).map_or(&[], |holding| &holding.users)
    }

    /// What is subscribed.
    pub fn needs(&self) -> impl Iterator<Item = &Need> {
        self.holdings.keys()
    }

    /// What changed since the last call. What was let go and is needed again did not change.
    pub fn changes(&mut self) -> Changes {
        let mut changes = Changes::default();
        for need in std::mem::take(&mut self.touched) {
            let Some(holding) = self.holdings.get_mut(&need) else {
                continue;
            };
            if holding.users.is_empty() {
                let subscribed = holding.subscribed;
                self.holdings.remove(&need);
                if subscribed {
                    changes.unwanted.push(need);
                }
            } else if !std::mem::replace(&mut holding.subscribed, true) {
                changes.wanted.push((need, holding.timeout));
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(15);

    fn need(name: &str) -> Need {
        Need {
            kind: Kind::Secret,
            origin: OriginId::STATIC,
            name: name.into(),
        }
    }

    fn user(name: &str) -> User {
        User::Cluster(name.into())
    }

    #[test]
    fn the_first_user_subscribes_and_the_last_lets_go() {
        let mut interest = Interest::default();
        interest.want(need("s"), user("a"), LIMIT);
        interest.want(need("s"), user("b"), LIMIT);
        assert_eq!(interest.changes().wanted, [(need("s"), LIMIT)]);
        interest.release(&need("s"), &user("a"));
        assert_eq!(interest.changes(), Changes::default());
        interest.release(&need("s"), &user("b"));
        assert_eq!(interest.changes().unwanted, [need("s")]);
        assert!(interest.users(&need("s")).is_empty());
    }

    #[test]
    fn an_update_that_needs_the_same_changes_nothing() {
        let mut interest = Interest::default();
        interest.want(need("s"), user("a"), LIMIT);
        interest.changes();
        interest.want(need("s"), user("a"), LIMIT);
        interest.release(&need("s"), &user("a"));
        assert_eq!(interest.changes(), Changes::default());
        interest.release(&need("s"), &user("a"));
        interest.want(need("s"), user("c"), LIMIT);
        assert_eq!(interest.changes(), Changes::default());
        assert_eq!(interest.users(&need("s")), [user("c")]);
    }

    #[test]
    fn what_nobody_heard_of_is_not_let_go() {
        let mut interest = Interest::default();
        interest.want(need("s"), user("a"), LIMIT);
        interest.release(&need("s"), &user("a"));
        interest.release(&need("t"), &user("a"));
        assert_eq!(interest.changes(), Changes::default());
    }
}
