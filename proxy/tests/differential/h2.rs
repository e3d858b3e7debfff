use super::case::Suite;
pub fn suite() -> Suite {
    Suite {
        name: "h2",
        bootstrap: "",
        cases: vec![],
    }
}
