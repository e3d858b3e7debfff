//! One `pillion` process: this very program under another name.

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::http1::Wire;

/// The name under which the program is the proxy.
pub(crate) const PROXY: &str = "pillion";

/// A sidecar is ready in a fraction of a second; this is for a machine that is busy with other things.
const READY: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(25);
/// What an admin request may take.
const ADMIN: Duration = Duration::from_secs(10);
/// From `/quitquitquit` to the end; what takes longer is killed.
const END: Duration = Duration::from_secs(10);

/// How a sidecar takes its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Delta,
    StateOfTheWorld,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::StateOfTheWorld => "SotW",
        }
    }

    fn api_type(self) -> &'static str {
        match self {
            Self::Delta => "DELTA_GRPC",
            Self::StateOfTheWorld => "GRPC",
        }
    }
}

/// A running sidecar; killed when dropped, and ended by the kernel where the demo itself is killed.
pub(crate) struct Sidecar {
    pub(crate) node: &'static str,
    pub(crate) protocol: Protocol,
    child: Child,
    pid: u32,
    admin_file: PathBuf,
    admin: Option<SocketAddr>,
    log: PathBuf,
}

impl Sidecar {
    /// Starts it; `folder` gets its log.
    pub(crate) fn start(
        node: &'static str,
        protocol: Protocol,
        control_plane: SocketAddr,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("the demo's own program")?;
        let (admin_file, log) = (folder.join(format!("{node}.admin")), folder.join(format!("{node}.log")));
        let output = File::create(&log).with_context(|| log.display().to_string())?;
        let child = Command::new(program)
            .arg0(PROXY)
            .args(["--config-yaml", &bootstrap(protocol, control_plane).to_string()])
            .args(["--service-node", node, "--service-cluster", node])
            .args(["--concurrency", "1", "--log-level", "info", "--drain-time-s", "1"])
            .arg("--admin-address-path")
            .arg(&admin_file)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("sidecar {node}"))?;
        let pid = child.id().context("the process id of a sidecar")?;
        Ok(Self {
            node,
            protocol,
            child,
            pid,
            admin_file,
            admin: None,
            log,
        })
    }

    /// Waits until `/ready` says that everything which ADS promised has arrived.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("sidecar {} ended with {status}: {}", self.node, self.last_words());
            }
            self.admin = fs::read_to_string(&self.admin_file)
                .ok()
                .and_then(|text| text.trim().parse().ok());
            if self.admin.is_some() && self.get("/ready").await.is_ok_and(|(status, _)| status == 200) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "sidecar {} is not ready after {READY:?}: {}",
                    self.node,
                    self.last_words()
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub(crate) fn admin(&self) -> Admin {
        Admin {
            node: self.node,
            pid: self.pid,
            address: self.admin,
        }
    }

    async fn get(&self, path: &str) -> io::Result<(u16, String)> {
        self.admin().request("GET", path).await
    }

    /// SIGKILL: no drain, no last word.
    pub(crate) async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Asks it to drain and to end.
    pub(crate) async fn ask_to_end(&self) {
        // Where the answer is lost [`Self::ended`] tells.
        let _ = self.admin().request("POST", "/quitquitquit").await;
    }

    /// Waits for its end. False: it had to be killed, or failed.
    pub(crate) async fn ended(&mut self) -> bool {
        match tokio::time::timeout(END, self.child.wait()).await {
            Ok(Ok(status)) => status.success(),
            _ => false,
        }
    }

    /// The end of its log.
    fn last_words(&self) -> String {
        const LINES: usize = 10;
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

/// Where a sidecar is asked about itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admin {
    pub(crate) node: &'static str,
    pid: u32,
    address: Option<SocketAddr>,
}

impl Admin {
    /// Status and body.
    pub(crate) async fn request(&self, method: &str, path: &str) -> io::Result<(u16, String)> {
        let address = self.address.ok_or(io::ErrorKind::NotConnected)?;
        let exchange = async {
            let mut wire = Wire::connect(address).await?;
            let head = format!(
                "{method} {path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            wire.send(&head).await?;
            let (head, body) = wire.response().await?;
            Ok((head.status, String::from_utf8_lossy(&body).into_owned()))
        };
        tokio::time::timeout(ADMIN, exchange).await?
    }

    /// VmRSS in KiB; `None` once the process is gone.
    pub(crate) fn rss_kib(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    }
}

/// All that a sidecar knows before it speaks to the control plane.
fn bootstrap(protocol: Protocol, control_plane: SocketAddr) -> Value {
    let address = |ip: String, port: u16| json!({"socket_address": {"address": ip, "port_value": port}});
    let endpoint = json!({"endpoint": {"address": address(control_plane.ip().to_string(), control_plane.port())}});
    json!({
        "admin": {"address": address("127.0.0.1".to_owned(), 0)},
        "dynamic_resources": {
            "ads_config": {
                "api_type": protocol.api_type(),
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "control-plane"}}],
            },
            "cds_config": examples::resources::over_ads(),
            "lds_config": examples::resources::over_ads(),
        },
        "static_resources": {"clusters": [{
            "name": "control-plane",
            "type": "STATIC",
            "connect_timeout": "5s",
            "typed_extension_protocol_options": crate::topology::http2_upstream(None),
            "load_assignment": {"cluster_name": "control-plane", "endpoints": [{"lb_endpoints": [endpoint]}]},
        }]},
    })
}
