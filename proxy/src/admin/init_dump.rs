//! `/init_dump`: what still waits, and for what.

use std::rc::Rc;

use serde_json::{Value, json};

use super::{
    Admin,
    info::pretty,
    respond::{Answer, Parameters},
};

pub(super) fn init_dump(admin: &Rc<Admin>, _: &Parameters<'_>) -> Answer {
    let ledger = admin.ledger.borrow();
    let waiting =
        |kind: &str, records: &std::collections::BTreeMap<std::sync::Arc<str>, crate::control::ledger::Record>| {
            let warming = records.iter().filter(|(_, record)| record.warming.is_some());
            let names = warming.map(|(name, _)| json!({"name": format!("{kind} {name}")}));
            names.collect::<Vec<Value>>()
        };
    let mut all = waiting("listener", &ledger.listeners);
    all.extend(waiting("cluster", &ledger.clusters));
    let dump = if all.is_empty() {
        json!({})
    } else {
        json!({"unready_targets_dumps": all})
    };
    Answer::json(pretty(&dump))
}
