//! `cargo demo`: a mesh on loopback, with no container, that is put through what meshes go through.
//!
//! Three services, `web` and two versions of `api`, each behind a sidecar process of its own (this program under the name
//! `pillion`: the same `main`), configured over ADS, with mTLS between them. Clients drive traffic while weights shift,
//! certificates and their CA rotate, v2 is overloaded, and one of its instances is killed. A summary ends it; the exit code
//! says whether its claims hold.
//!
//! `mesh` builds it from `topology`, `sidecar` and `app`; `load` is the clients; `script` is what happens, in the order of
//! `phase`; `facts` asks the sidecars' admin endpoints; `screen` shows, `claims` judge, `summary` ends.

mod app;
mod claims;
mod facts;
mod http1;
mod load;
mod mesh;
mod phase;
mod screen;
mod script;
mod sidecar;
mod summary;
mod topology;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Parser;

use facts::Observer;
use mesh::{Mesh, VICTIM};
use phase::Phase;
use screen::Screen;
use script::Script;

/// A mesh of four sidecars on loopback, put through weights, rotations, an overload and a kill.
#[derive(Parser)]
#[command(name = "demo")]
struct Args {
    /// How long it shall take; longer where the machine is too slow for what it shows.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u64).range(10..=86_400))]
    seconds: u64,
    /// Writes the summary as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// What a sidecar's RSS may be; builds without optimisation need more.
    #[arg(long, default_value_t = 20, value_name = "MB")]
    max_rss: u64,
}

/// What starting and ending take of the time, about.
const ENDS: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let name = std::env::args_os().next().unwrap_or_default();
    if Path::new(&name).file_name().is_some_and(|name| name == sidecar::PROXY) {
        return pillion::launch::main();
    }
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("demo: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// One thread, which must not end before the sidecars: the kernel ends them with the thread that started them.
fn run(args: &Args) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            ended = demo(args) => ended,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                anyhow::bail!("interrupted");
            }
        }
    })
}

async fn demo(args: &Args) -> anyhow::Result<bool> {
    let begin = Instant::now();
    println!("Four sidecars on loopback: web, api-v1, and two instances of api-v2.");
    let mut mesh = Mesh::start(Phase::Start.weights()).await?;
    println!("Ready after {:.1} s.\n", begin.elapsed().as_secs_f64());
    let tally = load::Shared::default();
    let mut observer = Observer::start(mesh.sidecars());
    // Dropped with this function: an interruption must leave the terminal as it was.
    let mut watching = tokio::task::JoinSet::new();
    watching.spawn(Screen::new(begin, tally.clone(), observer.watch()).run());
    let time = Duration::from_secs(args.seconds).saturating_sub(begin.elapsed() + ENDS);
    let script = Script {
        mesh: &mut mesh,
        tally: &tally,
        observer: &mut observer,
        time,
    };
    let mut record = script.run().await?;
    watching.shutdown().await;
    let facts = observer.now();
    drop(observer);
    record.stuck = mesh.end(Some(VICTIM)).await;
    let tally = tally.lock();
    let claims = claims::judge(&tally, &record, &facts, args.max_rss * 1024);
    summary::print(&tally, &facts, &claims);
    let seconds = begin.elapsed().as_secs_f64();
    println!("\n{seconds:.1} s in all.");
    if let Some(file) = &args.json {
        let text = serde_json::to_string_pretty(&summary::json(seconds, &tally, &facts, &claims))?;
        std::fs::write(file, text).with_context(|| file.display().to_string())?;
    }
    Ok(claims.iter().all(|claim| claim.holds))
}
