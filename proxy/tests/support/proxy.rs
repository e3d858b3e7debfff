//! A proxy, ours or Envoy, as a process with a bootstrap, an admin address and a log.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Envoy is ready after 0.1 s on an idle machine; this is for a loaded one.
const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

/// A running proxy; killed when dropped.
pub struct Proxy {
    child: Child,
    admin: SocketAddr,
    log: PathBuf,
    running: bool,
}

impl Proxy {
    /// Writes `bootstrap` into `dir`, starts `binary` on it with `--concurrency 1` and waits until `/ready` says 200.
    ///
    /// # Panics
    /// With the proxy's log, where it does not become ready.
    pub fn start(binary: &Path, bootstrap: &str, dir: &Path) -> Self {
        Self::start_with(binary, bootstrap, dir, &["--concurrency", "1"])
    }

    /// As [`Proxy::start`], with the given flags after the fixed ones.
    pub fn start_with(binary: &Path, bootstrap: &str, dir: &Path, flags: &[&str]) -> Self {
        let (config, admin, log) = (dir.join("bootstrap.yaml"), dir.join("admin"), dir.join("log"));
        fs::write(&config, bootstrap).expect("the bootstrap file");
        let output = File::create(&log).expect("the log file");
        let child = Command::new(binary)
            .args([
                "-c".as_ref(),
                config.as_os_str(),
                "--admin-address-path".as_ref(),
                admin.as_os_str(),
            ])
            .args([
                "--disable-hot-restart",
                "-l",
                "warning",
                "--file-flush-interval-msec",
                "20",
            ])
            .args(flags)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("the log file once more"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", binary.display()));
        let mut proxy = Self {
            child,
            admin: SocketAddr::from(([0, 0, 0, 0], 0)),
            log,
            running: true,
        };
        proxy.wait_ready(&admin);
        proxy
    }

    fn wait_ready(&mut self, admin_file: &Path) {
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = self.child.try_wait().expect("the state of a child") {
                self.running = false;
                panic!("the proxy ended with {status} before it was ready:\n{}", self.log());
            }
            let address = fs::read_to_string(admin_file)
                .ok()
                .and_then(|text| text.trim().parse::<SocketAddr>().ok());
            if let Some(address) = address {
                self.admin = address;
                if self.get("/ready").is_ok_and(|(status, _)| status == 200) {
                    return;
                }
            }
            assert!(
                Instant::now() < deadline,
                "the proxy is not ready after {START:?}:\n{}",
                self.log()
            );
            thread::sleep(POLL);
        }
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Status and body of an admin GET.
    pub fn get(&self, path: &str) -> io::Result<(u16, String)> {
        admin_request(self.admin, "GET", path)
    }

    /// Status and body of an admin POST.
    pub fn post(&self, path: &str) -> io::Result<(u16, String)> {
        admin_request(self.admin, "POST", path)
    }

    /// The value of a counter or gauge; 0 where it was never made.
    pub fn stat(&self, name: &str) -> u64 {
        let (_, text) = self
            .get(&format!("/stats?filter=^{}$", name.replace('.', "\\.")))
            .expect("the admin's /stats");
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok())
            .unwrap_or(0)
    }

    /// Waits until a counter or gauge has a value that `wanted` takes.
    ///
    /// # Panics
    /// After ten seconds.
    pub fn wait_stat(&self, name: &str, wanted: impl Fn(u64) -> bool) -> u64 {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let value = self.stat(name);
            if wanted(value) {
                return value;
            }
            assert!(Instant::now() < deadline, "{name} is still {value}\n{}", self.log());
            thread::sleep(POLL);
        }
    }

    /// VmRSS in KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("/proc of a running child");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("VmRSS in /proc/PID/status");
        line.trim().trim_end_matches(" kB").parse().expect("VmRSS in kB")
    }

    /// What it wrote to stdout and stderr.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// SIGTERM, without waiting for the end.
    pub fn terminate(&self) {
        let _ = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status();
    }

    /// The exit status, once it ended by itself or by [`Proxy::terminate`].
    ///
    /// # Panics
    /// Where it still runs after twenty seconds.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + STOP;
        loop {
            if let Some(status) = self.child.try_wait().expect("the state of a child") {
                self.running = false;
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the proxy still runs after {STOP:?}:\n{}",
                self.log()
            );
            thread::sleep(POLL);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if self.running {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            crate::say!("--- log of the proxy, pid {}:\n{}", self.pid(), self.log());
        }
    }
}

fn admin_request(admin: SocketAddr, method: &str, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&admin, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    )?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let parsed = super::message::Message::parse(&bytes, super::message::Kind::Response, true);
    let (message, _) = parsed.ok_or_else(|| io::Error::other("no HTTP answer from the admin"))?;
    Ok((message.status(), String::from_utf8_lossy(&message.body).into_owned()))
}
