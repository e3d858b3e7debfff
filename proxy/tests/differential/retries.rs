use super::case::Suite;
pub fn suite() -> Suite {
    Suite {
        name: "retries",
        bootstrap: "",
        cases: vec![],
    }
}
