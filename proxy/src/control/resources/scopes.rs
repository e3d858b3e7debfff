//! Scopes (SRDS), and the route configurations that they make the proxy want.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hashbrown::{HashMap, HashSet};
use tokio::sync::oneshot;
use xds_client::{Name, Rejection, Resource, WILDCARD};

use super::Resources;
use crate::{
    config::{self, Reference, ScopeReference},
    control::{
        interest::{Kind, Need, User},
        origin::OriginId,
    },
    route::scope::{Scope, ScopeKey, ScopeRoutes, Scopes},
};

/// The scopes of one source.
pub(super) struct ScopeSet {
    /// As the first listener asked for them; the others share that, as in Envoy.
    reference: ScopeReference,
    scopes: BTreeMap<Arc<str>, Arc<Scope>>,
    /// A first answer came.
    known: bool,
    /// Scopes on demand that were asked for.
    demanded: HashSet<Arc<str>>,
    /// Route configurations.
    needs: Vec<Need>,
    /// Those of the scopes before, which serve until the new ones are there.
    former: Vec<Need>,
    changed: bool,
}

impl ScopeSet {
    fn new(reference: ScopeReference) -> Self {
        Self {
            reference,
            scopes: BTreeMap::new(),
            known: false,
            demanded: HashSet::new(),
            needs: Vec::new(),
            former: Vec::new(),
            changed: false,
        }
    }

    fn name_of_routes(&self, scope: &Scope) -> Option<Arc<str>> {
        match &scope.routes {
            ScopeRoutes::Named { name, .. } => Some(name.clone()),
            ScopeRoutes::Inline(_) => None,
        }
    }

    fn is_wanted(&self, scope: &Scope) -> bool {
        match &scope.routes {
            ScopeRoutes::Named { on_demand, .. } => !on_demand || self.demanded.contains(&scope.name),
            ScopeRoutes::Inline(_) => false,
        }
    }
}

impl Resources {
    /// A listener names a source of scopes.
    pub(super) fn want_scopes(&mut self, reference: &ScopeReference, user: &User) -> Need {
        let need = self.want(Kind::Scopes, &WILDCARD.into(), &reference.source, user);
        let new = || ScopeSet::new(reference.clone());
        self.scopes.entry(need.origin).or_insert_with(new);
        self.stats
            .name_scopes(need.origin, &reference.stat_prefix, &reference.name);
        need
    }

    /// Takes what a source says of its scopes.
    pub fn take_scopes(
        &mut self,
        origin: OriginId,
        version: &Arc<str>,
        arrived: &[Resource],
        removed: &[Name],
    ) -> Vec<Rejection> {
        let Some(set) = self.scopes.get_mut(&origin) else {
            return Vec::new();
        };
        set.known = true;
        let mut before = std::mem::take(&mut set.scopes);
        removed.iter().for_each(|name| _ = before.remove(name));
        let again: Vec<_> = arrived.iter().filter_map(|r| before.remove(&r.name)).collect();
        // Scopes may exchange their keys in one update, so that only what is left alone holds its own.
        let mut keys: HashMap<ScopeKey, Arc<str>> = before
            .values()
            .map(|scope| (scope.key.clone(), scope.name.clone()))
            .collect();
        let mut after = before;
        let mut rejections = Vec::new();
        for resource in arrived {
            let parsed = config::route::parse_scope(&resource.body, &mut self.context).map_err(|e| e.to_string());
            let taken = parsed.and_then(|scope| match keys.get(&scope.key) {
                Some(first) => Err(format!("its key is also the key of scope {first:?}")),
                None => Ok(scope),
            });
            match taken {
                Ok(scope) => {
                    keys.insert(scope.key.clone(), scope.name.clone());
                    after.insert(scope.name.clone(), Arc::new(scope));
                }
                Err(reason) => rejections.push(Rejection {
                    name: resource.name.clone(),
                    reason,
                }),
            }
        }
        // The last good version of what was rejected stays, unless its key has gone to another.
        for old in again {
            if !after.contains_key(&old.name) && !keys.contains_key(&old.key) {
                keys.insert(old.key.clone(), old.name.clone());
                after.insert(old.name.clone(), old);
            }
        }
        set.demanded.retain(|name| after.contains_key(name));
        set.scopes = after;
        set.changed = true;
        let mut ledger = self.ledger.borrow_mut();
        let entry = ledger.scopes.entry(origin).or_default();
        entry.record(&set.reference.name, version);
        removed.iter().for_each(|name| _ = entry.configs.remove(name));
        for resource in arrived
            .iter()
            .filter(|r| rejections.iter().all(|rejected| rejected.name != r.name))
        {
            entry
                .configs
                .insert(resource.name.clone(), bytes::Bytes::copy_from_slice(&resource.body));
        }
        drop(ledger);
        self.stats.reload_scopes(origin);
        self.want_scoped_routes(origin);
        rejections
    }

