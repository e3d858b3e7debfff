//! Two network namespaces with a wire between them, what runs inside, and the rules that redirect its traffic.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Nothing takes a tenth of this, also on a loaded machine.
pub const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// The user that the rules leave alone: Istio's.
pub const PROXY_USER: &str = "1337";

/// A pod: a namespace, and one end of the wire.
#[derive(Clone)]
pub struct Pod {
    pub namespace: String,
    pub interface: String,
    pub address: &'static str,
}

/// Both pods; removed when dropped, whatever happened in between.
pub struct Pods {
    pub client: Pod,
    pub server: Pod,
}

impl Pods {
    /// Names carry the process and `run`, so that runs at the same time do not meet.
    pub fn new(run: &str) -> Self {
        let id = std::process::id();
        let pod = |side: &str, address| Pod {
            namespace: format!("pillion-{id}-{run}-{side}"),
            interface: format!("pl{id}{run}{side}"),
            address,
        };
        let pods = Self {
            client: pod("a", "10.77.0.1"),
            server: pod("b", "10.77.0.2"),
        };
        let (a, b) = (&pods.client, &pods.server);
        for pod in [a, b] {
            ip(&["netns", "add", &pod.namespace]);
        }
        #[rustfmt::skip]
        ip(&[
            "link", "add", &a.interface, "netns", &a.namespace, "type", "veth",
            "peer", "name", &b.interface, "netns", &b.namespace,
        ]);
        for (pod, peer) in [(a, b), (b, a)] {
            let inside = |args: &[&str]| ip(&[&["-n", &pod.namespace], args].concat());
            inside(&["addr", "add", &format!("{}/30", pod.address), "dev", &pod.interface]);
            inside(&["link", "set", &pod.interface, "up"]);
            inside(&["link", "set", "lo", "up"]);
            // The service's own address leads nowhere; redirection comes after routing.
            inside(&["route", "add", "default", "via", peer.address]);
        }
        pods
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        for pod in [&self.client, &self.server] {
            // The wire goes with its ends.
            let _ = Command::new("ip").args(["netns", "del", &pod.namespace]).status();
        }
    }
}

fn ip(args: &[&str]) {
    succeed(Command::new("ip").args(args));
}

fn succeed(command: &mut Command) -> Output {
    let output = command
        .stdin(Stdio::null())
        .output()
        .expect("a program that was looked for");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    output
}

impl Pod {
    /// A command inside, as root.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }

    /// A command inside, as the user whose traffic is not redirected.
    pub fn command_as_proxy(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.command("setpriv");
        command
            .args(["--reuid", PROXY_USER, "--regid", PROXY_USER, "--clear-groups", "--"])
            .arg(program);
        command
    }

    /// Appends rules to the nat table.
    pub fn redirect(&self, rules: &[String]) {
        for rule in rules {
            succeed(
                self.command("iptables")
                    .args(["-w", "-t", "nat"])
                    .args(rule.split_whitespace()),
            );
        }
    }

    /// Waits until something listens on this TCP port.
    pub fn wait_listening(&self, port: u16) {
        let wanted = format!(":{port:04X} 00000000:0000 0A");
        let deadline = Instant::now() + LIMIT;
        loop {
            let listening = succeed(self.command("cat").arg("/proc/net/tcp"));
            if String::from_utf8_lossy(&listening.stdout).contains(&wanted) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "nothing listens on {port} in {}",
                self.namespace
            );
            thread::sleep(POLL);
        }
    }
}

/// A process with its output in a file; ended when dropped.
pub struct Running {
    child: Child,
    output: PathBuf,
}

impl Running {
    pub fn start(mut command: Command, output: &Path) -> Self {
        let file = File::create(output).expect("an output file");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("the file once more"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            child,
            output: output.to_owned(),
        }
    }

    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// Waits until the output contains `text`.
    pub fn wait_output(&mut self, text: &str) {
        let deadline = Instant::now() + LIMIT;
        while !self.output().contains(text) {
            let ended = self.child.try_wait().expect("the state of a child");
            assert!(ended.is_none(), "ended without {text:?}: {}", self.output());
            assert!(Instant::now() < deadline, "no {text:?} in {}", self.output());
            thread::sleep(POLL);
        }
    }

    /// SIGTERM, and the wait for the end.
    pub fn finish(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let deadline = Instant::now() + LIMIT;
        while self.child.try_wait().expect("the state of a child").is_none() {
            assert!(Instant::now() < deadline, "{} does not end", self.output());
            thread::sleep(POLL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            crate::say!("--- {}:\n{}", self.output.display(), self.output());
        }
    }
}

/// What a client's command came to: everything that it printed, where it succeeded.
pub fn ask(command: &mut Command, input: &str) -> Result<String, String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().expect("the output of a child");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    if output.status.success() {
        Ok(out.into_owned())
    } else {
        Err(format!("{}: {out}{err}", output.status))
    }
}
