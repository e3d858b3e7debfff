use super::case::Suite;
pub fn suite() -> Suite {
    Suite {
        name: "upgrades",
        bootstrap: "",
        cases: vec![],
    }
}
