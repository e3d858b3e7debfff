//! What happens to the mesh while the clients run, step by step, and what is recorded of it.
//!
//! Every step lasts its share of the time and, on a machine that is busy with other things, until what it shows has
//! happened.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{
    claims::{DECISIVE, ROTATIONS},
    facts::{Facts, Observer},
    load::{Clients, DIRECT, MAIN, Shared},
    mesh::{Mesh, VICTIM},
    phase::Phase,
};

/// The ordinary clients: so many, each with a request so often.
const CLIENTS: u32 = 24;
const PACE: Duration = Duration::from_millis(16);
/// Those that come in the overload. With the ordinary ones more than twice what v2's breaker lets through, while v2 takes so
/// long that even a slow machine has them all in flight at once.
const MORE_CLIENTS: u32 = 96;
const MORE_PACE: Duration = Duration::from_millis(100);
const SLOW: Duration = Duration::from_millis(250);
/// So many replies of v2 show that its breaker has closed.
const RECOVERED: usize = 100;

/// What is waited for takes less than a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Within which conditions on the tally are looked at again.
const GLANCE: Duration = Duration::from_millis(50);

/// What the steps found, for the claims.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Rotations that arrived in every sidecar, and those of them that every sidecar then shook hands with.
    pub(crate) rotations: usize,
    pub(crate) rotations_in_use: usize,
    pub(crate) authority_replaced: bool,
    /// Until the kill, which may break some.
    pub(crate) handshakes: u64,
    pub(crate) failed_handshakes: u64,
    pub(crate) limit: u64,
    /// By v2's breaker: in the overload, and afterwards.
    pub(crate) refused: u64,
    pub(crate) refused_later: u64,
    /// v2's replies afterwards.
    pub(crate) recovered: usize,
    pub(crate) breaker_closed: bool,
    /// Before it was killed: then its ejection afterwards says nothing.
    pub(crate) ejected_early: bool,
    pub(crate) ejected_after: Option<Duration>,
    pub(crate) failed_by_kill: usize,
    /// Error texts of NACKs.
    pub(crate) rejections: Vec<String>,
    /// Sidecars that did not end when asked.
    pub(crate) stuck: Vec<&'static str>,
}

pub(crate) struct Script<'a> {
    pub(crate) mesh: &'a mut Mesh,
    pub(crate) tally: &'a Shared,
    pub(crate) observer: &'a mut Observer,
    /// How long all steps together shall take.
    pub(crate) time: Duration,
}

