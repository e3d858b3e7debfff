//! The command line.

use std::path::PathBuf;

#[derive(Debug, clap::Parser)]
#[command(about = "Pillion beside Envoy, HAProxy and nginx: CPU, latency, memory")]
pub struct Args {
    #[command(subcommand)]
    pub only: Option<Only>,
    /// Jobs to run, comma separated; default: all (see --list)
    #[arg(long, value_delimiter = ',')]
    pub jobs: Vec<String>,
    /// Print the jobs and end
    #[arg(long)]
    pub list: bool,
    /// Interleaved rounds
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// One round with short runs
    #[arg(long)]
    pub quick: bool,
    /// Seconds of one saturated or paced run
    #[arg(long, default_value_t = 1.5)]
    pub seconds: f64,
    /// Seconds of one run of the latency jobs
    #[arg(long, default_value_t = 10.0)]
    pub latency_seconds: f64,
    /// Proxies to leave out, comma separated
    #[arg(long, value_delimiter = ',')]
    pub without: Vec<String>,
    /// A built pillion, instead of building one
    #[arg(long)]
    pub pillion: Option<PathBuf>,
    /// Folder for the results; an earlier result there is overwritten
    #[arg(long, default_value = "target/benches")]
    pub out: PathBuf,
}

#[derive(Debug, Clone, Copy, clap::Subcommand)]
pub enum Only {
    /// Idle VmRSS of the release binary 10 s after it is ready: one listener, one cluster, --concurrency 1
    Idle,
    /// Put the table of goals, from benches/results, into README.md
    Readme,
}
