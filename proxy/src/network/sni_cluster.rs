//! `envoy.extensions.filters.network.sni_cluster.v3.SniCluster`: the TCP proxy's cluster is the one that SNI names.

use super::{Facts, Step};

pub fn opened(facts: Facts<'_>) -> Step {
    if let Some(name) = facts
        .connection
        .requested_server_name
        .as_ref()
        .filter(|n| !n.is_empty())
    {
        let mut state = facts.connection.state.borrow_mut();
        state.get_or_insert_default().cluster = Some(name.clone());
    }
    Step::Done
}
