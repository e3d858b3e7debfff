//! Every bootstrap under `examples/` is taken as it is, by us and by Envoy.

// Modules of a test program are public to it alone.
#![allow(unreachable_pub)]

mod support;

use std::path::Path;
use std::process::Command;

use support::peers;

/// static, ads, canary, mtls: a glob that finds nothing must not pass.
const AT_LEAST: usize = 4;

#[test]
fn bootstraps_are_valid_as_they_are() {
    let test = "examples";
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let entries = std::fs::read_dir(&folder).expect("the folder of examples");
    let files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    assert!(files.len() >= AT_LEAST, "only {files:?}");
    let binaries = [peers::pillion(test), peers::need(test, "envoy")];
    for binary in binaries.into_iter().flatten() {
        for file in &files {
            let said = Command::new(&binary)
                .args(["--mode", "validate", "-c"])
                .arg(file)
                .output()
                .expect("a proxy that validates");
            assert!(
                said.status.success(),
                "{} refuses {}:\n{}{}",
                binary.display(),
                file.display(),
                String::from_utf8_lossy(&said.stdout),
                String::from_utf8_lossy(&said.stderr)
            );
        }
    }
}
