//! Route configurations whose virtual hosts come by VHDS too: all that the server offers at first, more on demand.
//!
//! A resource is named `<route configuration>/<host>`; a host has no slash, so the last one separates.

use std::{collections::BTreeMap, sync::Arc};

use bytes::{Bytes, BytesMut};
use hashbrown::{HashMap, HashSet};
use tokio::sync::oneshot;
use xds_client::{Name, Rejection, Resource};

use super::{Arrival, Resources};
use crate::{
    config::{
        self, Rejection as ConfigRejection,
        route::{ParsedRouteConfiguration, Vhds, with_virtual_hosts},
        source::SourceSpecifier,
    },
    control::{
        interest::{ALL_VIRTUAL_HOSTS, Kind, Need, User},
        ledger::Entry,
        origin::OriginId,
    },
    route::{RouteConfiguration, VirtualHost},
};

/// Field of `RouteConfiguration` that holds the virtual hosts.
const VIRTUAL_HOSTS: u32 = 2;

/// A route configuration with VHDS.
pub(super) struct Discovered {
    vhds: Vhds,
    base: Arc<RouteConfiguration>,
    received: Entry,
    /// All virtual hosts that the server offers.
    need: Need,
    /// By resource name.
    hosts: BTreeMap<Name, (Arc<VirtualHost>, Bytes)>,
    /// What was asked for on demand.
    demanded: Vec<Need>,
    /// A first answer came.
    answered: bool,
}

/// Virtual hosts that came over a shared stream before the configuration that they belong to.
type Early = HashMap<OriginId, BTreeMap<Name, Resource>>;

/// All of them, by the configuration's name.
#[derive(Default)]
pub(super) struct AllDiscovered {
    by_routes: HashMap<Arc<str>, Discovered>,
    early: Early,
}

/// The configuration that a virtual host belongs to, and the host.
fn split(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('/')
}

impl Discovered {
    fn whole(&self, context: &config::Context) -> Result<RouteConfiguration, ConfigRejection> {
        with_virtual_hosts(&self.base, self.hosts.values().map(|(host, _)| host.clone()), context)
    }

    /// As if it had come in one piece: repeated fields follow each other on the wire.
    fn entry(&self) -> Entry {
        let mut bytes = BytesMut::from(&self.received.bytes[..]);
        for (_, host) in self.hosts.values() {
            config::wire::append(&mut bytes, VIRTUAL_HOSTS, host);
        }
        Entry {
            bytes: bytes.freeze(),
            ..self.received.clone()
        }
    }
}

impl Resources {
    pub(super) fn take_routes(&mut self, arrival: Arrival<'_>) -> Result<(), ConfigRejection> {
        let parsed = config::route::parse(arrival.body, &mut self.context)?;
        let ParsedRouteConfiguration { routes, vhds, .. } = parsed;
        let name = routes.name.clone();
        let received = Entry::now(Bytes::copy_from_slice(arrival.body), Some(arrival.version));
        self.set_vhds(Arc::new(routes), vhds, received)?;
        self.routes.insert(arrival.need(Kind::Routes, &name));
        Ok(())
    }

