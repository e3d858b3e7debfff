//! From arguments to a running proxy: what `main` does, callable by programs that stand in for `pillion`.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use tokio::task::LocalSet;

use crate::{
    access_log::file::FlushSettings,
    bootstrap::{self, Bootstrap},
    cli::{self, Args, Mode},
    config,
    control::publisher::DrainSettings,
    server::{self, Ending, Process, Settings},
    stats,
};

/// Runs the proxy with the process's arguments.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(e) => {
            let failed = e.use_stderr();
            // Nothing is left to tell a closed terminal.
            let _ = e.print();
            return if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    if args.version {
        println!("\npillion  version: {}\n", cli::version());
        return ExitCode::SUCCESS;
    }
    if args.hot_restart_version {
        println!("disabled");
        return ExitCode::SUCCESS;
    }
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    crate::logging::start(&args)?;
    let (bootstrap, context) = bootstrap::load(&args)?;
    for note in &context.notes {
        tracing::warn!("{note}");
    }
    let flags = args.without_meaning();
    if !flags.is_empty() {
        tracing::info!("accepted without effect: {}", flags.join(", "));
    }
    if args.mode == Mode::Validate {
        println!("configuration '{}' OK", args.config_path.as_deref().unwrap_or("--config-yaml".as_ref()).display());
        return Ok(());
    }
    if !args.disable_hot_restart {
        crate::sys::die_with_parent();
    }
    serve(&args, bootstrap, context)
}
