//! The control plane of the jobs that need one.

use std::{
    fs,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use examples::{
    ControlPlane,
    resources::{self, CLUSTER, ENDPOINT, SECRET},
};
use serde_json::json;
use tokio::sync::oneshot;

use crate::{
    pki,
    proxy::{
        Running,
        config::{NODE, PUSHED, cluster_name},
    },
    run::Bench,
};

/// What has not arrived then was refused.
const LONGEST: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(400);

/// A control plane on a thread of its own, and what keeps it there.
pub fn start() -> anyhow::Result<(ControlPlane, oneshot::Sender<()>)> {
    let (keep, kept) = oneshot::channel();
    let (started, start) = mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            // Who waits for it is still there, and keeps it until it is dropped.
            let _ = started.send(ControlPlane::start(([127, 0, 0, 1], 0).into()).await);
            let _ = kept.await;
        });
    });
    Ok((start.recv()??, keep))
}

/// As a mesh has it: each cluster with one endpoint and mTLS, all with the same identity and trust bundle.
pub fn stage_clusters(plane: &ControlPlane, bench: &Bench, count: usize) -> anyhow::Result<()> {
    let port = bench.origins.http1.port();
    let mut names = vec![PUSHED.to_owned()];
    for name in (0..count).map(cluster_name) {
        let cluster = resources::any(
            CLUSTER,
            &json!({
                "name": name, "type": "EDS", "connect_timeout": "1s",
                "eds_cluster_config": {"eds_config": resources::over_ads()},
                "transport_socket": resources::tls_context("Upstream", pki::SERVER, &["http/1.1"]),
            }),
        )?;
        plane.stage(NODE, CLUSTER, &name, cluster);
        names.push(name);
    }
    for name in names {
        let assignment = resources::any(ENDPOINT, &resources::endpoints(&name, &[(port, 1)]))?;
        plane.stage(NODE, ENDPOINT, &name, assignment);
    }
    let read = |file: &str| fs::read_to_string(bench.dir().join(file)).context(file.to_owned());
    let identity = resources::identity("default", &read("a.pem")?, &read("a.key")?);
    let bundle = resources::trust_bundle("ROOTCA", &read("ca.pem")?);
    for (name, secret) in [("default", identity), ("ROOTCA", bundle)] {
        plane.stage(NODE, SECRET, name, resources::any(SECRET, &secret)?);
    }
    plane.push();
    Ok(())
}

/// Clusters of a bootstrap with a control plane: the origin, the one in use and the control plane.
const STATIC_CLUSTERS: usize = 3;

/// Without this, clusters that were refused would look cheap.
pub fn arrived(proxy: &Running, plane: &ControlPlane, clusters: usize) -> anyhow::Result<()> {
    let active = "cluster_manager.active_clusters";
    wait_for(proxy, plane, active, clusters + STATIC_CLUSTERS)?;
    // The last one has its endpoint.
    let last = cluster_name(clusters - 1);
    let hosts = proxy.get("/clusters")?;
    if !hosts.contains(&format!("{last}::127.0.0.1:")) {
        bail!("{last} has no endpoint; rejections: {:?}", plane.rejections());
    }
    Ok(())
}

/// Waits until a statistic has that value.
pub fn wait_for(proxy: &Running, plane: &ControlPlane, name: &str, value: usize) -> anyhow::Result<()> {
    let want = format!("{name}: {value}\n");
    let begun = Instant::now();
    loop {
        let stats = proxy.get(&format!("/stats?filter={name}"))?;
        if stats.contains(&want) {
            return Ok(());
        }
        if begun.elapsed() > LONGEST {
            bail!(
                "what was pushed has not arrived: {stats}; rejections: {:?}",
                plane.rejections()
            );
        }
        thread::sleep(POLL);
    }
}
