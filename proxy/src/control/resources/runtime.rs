//! Runtime layers that control planes serve.

use std::sync::Arc;

use super::{Arrival, Resources};
use crate::{
    config::{self, Rejection, runtime::Values},
    control::{
        interest::{Kind, Need, User},
        origin::OriginId,
    },
};

impl Resources {
    /// Asks for the layers, once.
    pub fn want_runtime(&mut self) {
        let layers = self.runtime.clone();
        for reference in layers.borrow().remote() {
            let need = self.want(Kind::Runtime, &reference.name, &reference.source, &User::Bootstrap);
            self.awaited_layers.push(need);
        }
    }

    /// Whether every layer was sent, or is waited for no more.
    pub fn runtime_is_complete(&self) -> bool {
        self.runtime_complete
    }

    /// Finds out whether the runtime is complete.
    pub fn complete_runtime(&mut self) -> bool {
        if !self.runtime_complete && self.awaited_layers.iter().all(|need| self.is_met(need)) {
            self.runtime_complete = true;
            self.runtime.borrow_mut().complete();
        }
        self.runtime_complete
    }

    pub(super) fn take_runtime(&mut self, arrival: Arrival<'_>) -> Result<(), Rejection> {
        let layer = config::runtime::parse_remote(arrival.body, &mut self.context)?;
        let need = arrival.need(Kind::Runtime, &layer.name);
        self.set_layer(&need, &layer.values);
        self.held_layers.insert(need);
        Ok(())
    }

    /// The server has no such layer, or no longer: it is empty.
    pub(super) fn remove_runtime(&mut self, origin: OriginId, name: &Arc<str>) {
        let need = Need {
            kind: Kind::Runtime,
            origin,
            name: name.clone(),
        };
        self.set_layer(&need, &Values::new());
        self.give_up(need);
    }

    fn set_layer(&mut self, need: &Need, values: &Values) {
        let origins = &self.origins;
        self.runtime.borrow_mut().set_remote(
            |reference| reference.name == need.name && origins.find(&reference.source) == Some(need.origin),
            values,
        );
        self.publish_runtime();
    }

    /// Puts the layers, merged, into the next snapshot.
    pub fn publish_runtime(&mut self) {
        let merged = self.runtime.borrow().merged();
        self.publisher.set_runtime(Arc::new(merged));
    }
}
