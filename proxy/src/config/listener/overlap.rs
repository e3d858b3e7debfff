//! No connection may be matched equally well by two filter chains.

use std::sync::Arc;

use hashbrown::HashMap;
use ipnet::IpNet;

use super::super::{at::At, rejection::Rejection};
use crate::listener::{FilterChain, SourceType};

/// One combination of values that a chain matches; `None` and "" stand for any.
type Cell<'a> = (
    Option<u16>,
    Option<IpNet>,
    &'a str,
    &'a str,
    &'a str,
    Option<IpNet>,
    SourceType,
    Option<IpNet>,
    Option<u16>,
);

/// Combinations of one chain that are looked at: a chain that multiplies to more is taken on trust, since looking at all of
/// them would let a control plane take our memory.
const MAX_CELLS: usize = 1 << 16;

pub(super) fn check(chains: &[Arc<FilterChain>], at: &At) -> Result<(), Rejection> {
    let mut taken = HashMap::<Cell, usize>::new();
    for (i, chain) in chains.iter().enumerate() {
        let m = &chain.matches;
        let lists = [
            m.prefix_ranges.len(),
            m.server_names.len(),
            m.application_protocols.len(),
            m.direct_source_prefix_ranges.len(),
            m.source_prefix_ranges.len(),
            m.source_ports.len(),
        ];
        let combinations = lists.iter().fold(1_usize, |n, list| n.saturating_mul((*list).max(1)));
        if combinations > MAX_CELLS {
            continue;
        }
        for cell in cells(chain) {
            match taken.insert(cell, i) {
                Some(first) if first != i => {
                    let at = at.item("filter_chains", i);
                    return Err(at.field("filter_chain_match").reject(format_args!(
                        "matches what filter_chains[{first}] ({:?}) matches: {}; make one of them more specific",
                        chains[first].name,
                        describe(&cell)
                    )));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn cells(chain: &FilterChain) -> impl Iterator<Item = Cell<'_>> {
    let m = &chain.matches;
    let mut cells: Vec<Cell> = vec![(
        m.destination_port,
        None,
        "",
        &m.transport_protocol,
        "",
        None,
        m.source_type,
        None,
        None,
    )];
    spread(&mut cells, &m.prefix_ranges, |cell, range| cell.1 = Some(*range));
    spread(&mut cells, &m.server_names, |cell, name| cell.2 = name);
    spread(&mut cells, &m.application_protocols, |cell, protocol| cell.4 = protocol);
    spread(&mut cells, &m.direct_source_prefix_ranges, |cell, range| {
        cell.5 = Some(*range)
    });
    spread(&mut cells, &m.source_prefix_ranges, |cell, range| cell.7 = Some(*range));
    spread(&mut cells, &m.source_ports, |cell, port| cell.8 = Some(*port));
    cells.into_iter()
}

/// Every cell with every value; no value means any.
fn spread<'a, T>(cells: &mut Vec<Cell<'a>>, values: &'a [T], set: impl Fn(&mut Cell<'a>, &'a T)) {
    if values.is_empty() {
        return;
    }
    let before = std::mem::take(cells);
    for cell in before {
        cells.extend(values.iter().map(|value| {
            let mut cell = cell;
            set(&mut cell, value);
            cell
        }));
    }
}

fn describe(cell: &Cell) -> String {
    let mut parts = Vec::new();
    let mut part = |name: &str, value: Option<String>| parts.extend(value.map(|value| format!("{name} {value}")));
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    part("destination port", cell.0.map(|v| v.to_string()));
    part("destination", cell.1.map(|v| v.to_string()));
    part("server name", text(cell.2));
    part("transport protocol", text(cell.3));
    part("application protocol", text(cell.4));
    part("direct source", cell.5.map(|v| v.to_string()));
    part("source", cell.7.map(|v| v.to_string()));
    part("source port", cell.8.map(|v| v.to_string()));
    if parts.is_empty() {
        "every connection".to_owned()
    } else {
        parts.join(", ")
    }
}