    /// Asks for the routes of the scopes, and lets go of those before once the new ones are there.
    fn want_scoped_routes(&mut self, origin: OriginId) {
        let Some(set) = self.scopes.get(&origin) else { return };
        let wanted = set.scopes.values().filter(|scope| set.is_wanted(scope));
        let names: BTreeSet<Arc<str>> = wanted.filter_map(|scope| set.name_of_routes(scope)).collect();
        let reference = set.reference.clone();
        let user = User::Scopes(origin);
        let mut needs = Vec::with_capacity(names.len());
        for name in names {
            self.stats.name_routes(&Reference {
                name: name.clone(),
                source: reference.routes.clone(),
                stat_prefix: reference.stat_prefix.clone(),
            });
            needs.push(self.want(Kind::Routes, &name, &reference.routes, &user));
        }
        if let Some(set) = self.scopes.get_mut(&origin) {
            let before = std::mem::replace(&mut set.needs, needs);
            set.former.extend(before);
            set.changed = true;
            self.stats
                .count_scopes(origin, set.scopes.len(), set.needs.len(), set.on_demand());
        }
    }

    /// Somebody waits for the routes of a scope.
    pub(super) fn demand_scope(&mut self, origin: OriginId, scope: &Arc<str>, answer: oneshot::Sender<bool>) {
        let named = self.scopes.get_mut(&origin).and_then(|set| {
            let named = set.name_of_routes(set.scopes.get(scope)?)?;
            let is_new = set.demanded.insert(scope.clone());
            Some((named, set.reference.routes.clone(), is_new))
        });
        let Some((name, source, is_new)) = named else {
            return self.answers.push((answer, false));
        };
        if is_new {
            self.want_scoped_routes(origin);
        }
        let need = Need {
            kind: Kind::Routes,
            origin: self.origins.id(&source),
            name,
        };
        self.waiting.entry(need).or_default().push(answer);
    }

    /// Makes scopes public. One whose routes are yet to come keeps those that it had.
    pub(super) fn publish_scopes(&mut self) {
        let settled = |set: &ScopeSet| !set.changed && set.former.is_empty();
        let unsettled = self.scopes.iter().filter(|(_, set)| !settled(set));
        let unsettled: Vec<OriginId> = unsettled.map(|(origin, _)| *origin).collect();
        for &origin in &unsettled {
            let Some(set) = self.scopes.get(&origin) else { continue };
            let Some(specifier) = self.origins.get(origin).cloned() else {
                continue;
            };
            let table = self.table(set, self.publisher.next().scopes.get(&specifier).map(|t| &**t));
            self.publisher.set_scopes(specifier, Arc::new(table));
            let is_warm = set.needs.iter().all(|need| self.is_met(need));
            if let Some(set) = self.scopes.get_mut(&origin) {
                set.changed = false;
                if is_warm {
                    let former = std::mem::take(&mut set.former);
                    former
                        .iter()
                        .for_each(|need| self.interest.release(need, &User::Scopes(origin)));
                }
            }
        }
    }

    fn table(&self, set: &ScopeSet, public: Option<&Scopes>) -> Scopes {
        let origin = self.origins.find(&set.reference.routes);
        let is_there = |name: &Arc<str>| self.publisher.next().routes.contains_key(name);
        let is_met = |name: &Arc<str>| {
            let need = origin.map(|origin| Need {
                kind: Kind::Routes,
                origin,
                name: name.clone(),
            });
            need.is_some_and(|need| self.is_met(&need))
        };
        let mut before: HashMap<&str, &ScopeRoutes> = HashMap::new();
        for scope in public.into_iter().flat_map(Scopes::iter) {
            before.insert(&*scope.name, &scope.routes);
        }
        let mut table = Scopes::default();
        for scope in set.scopes.values() {
            let former = match (&scope.routes, before.get(&*scope.name)) {
                (ScopeRoutes::Named { name, .. }, Some(ScopeRoutes::Named { name: former, .. }))
                    if set.is_wanted(scope) && !is_met(name) && is_there(former) =>
                {
                    Some(Arc::new(Scope {
                        routes: ScopeRoutes::Named {
                            name: former.clone(),
                            on_demand: false,
                        },
                        ..Scope::clone(scope)
                    }))
                }
                _ => None,
            };
            // Keys were held against each other when the scopes were taken.
            let _ = table.insert(former.unwrap_or_else(|| scope.clone()));
        }
        table
    }

    /// Whether a source has told of its scopes, and all of their routes are there.
    pub(super) fn scopes_are_met(&self, origin: OriginId) -> bool {
        let set = self.scopes.get(&origin).filter(|set| set.known);
        set.is_some_and(|set| set.needs.iter().all(|need| self.is_met(need)))
    }

    /// Nobody needs the scopes of a source any more.
    pub(super) fn forget_scopes(&mut self, origin: OriginId) {
        let Some(set) = self.scopes.remove(&origin) else { return };
        let user = User::Scopes(origin);
        let needs = set.needs.iter().chain(&set.former);
        needs.for_each(|need| self.interest.release(need, &user));
        if let Some(specifier) = self.origins.get(origin) {
            self.publisher.remove_scopes(specifier);
        }
        self.ledger.borrow_mut().scopes.remove(&origin);
    }

    /// Names of the scopes of a source.
    pub fn names_of_scopes(&self, origin: OriginId) -> Vec<Arc<str>> {
        let set = self.scopes.get(&origin);
        set.map(|set| set.scopes.keys().cloned().collect()).unwrap_or_default()
    }
}

impl ScopeSet {
    /// How many scopes wait until somebody asks for them, or did.
    fn on_demand(&self) -> usize {
        let on_demand = |scope: &&Arc<Scope>| matches!(&scope.routes, ScopeRoutes::Named { on_demand: true, .. });
        self.scopes.values().filter(on_demand).count()
    }
}
