//! The command `benches`.

use clap::Parser as _;

fn main() -> anyhow::Result<()> {
    benches::run::run(&benches::args::Args::parse())
}