    fn set_vhds(
        &mut self,
        base: Arc<RouteConfiguration>,
        vhds: Option<Vhds>,
        received: Entry,
    ) -> Result<(), ConfigRejection> {
        let name = base.name.clone();
        let Some(vhds) = vhds else {
            self.forget_virtual_hosts(&name);
            self.publish_routes(base, received);
            return Ok(());
        };
        if vhds.source.specifier == SourceSpecifier::Ads && !self.ads_is_delta {
            let problem = "names ads, and the bootstrap's ads_config is not of api_type DELTA_GRPC: virtual hosts come by delta xDS only";
            return Err(ConfigRejection {
                kind: config::route::KIND,
                name: (&*name).into(),
                path: "vhds.config_source.ads".into(),
                problem: problem.into(),
            });
        }
        match self
            .discovered
            .by_routes
            .get_mut(&name)
            .filter(|known| known.vhds == vhds)
        {
            Some(known) => {
                let hosts = known.hosts.values().map(|(host, _)| host.clone());
                with_virtual_hosts(&base, hosts, &self.context)?;
                known.base = base;
                known.received = received;
            }
            None => {
                self.forget_virtual_hosts(&name);
                let all: Arc<str> = format!("{name}/{ALL_VIRTUAL_HOSTS}").into();
                let need = self.want(Kind::VirtualHosts, &all, &vhds.source, &User::Routes(name.clone()));
                self.stats.name_virtual_hosts(&name);
                let origin = need.origin;
                let new = Discovered {
                    vhds,
                    base,
                    received,
                    need,
                    hosts: BTreeMap::new(),
                    demanded: Vec::new(),
                    answered: false,
                };
                self.discovered.by_routes.insert(name.clone(), new);
                // Over a shared stream nobody is asked twice for the whole: what came already is all there is to come.
                if let Some(early) = self.discovered.early.get_mut(&origin) {
                    let of_it = |resource: &str| split(resource).is_some_and(|(routes, _)| *routes == *name);
                    let arrived: Vec<Resource> = early
                        .extract_if(.., |resource, _| of_it(resource))
                        .map(|(_, r)| r)
                        .collect();
                    for rejection in self.take_virtual_hosts(origin, Some(&name), &arrived, &[]) {
                        tracing::warn!("rejected: virtual host {:?}: {}", rejection.name, rejection.reason);
                    }
                }
            }
        }
        self.settle_virtual_hosts(&name);
        Ok(())
    }

    fn publish_routes(&mut self, routes: Arc<RouteConfiguration>, entry: Entry) {
        let mut ledger = self.ledger.borrow_mut();
        ledger.routes.entry(routes.name.clone()).or_default().replace(entry);
        drop(ledger);
        self.publisher.set_routes(routes);
    }

    /// Publishes a configuration with the virtual hosts that it has, once there was a first answer.
    pub(super) fn settle_virtual_hosts(&mut self, routes: &str) {
        let Some(known) = self.discovered.by_routes.get(routes) else {
            return;
        };
        if !known.answered && !self.given_up.contains(&known.need) {
            return;
        }
        // Whoever changed it has built it before.
        if let Ok(whole) = known.whole(&self.context) {
            let entry = known.entry();
            self.publish_routes(Arc::new(whole), entry);
        }
    }

    /// Takes what a source says of virtual hosts. `only`: those of this configuration, whose stream it is.
    pub fn take_virtual_hosts(
        &mut self,
        origin: OriginId,
        only: Option<&Arc<str>>,
        arrived: &[Resource],
        removed: &[Name],
    ) -> Vec<Rejection> {
        let mut rejections = Vec::new();
        let names = arrived.iter().map(|r| &r.name).chain(removed);
        let mut touched: HashSet<Arc<str>> = names.filter_map(|name| Some(split(name)?.0.into())).collect();
        let first = |(_, known): &(&Arc<str>, &Discovered)| known.need.origin == origin && !known.answered;
        touched.extend(
            self.discovered
                .by_routes
                .iter()
                .filter(first)
                .map(|(name, _)| name.clone()),
        );
        touched.retain(|routes| only.is_none_or(|only| only == routes));
        if self.origins.get(origin) == Some(&SourceSpecifier::Ads) {
            self.discovered.early.entry(origin).or_default();
        }
        for routes in touched {
            let of_it = |name: &str| split(name).is_some_and(|(of, _)| *of == *routes);
            let arrived = arrived.iter().filter(|r| of_it(&r.name));
            let removed = removed.iter().filter(|name| of_it(name));
            rejections.extend(self.take_virtual_hosts_of(&routes, origin, arrived, removed));
        }
        let aliases = arrived
            .iter()
            .flat_map(|r| r.aliases.iter().map(|alias| alias.as_str().into()));
        let answered = aliases
            .chain(arrived.iter().map(|r| r.name.clone()))
            .chain(removed.iter().cloned());
        for name in answered {
            self.answer_host(origin, name);
        }
        rejections
    }

