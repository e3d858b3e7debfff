//! Configs of filters that come by themselves (ECDS), and the places that they fill.

use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::{Arrival, Resources};
use crate::{
    config::{Dependencies, Rejection, http_filter},
    control::{
        interest::{Kind, Need, User},
        ledger::Entry,
    },
    http::filter::discovered::Discovered,
    stats::EcdsStat,
};

/// What is known of one config.
#[derive(Default)]
pub(super) struct Extension {
    config: Option<http_filter::ExtensionConfig>,
    /// Of listeners that warm, serve or drain.
    places: Vec<Weak<Discovered>>,
}

impl Resources {
    /// Asks for the configs of a listener's filters; gives those that the listener waits for, then the others.
    pub(super) fn want_extensions(&mut self, dependencies: &Dependencies, user: &User) -> (Vec<Need>, Vec<Need>) {
        let (mut awaited, mut others) = (Vec::new(), Vec::new());
        for extension in &dependencies.extensions {
            let reference = &extension.reference;
            let need = self.want(Kind::Extension, &reference.name, &reference.source, user);
            self.ledger
                .borrow_mut()
                .extensions
                .entry(need.name.clone())
                .or_default();
            let known = self.extensions.entry(need.clone()).or_default();
            known.places.retain(|place| place.strong_count() > 0);
            known.places.push(Arc::downgrade(&extension.place));
            let config = known.config.clone();
            // What is held fills the new place too, until another comes.
            if let Some(Err(rejection)) = config.map(|c| {
                c.for_place(&extension.place, &mut self.context)
                    .map(|k| extension.place.set(k.into()))
            }) {
                tracing::warn!("{rejection}");
            }
            if self.given_up.contains(&need) {
                extension.place.give_up();
            }
            if extension.waits { &mut awaited } else { &mut others }.push(need);
        }
        (awaited, others)
    }

    pub(super) fn take_extension(&mut self, arrival: Arrival<'_>) -> Result<(), Rejection> {
        let config = http_filter::parse_extension(arrival.body, &mut self.context)?;
        let need = arrival.need(Kind::Extension, &config.name);
        let same = |entry: &Entry| entry.bytes == *arrival.body;
        let active = self
            .ledger
            .borrow()
            .extensions
            .get(&need.name)
            .and_then(|record| record.active.clone());
        if active.as_ref().is_some_and(same) {
            return Ok(());
        }
        let Some(known) = self.extensions.get_mut(&need) else {
            // Nobody needs it.
            return Ok(());
        };
        let places: Vec<_> = known.places.iter().filter_map(Weak::upgrade).collect();
        let mut filled = Vec::with_capacity(places.len());
        for place in &places {
            filled.push(Arc::new(config.for_place(place, &mut self.context)?));
        }
        // All or none.
        for (place, kind) in places.iter().zip(filled) {
            place.set(kind);
        }
        known.config = Some(config);
        self.stats.extension(&need.name).inc(EcdsStat::ConfigReload);
        let entry = Entry::now(Bytes::copy_from_slice(arrival.body), Some(arrival.version));
        let mut ledger = self.ledger.borrow_mut();
        ledger.extensions.entry(need.name).or_default().replace(entry);
        Ok(())
    }

    /// Nobody waits for it any more: defaults stand in.
    pub(super) fn give_up_extension(&self, need: &Need) {
        self.places(need).for_each(|place| place.give_up());
    }

    /// The server took it back.
    pub(super) fn remove_extension(&mut self, need: Need) {
        self.places(&need).for_each(|place| place.unset());
        if let Some(known) = self.extensions.get_mut(&need) {
            known.config = None;
        }
        if let Some(record) = self.ledger.borrow_mut().extensions.get_mut(&need.name) {
            record.active = None;
        }
        self.give_up(need);
    }

    pub(super) fn holds_extension(&self, need: &Need) -> bool {
        self.extensions.get(need).is_some_and(|known| known.config.is_some())
    }

    fn places(&self, need: &Need) -> impl Iterator<Item = Arc<Discovered>> + '_ {
        let known = self.extensions.get(need).into_iter();
        known.flat_map(|known| known.places.iter().filter_map(Weak::upgrade))
    }
}
