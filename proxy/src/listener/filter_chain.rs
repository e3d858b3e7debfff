//! Which filter chain takes a connection: Envoy's order, most specific first, no backtracking. Pure, traced for `explain`.
//!
//! Source: Envoy's docs, `FilterChainMatch`: destination port, destination IP, server name, transport protocol,
//! application protocols, direct source IP, source type, source IP, source port. At each step the most specific set of
//! chains that matches is kept, and never given up again.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;

use super::{ConnectionFacts, FilterChain, FilterChainMatch, Listener, SourceType};

/// Records the steps of the decision; the unit type records nothing.
pub trait Trace {
    /// After `step`, `left` chains are in question.
    fn step(&mut self, _step: &'static str, _left: usize) {}
}

impl Trace for () {}

/// Specificity of a match at one step: `None` where the chain does not match, higher where it matches more closely.
type Rank = fn(&FilterChainMatch, &ConnectionFacts) -> Option<u32>;

const STEPS: [(&str, Rank); 9] = [
    ("destination_port", destination_port),
    ("prefix_ranges", |m, f| {
        longest_prefix(&m.prefix_ranges, f.destination.ip().map(|a| a.ip()))
    }),
    ("server_names", server_name),
    ("transport_protocol", transport_protocol),
    ("application_protocols", application_protocols),
    ("direct_source_prefix_ranges", |m, f| {
        longest_prefix(&m.direct_source_prefix_ranges, f.direct_source)
    }),
    ("source_type", source_type),
    ("source_prefix_ranges", |m, f| {
        longest_prefix(&m.source_prefix_ranges, f.source.ip().map(|a| a.ip()))
    }),
    ("source_ports", source_port),
];

/// The chain for a connection; `None` where neither a chain nor a default one takes it.
pub fn find<'a>(
    listener: &'a Listener,
    facts: &ConnectionFacts,
    trace: &mut impl Trace,
) -> Option<&'a Arc<FilterChain>> {
    let default = listener.default_filter_chain.as_ref();
    // One chain that matches everything: almost every listener but an inbound one.
    if let [only] = &*listener.filter_chains
        && only.matches == FilterChainMatch::default()
    {
        return Some(only);
    }
    let mut left: smallvec::SmallVec<[&Arc<FilterChain>; 16]> = listener.filter_chains.iter().collect();
    for (step, rank) in STEPS {
        let best = left.iter().filter_map(|chain| rank(&chain.matches, facts)).max();
        let Some(best) = best else { return default };
        left.retain(|chain| rank(&chain.matches, facts) == Some(best));
        trace.step(step, left.len());
    }
    left.first().copied().or(default)
}

/// Rank of a part that the chain leaves open.
const ANY: u32 = 0;

fn destination_port(m: &FilterChainMatch, facts: &ConnectionFacts) -> Option<u32> {
    match m.destination_port {
        None => Some(ANY),
        Some(port) => (port == facts.destination.port()).then_some(1),
    }
}

fn longest_prefix(ranges: &[IpNet], ip: Option<IpAddr>) -> Option<u32> {
    if ranges.is_empty() {
        return Some(ANY);
    }
    let ip = ip?;
    ranges
        .iter()
        .filter(|r| r.contains(&ip))
        .map(|r| u32::from(r.prefix_len()) + 1)
        .max()
}

fn server_name(m: &FilterChainMatch, facts: &ConnectionFacts) -> Option<u32> {
    if m.server_names.is_empty() {
        return Some(ANY);
    }
    let name = facts.server_name.as_deref()?;
    m.server_names
        .iter()
        .filter_map(|pattern| name_rank(pattern, name))
        .max()
}

/// An exact name beats every wildcard, a longer wildcard a shorter one.
fn name_rank(pattern: &str, name: &str) -> Option<u32> {
    match pattern.strip_prefix('*') {
        Some(suffix) => (name.len() > suffix.len() && name.ends_with(suffix)).then_some(1 + suffix.len() as u32),
        None => (pattern == name).then_some(u32::MAX),
    }
}

fn transport_protocol(m: &FilterChainMatch, facts: &ConnectionFacts) -> Option<u32> {
    if m.transport_protocol.is_empty() {
        return Some(ANY);
    }
    (&*m.transport_protocol == facts.transport_protocol).then_some(1)
}

fn application_protocols(m: &FilterChainMatch, facts: &ConnectionFacts) -> Option<u32> {
    if m.application_protocols.is_empty() {
        return Some(ANY);
    }
    // Envoy takes the first of the client's protocols that any chain names: an earlier one ranks higher.
    let place = facts
        .application_protocols
        .iter()
        .position(|p| m.application_protocols.contains(p))?;
    Some(u32::MAX - place as u32)
}

fn source_type(m: &FilterChainMatch, facts: &ConnectionFacts) -> Option<u32> {
    let source = facts.source.ip().map(|a| a.ip());
    let local = source.is_none_or(|s| s.is_loopback() || facts.destination.ip().is_some_and(|d| d.ip() == s));
    match m.source_type {
        SourceType::Any => Some(ANY),
        SourceType::SameIpOrLoopback => local.then_some(1),
        SourceType::External => (!local).then_some(1),
    }
}

fn source_port(m: &FilterChainMatch, facts: &ConnectionFacts) -> Option<u32> {
    if m.source_ports.is_empty() {
        return Some(ANY);
    }
    m.source_ports.contains(&facts.source.port()).then_some(1)
}
