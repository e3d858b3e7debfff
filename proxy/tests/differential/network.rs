//! Network filters before the one that takes the connection.

use super::case::{Suite, get};

pub fn suite() -> Suite {
    Suite {
        name: "network",
        bootstrap: include_str!("network.yaml"),
        cases: vec![
            get("SNI names the cluster", "/known"),
            get("without SNI the configured cluster", "/bare"),
        ],
    }
}
