//! The mesh: a control plane, identities, applications, and a sidecar process before each of them.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use certs::SpiffeId;
use examples::{ControlPlane, Identities, resources};
use socket2::{Domain, Socket, Type};

use crate::{
    app::App,
    phase::Weights,
    sidecar::{Admin, Protocol, Sidecar},
    topology::{self, Resource, SERVICE_ACCOUNTS, V1, V2},
};

const WEB: &str = "web";
/// The instances of the API: node, service, the version that it answers with, how its sidecar takes its configuration.
const INSTANCES: [(&str, &str, &str, Protocol); 3] = [
    ("api-v1", V1, "v1", Protocol::StateOfTheWorld),
    ("api-v2-a", V2, "v2", Protocol::Delta),
    (VICTIM, V2, "v2", Protocol::StateOfTheWorld),
];
/// The one that is killed.
pub(crate) const VICTIM: &str = "api-v2-b";

pub(crate) struct Mesh {
    pub(crate) plane: ControlPlane,
    pub(crate) identities: Identities,
    /// Where clients enter: web's sidecar.
    pub(crate) entry: SocketAddr,
    /// Where the killed instance was reached.
    pub(crate) victim: SocketAddr,
    sidecars: Vec<Sidecar>,
    web: App,
    apis: Vec<(&'static str, App)>,
    /// Held for as long as listeners may want them.
    _ports: Vec<Port>,
    folder: PathBuf,
}

impl Mesh {
    pub(crate) async fn start(weights: Weights) -> anyhow::Result<Self> {
        let plane = ControlPlane::start((Ipv4Addr::LOCALHOST, 0).into()).await?;
        let mut identities = Identities::new(plane.clone())?;
        let folder = std::env::temp_dir().join(format!("pillion-demo-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;

        let (entry, outbound) = (Port::reserve()?, Port::reserve()?);
        let mut ports = Vec::new();
        let mut apis = Vec::new();
        let mut reached: Vec<(&str, SocketAddr)> = Vec::new();
        for (node, service, version, _) in INSTANCES {
            let (port, app) = (Port::reserve()?, App::api(version).await?);
            stage(&plane, node, topology::api_instance(port.address, app.address))?;
            identities.enroll(node, account(service)?)?;
            reached.push((service, port.address));
            apis.push((node, app));
            ports.push(port);
        }
        let web = App::web(outbound.address).await?;
        stage(&plane, WEB, topology::web(entry.address, outbound.address, web.address))?;
        for service in [V1, V2] {
            let of_service: Vec<SocketAddr> = reached.iter().filter(|(s, _)| *s == service).map(|(_, a)| *a).collect();
            stage(&plane, WEB, [topology::endpoints(service, &of_service)])?;
        }
        stage(&plane, WEB, [topology::routes(weights)])?;
        identities.enroll(WEB, account(WEB)?)?;

        let victim = ports.last().context("an instance")?.address;
        let nodes = INSTANCES.map(|(node, _, _, protocol)| (node, protocol));
        let mut sidecars = Vec::new();
        for (node, protocol) in [(WEB, Protocol::Delta)].into_iter().chain(nodes) {
            sidecars.push(Sidecar::start(node, protocol, plane.address(), &folder)?);
        }
        for sidecar in &mut sidecars {
            sidecar.ready().await?;
        }
        let entry_address = entry.address;
        ports.extend([entry, outbound]);
        Ok(Self {
            plane,
            identities,
            entry: entry_address,
            victim,
            sidecars,
            web,
            apis,
            _ports: ports,
            folder,
        })
    }

    pub(crate) fn sidecars(&self) -> impl Iterator<Item = (Admin, Protocol)> {
        self.sidecars.iter().map(|s| (s.admin(), s.protocol))
    }

    /// Pushes other weights to web.
    pub(crate) fn shift(&self, weights: Weights) -> anyhow::Result<()> {
        stage(&self.plane, WEB, [topology::routes(weights)])?;
        self.plane.push();
        Ok(())
    }

    /// How long v2's applications take for an answer.
    pub(crate) fn slow_down_v2(&self, delay: Duration) {
        let v2 = self.apis.iter().filter(|(node, _)| node.starts_with(V2));
        v2.for_each(|(_, app)| app.slow_down(delay));
    }

    /// An instance is gone at once: its sidecar by SIGKILL, its application with all its connections.
    pub(crate) async fn kill(&mut self, node: &str) -> anyhow::Result<()> {
        self.apis.retain(|(name, _)| *name != node);
        for sidecar in self.sidecars.iter_mut().filter(|s| s.node == node) {
            sidecar.kill().await?;
        }
        Ok(())
    }

    /// Ends everything. The nodes that did not end by themselves when asked.
    pub(crate) async fn end(mut self, killed: Option<&str>) -> Vec<&'static str> {
        let mut stuck = Vec::new();
        self.sidecars.retain(|s| Some(s.node) != killed);
        for sidecar in &self.sidecars {
            sidecar.ask_to_end().await;
        }
        for sidecar in &mut self.sidecars {
            if !sidecar.ended().await {
                stuck.push(sidecar.node);
            }
        }
        drop((self.web, self.apis));
        if stuck.is_empty() {
            // Nobody reads the logs of a mesh that ended well; a folder that stays harms nobody.
            let _ = fs::remove_dir_all(&self.folder);
        }
        stuck
    }
}

fn account(service: &str) -> anyhow::Result<SpiffeId> {
    Ok(SpiffeId::parse(&format!("{SERVICE_ACCOUNTS}{service}"))?)
}

fn stage(plane: &ControlPlane, node: &str, staged: impl IntoIterator<Item = Resource>) -> anyhow::Result<()> {
    for (type_url, name, body) in staged {
        let bytes = resources::any(type_url, &body).with_context(|| format!("{node}: {name}"))?;
        plane.stage(node, type_url, &name, bytes);
    }
    Ok(())
}

/// A port of loopback that nobody else gets: bound with SO_REUSEPORT and never listening, so that a sidecar's listener,
/// which binds with SO_REUSEPORT too, gets every connection.
struct Port {
    address: SocketAddr,
    _socket: Socket,
}

impl Port {
    fn reserve() -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_port(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = socket.local_addr()?.as_socket().context("an address of loopback")?;
        Ok(Self {
            address,
            _socket: socket,
        })
    }
}