impl Script<'_> {
    pub(crate) async fn run(mut self) -> anyhow::Result<Record> {
        let mut record = Record::default();
        self.tally.enter(Phase::Canary);
        let clients = Clients::start(self.mesh.entry, MAIN, CLIENTS, PACE, self.tally);
        self.split(Phase::Canary).await;
        self.mesh.shift(Phase::Even.weights())?;
        self.split(Phase::Even).await;
        self.rotate(&mut record).await?;
        self.overload(&mut record).await;
        self.recover(&mut record).await;
        self.kill(&mut record).await?;
        clients.stop().await;
        record.failed_by_kill = self.tally.lock().of(Phase::Kill).1;
        record.rejections = self.mesh.plane.rejections();
        Ok(record)
    }

    /// Until the step has had its time.
    async fn rest(&self, phase: Phase, since: Instant) {
        sleep(self.time.mul_f64(phase.share()).saturating_sub(since.elapsed())).await;
    }

    async fn split(&self, phase: Phase) {
        let since = Instant::now();
        self.tally.enter(phase);
        self.rest(phase, since).await;
        let decided = || {
            let (v1, v2) = self.tally.lock().split(phase);
            v1 + v2 >= DECISIVE
        };
        while !decided() && since.elapsed() < self.time + PATIENCE {
            sleep(GLANCE).await;
        }
    }

    /// New certificates, a new CA in its three steps, and again new certificates.
    async fn rotate(&mut self, record: &mut Record) -> anyhow::Result<()> {
        let since = Instant::now();
        self.tally.enter(Phase::Rotation);
        self.mesh.identities.rotate()?;
        self.rotated(record).await;
        self.mesh.identities.introduce()?;
        let introduced = self.trusted().await?;
        if introduced {
            self.mesh.identities.adopt()?;
            self.rotated(record).await;
            self.mesh.identities.retire()?;
            record.authority_replaced = self.trusted().await?;
        }
        while record.rotations < ROTATIONS && since.elapsed() < self.time + PATIENCE {
            self.mesh.identities.rotate()?;
            self.rotated(record).await;
        }
        self.rest(Phase::Rotation, since).await;
        Ok(())
    }

    /// Waits until every sidecar presents its new certificate, then until each has shaken hands with it.
    async fn rotated(&mut self, record: &mut Record) {
        let identities = &self.mesh.identities;
        let has_new = |facts: &Facts| {
            let mut sidecars = facts.sidecars.iter();
            sidecars
                .all(|s| s.presents.len() == 1 && s.presents.first().map(String::as_str) == identities.serial(s.node))
        };
        if !self.observer.until(PATIENCE, has_new).await {
            return;
        }
        record.rotations += 1;
        let before = handshakes(&self.observer.now());
        let used = |facts: &Facts| handshakes(facts).iter().zip(&before).all(|(now, before)| now > before);
        if self.observer.until(PATIENCE, used).await {
            record.rotations_in_use += 1;
        }
    }

    /// Waits until every TLS context trusts what it was told to trust.
    async fn trusted(&mut self) -> anyhow::Result<bool> {
        let told: BTreeSet<String> = self.mesh.identities.trusted()?.into_iter().collect();
        let agrees = |facts: &Facts| facts.sidecars.iter().all(|s| s.trusts == told);
        Ok(self.observer.until(PATIENCE, agrees).await)
    }

    async fn overload(&mut self, record: &mut Record) {
        let since = Instant::now();
        let before = self.fresh().await.v2();
        self.tally.enter(Phase::Overload);
        self.mesh.slow_down_v2(SLOW);
        let more = Clients::start(self.mesh.entry, DIRECT, MORE_CLIENTS, MORE_PACE, self.tally);
        let opened = |facts: &Facts| facts.v2().overflow > before.overflow;
        self.observer.until(PATIENCE, opened).await;
        self.rest(Phase::Overload, since).await;
        self.mesh.slow_down_v2(Duration::ZERO);
        more.stop().await;
        record.limit = before.limit;
        record.refused = self.fresh().await.v2().overflow - before.overflow;
    }

    async fn recover(&mut self, record: &mut Record) {
        let since = Instant::now();
        let before = self.fresh().await.v2();
        self.tally.enter(Phase::Recovery);
        self.rest(Phase::Recovery, since).await;
        let answered = || self.tally.lock().answered(Phase::Recovery, "v2");
        while answered() < RECOVERED && since.elapsed() < self.time + PATIENCE {
            sleep(GLANCE).await;
        }
        let facts = self.fresh().await;
        record.recovered = answered();
        record.refused_later = facts.v2().overflow - before.overflow;
        record.breaker_closed = record.recovered >= RECOVERED && record.refused_later == 0 && !facts.v2().open;
        record.handshakes = facts.sidecars.iter().map(|s| s.handshakes).sum();
        record.failed_handshakes = facts.failed_handshakes();
    }

    async fn kill(&mut self, record: &mut Record) -> anyhow::Result<()> {
        let port = u64::from(self.mesh.victim.port());
        record.ejected_early = self.observer.now().has_ejected(port);
        let since = Instant::now();
        self.tally.enter(Phase::Kill);
        self.mesh.kill(VICTIM).await?;
        if self.observer.until(PATIENCE, |facts| facts.has_ejected(port)).await {
            record.ejected_after = Some(since.elapsed());
        }
        self.rest(Phase::Kill, since).await;
        Ok(())
    }

    /// What the sidecars say now; what they said last where they do not answer in time.
    async fn fresh(&mut self) -> Facts {
        match tokio::time::timeout(PATIENCE, self.observer.fresh()).await {
            Ok(facts) => facts,
            Err(_) => self.observer.now(),
        }
    }
}

fn handshakes(facts: &Facts) -> Vec<u64> {
    facts.sidecars.iter().map(|s| s.handshakes).collect()
}