    fn take_virtual_hosts_of<'a>(
        &mut self,
        routes: &Arc<str>,
        origin: OriginId,
        arrived: impl Iterator<Item = &'a Resource>,
        removed: impl Iterator<Item = &'a Name>,
    ) -> Vec<Rejection> {
        let known = self.discovered.by_routes.get_mut(routes);
        let Some(known) = known.filter(|known| known.need.origin == origin) else {
            if let Some(early) = self.discovered.early.get_mut(&origin) {
                early.extend(arrived.map(|resource| (resource.name.clone(), resource.clone())));
                removed.for_each(|name| _ = early.remove(name));
            }
            return Vec::new();
        };
        known.answered = true;
        let before = known.hosts.clone();
        removed.for_each(|name| _ = known.hosts.remove(name));
        let mut rejections = Vec::new();
        let mut names = Vec::new();
        for resource in arrived {
            match known.vhds.virtual_host(&resource.body, &mut self.context) {
                Ok(host) => {
                    let body = Bytes::copy_from_slice(&resource.body);
                    known.hosts.insert(resource.name.clone(), (Arc::new(host), body));
                    names.push(resource.name.clone());
                }
                Err(rejection) => rejections.push(Rejection {
                    name: resource.name.clone(),
                    reason: rejection.to_string(),
                }),
            }
        }
        if let Err(rejection) = known.whole(&self.context) {
            known.hosts = before;
            let reason = rejection.to_string();
            rejections.extend(names.into_iter().map(|name| Rejection {
                name,
                reason: reason.clone(),
            }));
        }
        self.stats.reload_virtual_hosts(routes);
        self.settle_virtual_hosts(routes);
        rejections
    }

    /// Somebody waits for a virtual host.
    pub(super) fn demand_virtual_host(&mut self, routes: &Arc<str>, host: &str, answer: oneshot::Sender<bool>) {
        let known = self
            .discovered
            .by_routes
            .get_mut(routes)
            .filter(|_| host != ALL_VIRTUAL_HOSTS);
        let Some(known) = known else {
            return self.answers.push((answer, false));
        };
        let need = Need {
            name: format!("{routes}/{host}").into(),
            ..known.need.clone()
        };
        let waiting = self.waiting.entry(need.clone()).or_default();
        waiting.push(answer);
        if waiting.len() > 1 {
            return;
        }
        if known.demanded.contains(&need) {
            // As Envoy does: the server is asked again for what it said does not exist.
            self.interest.want_again(need);
        } else {
            known.demanded.push(need.clone());
            // Whoever waits has a deadline of its own.
            let user = User::Routes(routes.clone());
            self.interest.want(need, user, std::time::Duration::ZERO);
        }
    }

    fn answer_host(&mut self, origin: OriginId, name: Name) {
        let need = Need {
            kind: Kind::VirtualHosts,
            origin,
            name,
        };
        let Some(waiting) = self.waiting.remove(&need) else {
            return;
        };
        let found = split(&need.name).is_some_and(|(routes, host)| {
            let routes = self.publisher.next().routes.get(routes);
            routes.is_some_and(|routes| routes.hosts.find(host).is_some())
        });
        self.answers.extend(waiting.into_iter().map(|answer| (answer, found)));
    }

    /// A configuration no longer has virtual hosts that come by VHDS.
    pub(super) fn forget_virtual_hosts(&mut self, routes: &Arc<str>) {
        let Some(known) = self.discovered.by_routes.remove(routes) else {
            return;
        };
        let user = User::Routes(routes.clone());
        for need in known.demanded.iter().chain([&known.need]) {
            self.interest.release(need, &user);
            let waiting = self.waiting.remove(need).unwrap_or_default();
            self.answers.extend(waiting.into_iter().map(|answer| (answer, false)));
        }
        self.stats.forget_virtual_hosts(routes);
        let of_origin = |other: &Discovered| other.need.origin == known.need.origin;
        if !self.discovered.by_routes.values().any(of_origin) {
            self.discovered.early.remove(&known.need.origin);
        }
    }

    /// Whether a configuration has all that it had to wait for.
    pub(super) fn virtual_hosts_are_met(&self, routes: &str) -> bool {
        let known = self.discovered.by_routes.get(routes);
        known.is_none_or(|known| known.answered || self.given_up.contains(&known.need))
    }
}
