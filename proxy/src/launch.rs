//! From arguments to a running proxy: what `main` does, callable by programs that stand in for `pillion`.

use std::{cell::RefCell, process::ExitCode, rc::Rc, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::sync::mpsc;

use crate::{
    access_log::file::FlushSettings,
    admin::{self, Admin},
    bootstrap::{self, Bootstrap, StaticResources},
    cli::{self, Args, Mode, Strategy},
    config::Context,
    control::{Command, Control, Neighbours, ledger::Ledger, publisher::DrainSettings, runtime::RuntimeLayers},
    listener::{Listener, TrafficDirection},
    server::{self, Ending, Process, Release, Resident, Settings},
    stats, sys,
    worker::Node,
};

/// Runs the proxy with the process's arguments.
pub fn main() -> ExitCode {
    let args = match Args::read() {
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
    match args.check().and_then(|()| run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let (mut bootstrap, notes) = bootstrap::load(&bootstrap::Options {
        config_path: args.config_path.as_deref(),
        config_yaml: args.config_yaml.as_deref(),
        allow_unknown_static_fields: args.allow_unknown_static_fields,
        service_node: &args.service_node,
        service_cluster: &args.service_cluster,
        service_zone: &args.service_zone,
    })?;
    crate::logging::start(args, bootstrap.log_format.as_ref())?;
    let concurrency = args
        .concurrency
        .map_or_else(server::default_concurrency, |n| n.max(1) as usize);
    let mut stats_config = std::mem::take(&mut bootstrap.stats);
    stats_config
        .stats_tags
        .extend(args.stats_tag.iter().map(|(name, value)| stats::StatsTag {
            tag_name: name.clone(),
            value: stats::TagValue::Fixed(value.clone()),
        }));
    // One row of cells for the control thread, one for each worker.
    let store = stats::Store::new(concurrency + 1, stats_config);
    stats::enter_control();
    let mut context = Context {
        notes,
        reject_unknown_fields: args.reject_unknown_dynamic_fields,
        ..Context::new(store.clone())
    };
    let resources = bootstrap.static_resources(&mut context)?;
    for warning in store.warnings() {
        tracing::warn!("stats_config: {warning}");
    }
    for note in context.notes.take() {
        tracing::warn!("{note}");
    }
    let flags = args.without_meaning();
    if !flags.is_empty() {
        tracing::info!("accepted without effect: {}", flags.join(", "));
    }
    if args.mode == Mode::Validate {
        let path = args.config_path.as_deref().unwrap_or("--config-yaml".as_ref());
        println!("configuration '{}' OK", path.display());
        return Ok(());
    }
    if !args.disable_hot_restart {
        sys::die_with_parent();
    }
    serve(args, concurrency, bootstrap, resources, context)
}

/// As proto3 prints durations.
fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}

/// The command line, as `/server_info` shows it.
fn admin_options(args: &Args, concurrency: usize, admin: Option<&bootstrap::Admin>) -> admin::Options {
    let text = |path: Option<&std::path::Path>| path.map(|p| p.display().to_string()).unwrap_or_default();
    admin::Options {
        command_line: serde_json::json!({
            "base_id": "0",
            "use_dynamic_base_id": args.use_dynamic_base_id,
            "concurrency": concurrency,
            "config_path": text(args.config_path.as_deref()),
            "config_yaml": args.config_yaml.as_deref().unwrap_or_default(),
            "allow_unknown_static_fields": args.allow_unknown_static_fields,
            "reject_unknown_dynamic_fields": args.reject_unknown_dynamic_fields,
            "admin_address_path": text(args.admin_address_path.as_deref()),
            "local_address_ip_version": args.local_address_ip_version,
            "log_level": args.log_level,
            "component_log_level": args.component_log_level,
            "log_path": text(args.log_path.as_deref()),
            "service_cluster": args.service_cluster,
            "service_node": args.service_node,
            "service_zone": args.service_zone,
            "file_flush_interval": seconds(Duration::from_millis(args.file_flush_interval_msec)),
            "file_flush_min_size": args.file_flush_min_size_kb,
            "drain_time": format!("{}s", args.drain_time_s),
            "drain_strategy": match args.drain_strategy {
                Strategy::Gradual => "Gradual",
                Strategy::Immediate => "Immediate",
            },
            "mode": match args.mode {
                Mode::Serve => "Serve",
                Mode::Validate => "Validate",
                Mode::InitOnly => "InitOnly",
            },
            "disable_hot_restart": args.disable_hot_restart,
        }),
        allow_paths: admin.map(|a| a.allow_paths.clone()).unwrap_or_default(),
    }
}

/// `/drain_listeners?graceful`: listeners close when the drain is over.
fn close_later(admin: &Rc<Admin>, inbound_only: bool, drain_time: Duration) {
    let requests = admin.requests.clone();
    tokio::task::spawn_local(async move {
        tokio::time::sleep(drain_time).await;
        // The process has ended where nobody listens.
        let _ = requests.send(admin::Request::DrainListeners {
            inbound_only,
            graceful: false,
            close: true,
        });
    });
}

/// How much less urgent the control thread is than the workers, in nice levels.
const CONTROL_NICENESS: i32 = 5;

fn serve(
    args: &Args,
    concurrency: usize,
    bootstrap: Bootstrap,
    resources: StaticResources,
    context: Context,
) -> anyhow::Result<()> {
    let drain_time = Duration::from_secs(args.drain_time_s);
    let Process {
        shared,
        mut publisher,
        workers,
        demands,
    } = Process::start(Settings {
        concurrency,
        node: Node {
            id: bootstrap.node.id.clone(),
            cluster: bootstrap.node.cluster.clone(),
            zone: bootstrap.node.locality.zone.clone(),
            metadata: Arc::new(serde_json::Value::Object(bootstrap.node.metadata.clone())),
            bytes: bootstrap.node.bytes.clone(),
        },
        stats: context.stats.clone(),
        tracer: resources.tracer.clone(),
        max_downstream_connections: bootstrap
            .max_downstream_connections
            .map(|limit| u32::try_from(limit).unwrap_or(u32::MAX)),
        ipv6: args.local_address_ip_version == "v6",
        drain: DrainSettings {
            time: drain_time,
            strategy: args.drain_strategy.into(),
        },
        flush: FlushSettings {
            interval: Duration::from_millis(args.file_flush_interval_msec),
            min_size: usize::try_from(args.file_flush_min_size_kb)?.saturating_mul(1024),
        },
    })?;
    // After the workers were started: they must not inherit it.
    sys::lower_thread_priority(CONTROL_NICENESS);
    let runtime = server::runtime()?;
    runtime.block_on(async {
        let mut signals = server::signals()?;
        let (requests, mut asked) = mpsc::unbounded_channel();
        let ledger = Rc::<RefCell<Ledger>>::default();
        let layers = RuntimeLayers::new(&bootstrap.runtime, &bootstrap.node.cluster, &shared.stats);
        publisher.set_runtime(Arc::new(layers.merged()));
        let layers = Rc::new(RefCell::new(layers));
        let admin = Admin::new(
            shared.clone(),
            requests,
            bootstrap.received.clone(),
            bootstrap.node.bytes.clone(),
            ledger.clone(),
            layers.clone(),
            admin_options(args, concurrency, bootstrap.admin.as_ref()),
        );
        if let Some(config) = &bootstrap.admin {
            admin::serve(&admin, config, args.admin_address_path.as_deref())
                .with_context(|| format!("admin: cannot listen on {}", config.address.address))?;
        }
        let caller = server::caller(&shared, &mut publisher);
        let mut control = Control::start(
            publisher,
            context,
            &bootstrap,
            resources,
            Neighbours {
                ledger,
                runtime: layers,
                caller,
                demands,
            },
        )?;
        let mut initialized = control.initialized();
        let mut resident = Resident::of_start();
        if args.mode == Mode::InitOnly {
            control.publisher().stop();
            return anyhow::Ok(());
        }
        loop {
            // Once live it stays so, whatever a later update waits for.
            if initialized {
                admin.state.set(admin::State::Live);
            } else if admin.state.get() == admin::State::PreInitializing && control.clusters_initialized() {
                admin.state.set(admin::State::Initializing);
            }
            tokio::select! {
                () = control.step() => initialized = control.initialized(),
                () = resident.due(), if initialized => {
                    match resident.look(tokio::time::Instant::now(), sys::cpu_time()) {
                        Some(Release::Kept) => control.publisher().tell(|| Command::Quiet),
                        Some(Release::Code) => sys::release_code(),
                        None => {}
                    }
                }
                signal = signals() => match signal {
                    Ending::ReopenLogs => shared.log_files.reopen(),
                    Ending::Drain => break,
                },
                Some(request) = asked.recv() => match request {
                    admin::Request::Quit => break,
                    admin::Request::RuntimeChanged => control.runtime_changed(),
                    admin::Request::DrainListeners { inbound_only, graceful, close } => {
                        let which = |l: &Listener| !inbound_only || l.direction == TrafficDirection::Inbound;
                        control.publisher().drain_listeners(which, graceful, close && !graceful);
                        if graceful && close {
                            close_later(&admin, inbound_only, drain_time);
                        }
                    }
                },
            }
        }
        admin.state.set(admin::State::Draining);
        server::drain(&mut control, &mut signals, drain_time).await;
        control.publisher().stop();
        anyhow::Ok(())
    })?;
    Process::stop(&shared, workers);
    Ok(())
}
