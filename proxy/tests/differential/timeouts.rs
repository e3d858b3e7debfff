use super::case::Suite;
pub fn suite() -> Suite {
    Suite {
        name: "timeouts",
        bootstrap: "",
        cases: vec![],
    }
}
