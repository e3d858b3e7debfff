//! The proxies that are compared: where they are, how they are configured, started and stopped.

pub mod config;
pub mod install;

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::process;
use config::Setup;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Pillion,
    Envoy,
    HaProxy,
    Nginx,
    /// No proxy: the load asks the origin itself.
    Direct,
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Pillion, Self::Envoy, Self::HaProxy, Self::Nginx, Self::Direct];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pillion => "Pillion",
            Self::Envoy => "Envoy",
            Self::HaProxy => "HAProxy",
            Self::Nginx => "nginx",
            Self::Direct => "no proxy",
        }
    }
}

/// A proxy's program on this machine.
#[derive(Debug, Clone)]
pub struct Program {
    pub kind: Kind,
    pub path: PathBuf,
    pub version: String,
}

/// A running proxy; stopped when dropped.
pub struct Running {
    child: Child,
    pub address: SocketAddr,
    /// Pillion's and Envoy's.
    pub admin: SocketAddr,
    /// From the start of the process to the first answer that it is ready.
    pub start_to_ready: Duration,
    log: PathBuf,
}

/// Proxies on a loaded machine with 10,000 clusters, each with its TLS context, take their time.
const START: Duration = Duration::from_secs(120);
/// Short, because it is what `start_to_ready` is exact to.
const POLL: Duration = Duration::from_micros(200);

impl Program {
    /// Takes the program's file out of the page cache, so that it is read when it runs. Of a file that was only just written
    /// an idle Pillion had a megabyte more of its code in memory: 2.9 instead of 2.0 MB, the same bytes.
    pub fn read_anew(&self) -> anyhow::Result<()> {
        let file = File::open(&self.path).with_context(|| self.path.display().to_string())?;
        file.sync_all()?;
        Ok(rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?)
    }

    /// Starts the proxy on the cores `cores` (as taskset writes them) and waits until it is ready.
    pub fn start(&self, setup: &Setup, cores: &str, dir: &Path) -> anyhow::Result<Running> {
        let address = free_address()?;
        let admin = free_address()?;
        let path = config::write(self.kind, setup, address, admin, dir)?;
        let log = path.with_extension("log");
        let output = File::create(&log)?;
        let mut command = Command::new("taskset");
        command.args(["-c", cores]).arg(&self.path);
        self.arguments(&mut command, setup, &path);
        let begun = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", self.kind.name()))?;
        let mut running = Running {
            child,
            address,
            admin,
            start_to_ready: Duration::ZERO,
            log,
        };
        while !running.is_ready(self.kind) {
            if let Some(status) = running.child.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.kind.name(), running.log());
            }
            if begun.elapsed() > START {
                bail!("{} is not ready after {START:?}:\n{}", self.kind.name(), running.log());
            }
            std::thread::sleep(POLL);
        }
        running.start_to_ready = begun.elapsed();
        Ok(running)
    }

    fn arguments(&self, command: &mut Command, setup: &Setup, config: &Path) {
        match self.kind {
            Kind::Pillion | Kind::Envoy => command
                .arg("-c")
                .arg(config)
                .args(["--concurrency", &setup.workers.to_string()])
                .args(["--disable-hot-restart", "-l", "error"]),
            Kind::HaProxy => command.arg("-db").arg("-f").arg(config),
            Kind::Nginx | Kind::Direct => command.arg("-c").arg(config),
        };
    }
}

impl Running {
    fn is_ready(&self, kind: Kind) -> bool {
        match kind {
            Kind::Pillion | Kind::Envoy => self
                .get("/ready")
                .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")),
            _ => TcpStream::connect(self.address).is_ok(),
        }
    }

    /// An admin request's whole answer.
    pub fn get(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.admin)?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// With the workers of those that fork.
    pub fn pids(&self) -> Vec<u32> {
        process::tree(self.child.id())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The master first, which would start others for workers that are gone; without it they stay, so they follow.
        for pid in self.pids() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let _ = self.child.wait();
    }
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(crate::listen()?.local_addr()?)
}
