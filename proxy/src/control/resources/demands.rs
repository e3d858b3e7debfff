//! What requests wait for, and what they are told.

use super::Resources;
use crate::control::{
    demand::{Demand, Wanted},
    interest::{Kind, Need},
};

impl Resources {
    /// A request waits for something.
    pub fn demand(&mut self, Demand { wanted, answer }: Demand) {
        match wanted {
            Wanted::VirtualHost { routes, host } => self.demand_virtual_host(&routes, &host, answer),
            Wanted::Scope { source, scope } => match self.origins.find_specifier(&source) {
                Some(origin) => self.demand_scope(origin, &scope, answer),
                None => self.answers.push((answer, false)),
            },
        }
    }

    /// Tells requests that what they waited for is public.
    pub(super) fn answer(&mut self) {
        let here = self
            .waiting
            .keys()
            .filter(|need| need.kind == Kind::Routes && self.is_met(need));
        let here: Vec<Need> = here.cloned().collect();
        for need in &here {
            let found = self.routes.contains(need);
            let waiting = self.waiting.remove(need).unwrap_or_default();
            self.answers.extend(waiting.into_iter().map(|answer| (answer, found)));
        }
        for (answer, found) in self.answers.drain(..) {
            // Whoever waited may have left.
            let _ = answer.send(found);
        }
    }
}
