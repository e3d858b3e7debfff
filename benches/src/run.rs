//! The order of a run: rounds, in each every job, in each every proxy.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use certs::ClientContext;

use crate::{
    args::{Args, Only},
    job::{JOBS, Job, Metric, Sample, Step, memory},
    machine::{self, Cores},
    origin::Origins,
    pki,
    proxy::{Kind, Program, install},
    report::{self, Results},
};

/// What every job needs.
pub struct Bench {
    pub origins: Origins,
    pub programs: Vec<Program>,
    pub cores: Cores,
    pub tls: ClientContext,
    /// Each job's fixed rate, once it is known.
    pub rates: HashMap<&'static str, f64>,
    pub duration: Duration,
    pub latency_duration: Duration,
    /// Of the jobs that hold many.
    pub connections: usize,
    files: tempfile::TempDir,
}

impl Bench {
    /// For configurations, certificates and logs.
    pub fn dir(&self) -> &Path {
        self.files.path()
    }
}

/// Values of one job, proxy and metric, each with its round (from 0).
pub type Values = BTreeMap<(&'static str, Kind, Metric), Vec<(usize, f64)>>;

/// What `--jobs` takes for all that [`report::goals`] shows.
const GOALS: &str = "goals";
const CONNECTIONS: usize = 4_000;

pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.list {
        let lengths = args.lengths();
        for job in JOBS {
            let time = job.seconds(&lengths, &Kind::ALL[..4]);
            println!("{:18} {time:>4.0} s a round: {}", job.name, job.what);
        }
        println!("{GOALS:18} those that the README's table of goals shows");
        return Ok(());
    }
    if let Some(Only::Readme) = args.only {
        return report::goals::renew_readme();
    }
    let jobs = chosen(&args.jobs)?;
    let kinds: &[Kind] = if args.only.is_some() {
        &[Kind::Pillion]
    } else {
        &Kind::ALL[..4]
    };
    let mut absent = Vec::new();
    let mut programs = Vec::new();
    for kind in kinds {
        if args.without.iter().any(|name| name.eq_ignore_ascii_case(kind.name())) {
            continue;
        }
        match install::find(*kind, args.pillion.as_deref()) {
            Ok(program) => {
                program.read_anew()?;
                programs.push(program);
            }
            Err(error) if *kind == Kind::Pillion => return Err(error),
            Err(error) => {
                eprintln!("{} is absent: {error:#}", kind.name());
                absent.push(format!("{}: {error:#}", kind.name()));
            }
        }
    }
    let files = tempfile::tempdir()?;
    let tls = pki::write(files.path()).context("certificates")?;
    // Before this process is bound to one core.
    let machine = machine::describe();
    let cores = Cores::choose();
    cores.take_load()?;
    let lengths = args.lengths();
    let mut bench = Bench {
        origins: Origins::start()?,
        programs,
        cores,
        tls,
        rates: HashMap::new(),
        duration: lengths.run,
        latency_duration: lengths.latency,
        connections: CONNECTIONS,
        files,
    };
    if let Some(Only::Idle) = args.only {
        let pillion = bench.programs[0].clone();
        return memory::print_idle(&bench, &pillion);
    }
    let rounds = if args.quick { 1 } else { args.rounds };
    let kinds: Vec<Kind> = bench.programs.iter().map(|program| program.kind).collect();
    let round: f64 = jobs.iter().map(|job| job.seconds(&lengths, &kinds)).sum();
    eprintln!(
        "{} jobs, {rounds} rounds of about {round:.0} s: about {:.0} minutes",
        jobs.len(),
        round * rounds as f64 / 60.0
    );
    let mut skipped = absent;
    let mut values = measure(&mut bench, &jobs, rounds, &mut skipped);
    report::latency::add(&mut values);
    report::write(
        &args.out,
        &Results {
            machine,
            programs: &bench.programs,
            jobs: &jobs,
            rounds,
            skipped,
            void: report::latency::void(&values),
            values,
        },
    )
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Job>> {
    if names.is_empty() {
        return Ok(JOBS.iter().collect());
    }
    if names == [GOALS] {
        return Ok(JOBS.iter().filter(|job| report::goals::shows(job.name)).collect());
    }
    let find = |name: &String| match JOBS.iter().find(|job| job.name == name) {
        Some(job) => Ok(job),
        None => bail!("there is no job {name:?}; --list prints them"),
    };
    names.iter().map(find).collect()
}

fn measure(bench: &mut Bench, jobs: &[&'static Job], rounds: usize, skipped: &mut Vec<String>) -> Values {
    let mut values = Values::new();
    let begun = Instant::now();
    for round in 0..rounds {
        for job in jobs {
            let mut programs: Vec<_> = bench.programs.iter().cloned().map(Some).collect();
            programs.extend(job.direct.then_some(None));
            // Each round starts with another proxy: none is always first.
            let first = round % programs.len();
            programs.rotate_left(first);
            let mut record = |kind: Kind, result: anyhow::Result<Vec<Sample>>| match result {
                Ok(samples) => {
                    for (metric, value) in samples {
                        values.entry((job.name, kind, metric)).or_default().push((round, value));
                    }
                }
                Err(reason) => {
                    let line = format!("{}, {}: {reason:#}", job.name, kind.name());
                    if !skipped.contains(&line) {
                        eprintln!("skipped: {line}");
                        skipped.push(line);
                    }
                }
            };
            let mut settling = VecDeque::new();
            for program in programs {
                let kind = program.as_ref().map_or(Kind::Direct, |p| p.kind);
                let step = match job.excludes(kind) {
                    Some(reason) => Err(anyhow!(reason)),
                    None => job.run(bench, program.as_ref()),
                };
                settling.push_back((kind, step));
            }
            // What only needs time has it together, and what is measured in turns has them.
            while let Some((kind, step)) = settling.pop_front() {
                match step {
                    Ok(Step::Done(samples)) => record(kind, Ok(samples)),
                    Ok(Step::Settle(due, next)) => {
                        thread::sleep(due.saturating_duration_since(Instant::now()));
                        settling.push_back((kind, next(bench)));
                    }
                    Err(error) => record(kind, Err(error)),
                }
            }
            eprintln!(
                "round {} of {rounds}, {:>5.0} s: {}",
                round + 1,
                begun.elapsed().as_secs_f64(),
                report::line(job, &values)
            );
        }
    }
    values
}
