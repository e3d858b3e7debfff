//! The table of paths.

use std::rc::Rc;

use http::StatusCode;

use super::{
    Admin, Request, State, certificates, dump, hosts, info, init_dump,
    respond::{Answer, Parameters},
};
use crate::logging;

/// One path of the admin interface.
pub(super) struct Path {
    path: &'static str,
    /// Takes POST only, and no browser that was sent from elsewhere.
    pub(super) changes: bool,
    what: &'static str,
    /// (parameter, what it does)
    parameters: &'static [(&'static str, &'static str)],
    pub(super) answer: fn(&Rc<Admin>, &Parameters<'_>) -> Answer,
}

const fn reads(
    path: &'static str,
    what: &'static str,
    parameters: &'static [(&'static str, &'static str)],
    answer: fn(&Rc<Admin>, &Parameters<'_>) -> Answer,
) -> Path {
    Path {
        path,
        changes: false,
        what,
        parameters,
        answer,
    }
}

const fn changes(
    path: &'static str,
    what: &'static str,
    parameters: &'static [(&'static str, &'static str)],
    answer: fn(&Rc<Admin>, &Parameters<'_>) -> Answer,
) -> Path {
    Path {
        changes: true,
        ..reads(path, what, parameters, answer)
    }
}

const FORMAT: (&str, &str) = ("format", "text (default) or json");

const PATHS: &[Path] = &[
    reads("/", "this list", &[], |_, _| Answer::text(help())),
    reads("/certs", "certificates in use", &[], |a, _| {
        Answer::json(certificates::certificates(a))
    }),
    reads(
        "/clusters",
        "clusters, their limits and endpoints",
        &[
            ("filter", "only clusters whose names match the regular expression"),
            FORMAT,
        ],
        hosts::clusters,
    ),
    reads(
        "/config_dump",
        "the configuration as it was received",
        &[
            ("resource", "only the elements of this repeated field"),
            ("mask", "only these fields, of the sections or of each element"),
            ("name_regex", "only resources whose names match the regular expression"),
            ("include_eds", "endpoints too"),
        ],
        dump::config_dump,
    ),
    changes(
        "/drain_listeners",
        "drain listeners",
        &[
            (
                "graceful",
                "ask connections to go, and close the listeners after the drain time",
            ),
            ("skip_exit", "ask connections to go, and keep the listeners"),
            ("inboundonly", "only listeners of inbound traffic"),
        ],
        drain_listeners,
    ),
    changes(
        "/healthcheck/fail",
        "fail health checks: /ready answers 503",
        &[],
        |a, _| {
            a.failing.set(true);
            Answer::text("OK\n")
        },
    ),
    changes("/healthcheck/ok", "pass health checks again", &[], |a, _| {
        a.failing.set(false);
        Answer::text("OK\n")
    }),
    reads("/help", "this list", &[], |_, _| Answer::text(help())),
    reads("/hot_restart_version", "there is no hot restart", &[], |_, _| {
        Answer::text("disabled")
    }),
    reads(
        "/init_dump",
        "listeners that still wait for their resources",
        &[],
        init_dump::init_dump,
    ),
    reads(
        "/listeners",
        "listeners and their addresses",
        &[FORMAT],
        hosts::listeners,
    ),
    changes(
        "/logging",
        "log levels, by component",
        &[
            ("level", "the level of all"),
            ("paths", "component:level, separated by commas"),
        ],
        log_levels,
    ),
    reads("/memory", "memory in use", &[], |_, _| Answer::json(info::memory())),
    changes("/quitquitquit", "end the process", &[], |a, _| {
        // The process ends: nobody needs to hear more.
        let _ = a.requests.send(Request::Quit);
        Answer::text("OK\n")
    }),
    reads(
        "/ready",
        "the state of the process; 200 if LIVE, else 503",
        &[],
        |a, _| ready(a),
    ),
    changes("/reopen_logs", "open access logs anew", &[], |a, _| {
        a.shared.log_files.reopen();
        Answer::text("OK\n")
    }),
    changes("/reset_counters", "set all counters to zero", &[], |a, _| {
        a.shared.stats.reset_counters();
        Answer::text("OK\n")
    }),
    reads("/runtime", "runtime values", &[], |a, _| Answer::json(info::runtime(a))),
    changes(
        "/runtime_modify",
        "set runtime keys as in /runtime_modify?key1=value1&key2=value2; an empty value takes one back",
        &[],
        info::runtime_modify,
    ),
    reads("/server_info", "version, state and command line", &[], |a, _| {
        Answer::json(info::server_info(a))
    }),
];

pub(super) fn find(path: &str) -> Option<&'static Path> {
    PATHS.iter().find(|known| known.path == path)
}

pub(super) fn help() -> String {
    let mut text = String::from("admin commands are:\n");
    for path in PATHS {
        let post = if path.changes { " (POST)" } else { "" };
        text.push_str(&format!("  {}{post}: {}\n", path.path, path.what));
        for (name, what) in path.parameters {
            text.push_str(&format!("      {name}: {what}\n"));
        }
    }
    text.push_str("  /stats: statistics\n  /stats/prometheus: statistics as Prometheus reads them\n");
    text
}

fn ready(admin: &Admin) -> Answer {
    let state = admin.shown_state();
    let status = match state {
        State::Live => StatusCode::OK,
        State::Draining | State::PreInitializing | State::Initializing => StatusCode::SERVICE_UNAVAILABLE,
    };
    Answer::error(status, format!("{}\n", state.name()))
}

fn drain_listeners(admin: &Rc<Admin>, parameters: &Parameters<'_>) -> Answer {
    let skip_exit = parameters.has("skip_exit");
    // The control thread serves the channel as long as it serves this request.
    let _ = admin.requests.send(Request::DrainListeners {
        inbound_only: parameters.has("inboundonly"),
        graceful: parameters.has("graceful") || skip_exit,
        close: !skip_exit,
    });
    Answer::text("OK\n")
}

fn log_levels(_: &Rc<Admin>, parameters: &Parameters<'_>) -> Answer {
    let changed = match parameters.all().as_slice() {
        [] => Ok(()),
        [(name, level)] => match name.as_str() {
            "level" => logging::set_level(level),
            "paths" => logging::set_paths(level),
            // One logger a file is what `group` would set several of.
            "group" => Err("group parameter requires fine-grain logging to be enabled"),
            component => logging::set_component(component, level),
        },
        _ => Err("invalid number of parameters"),
    };
    let mut text = match changed {
        Ok(()) => String::new(),
        Err(why) => format!(
            "error: {why}\n\nusage: /logging?NAME=LEVEL, /logging?paths=NAME:LEVEL,NAME:LEVEL or /logging?level=LEVEL\n\
             levels: {}\n",
            logging::LEVELS.join(" ")
        ),
    };
    text.push_str("active loggers:\n");
    for (name, level) in logging::levels() {
        text.push_str(&format!("  {name}: {level}\n"));
    }
    match changed {
        Ok(()) => Answer::text(text),
        Err(_) => Answer::error(StatusCode::BAD_REQUEST, text),
    }
}
