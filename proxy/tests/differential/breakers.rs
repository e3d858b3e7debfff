use super::case::Suite;
pub fn suite() -> Suite {
    Suite {
        name: "breakers",
        bootstrap: "",
        cases: vec![],
    }
}
