//! Traces of demand under our targets and under KEDA with the HPA: waiting time, pod-seconds and
//! changes of the replicas, as a document.
//!
//! All of it is played in a model (`taskqueue_scaling::simulate`): no cluster, and the same figures
//! on every machine.

mod demand;
mod hpa;
mod report;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use jiff::Timestamp;
use taskqueue_scaling::{Caps, Follower, Mode, Pace, Policy, Summary, Target, simulate};

use crate::{
    demand::{CONCURRENCY, START, Trace},
    hpa::Reference,
};

/// Most replicas, for all alike.
const MAX: u32 = 50;

/// Our backlog target and the HPA's `AverageValue`: the default of a TaskQueue.
const PER_REPLICA: u32 = 20;

/// Our latency target.
const WITHIN: Duration = Duration::from_secs(10);

/// Plays the traces and writes what came of them.
#[derive(Parser)]
struct Options {
    /// The document to write; without it, it goes to standard output.
    document: Option<PathBuf>,
}

/// One trace under each of the deciders.
struct Outcome {
    trace: Trace,
    latency: Summary,
    backlog: Summary,
    reference: Summary,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcomes: Vec<_> = demand::all().into_iter().map(play).collect();
    let document = report::document(&outcomes);
    let Some(path) = options.document else {
        #[allow(clippy::print_stdout, reason = "it was asked for")]
        {
            print!("{document}");
        }
        return ExitCode::SUCCESS;
    };
    match std::fs::write(&path, document) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write {}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}

fn play(trace: Trace) -> Outcome {
    let ours = |target| {
        let policy = policy(target);
        let mut follower = Follower::new(policy, Caps::default(), START, Timestamp::UNIX_EPOCH);
        let world = trace.world(true);
        simulate(&trace.loads, &world, |seen| follower.aim(seen)).summary
    };
    let latency = ours(Target::Latency { within: WITHIN });
    let backlog = ours(Target::Backlog {
        per_replica: PER_REPLICA,
    });
    let mut reference = Reference::new(PER_REPLICA, MAX);
    let world = trace.world(false);
    let reference = simulate(&trace.loads, &world, |seen| reference.aim(seen)).summary;
    Outcome {
        trace,
        latency,
        backlog,
        reference,
    }
}

/// The defaults of a TaskQueue, but for the maximum and the target.
fn policy(target: Target) -> Policy {
    Policy {
        mode: Mode::Auto,
        min: 0,
        max: MAX,
        spare: 0,
        target,
        concurrency: CONCURRENCY,
        activation: 1,
        tolerance_permille: 100,
        up: Pace::default(),
        down: Pace {
            stabilization: Duration::from_mins(1),
            step: None,
        },
        wait_for_idle: true,
        idle: Duration::from_secs(30),
        windows: Vec::new(),
        hold_up: false,
        hold_down: false,
    }
}
