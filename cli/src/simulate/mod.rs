//! `tq simulate`: a recorded demand against the scaling of a TaskQueue, by the very decision that
//! the operator makes. Needs neither Redis nor a cluster.

mod trace;

use std::fmt::Display;
use std::path::Path;

use jiff::SignedDuration;
use serde::Serialize;
use serde_json::json;
use taskqueue_api::{TaskQueue, manifest, scaling};
use taskqueue_scaling::{Decision, Follower, Played, Seen, World, simulate};

use crate::args::{Listing, Simulate};
use crate::exit::Failure;
use crate::output::Output;
use crate::{input, table};

/// How far from the beginning of a trace its windows and its end may lie, in days.
const MARGIN_DAYS: i64 = 3 * 366;

/// A change of the replicas.
#[derive(Serialize)]
struct Change {
    at: f64,
    from: u32,
    to: u32,
    waiting: u64,
    active: u64,
    reason: String,
    equation: String,
}

pub(crate) fn run(command: &Simulate, output: &mut Output) -> Result<(), Failure> {
    let resource = queue(&command.policy)?;
    let policy = scaling::policy(&resource).map_err(|refused| usage(&command.policy, refused))?;
    let loads = trace::parse(&input::text(&command.trace)?)
        .map_err(|error| usage(&command.trace, error))?;
    let (from, span) = (command.from, SignedDuration::from_hours(24 * MARGIN_DAYS));
    if from.checked_add(span).and(from.checked_sub(span)).is_err() {
        let fix = format!("--from {from} is too far from today");
        return Err(Failure::Usage(fix));
    }
    let world = World {
        concurrency: policy.concurrency,
        start: command.start_time,
        downstream: command.downstream.map(Into::into),
        handshake: policy.wait_for_idle,
    };
    let caps = scaling::caps(&resource.spec.limits);
    let mut follower = Follower::new(policy, caps, command.start_time, command.from);
    let mut changes = Vec::new();
    let mut last: Option<(Seen, Decision)> = None;
    let played = simulate(&loads, &world, |seen| {
        if let Some((before, decision)) = &last
            && before.replicas != seen.replicas
        {
            changes.push(Change {
                at: before.now.as_secs_f64(),
                from: before.replicas,
                to: seen.replicas,
                waiting: before.waiting,
                active: before.active,
                reason: decision.reason.to_string(),
                equation: decision.equation.clone(),
            });
        }
        let decision = follower.look(seen);
        let decision = decision.or(last.take().map(|(_, decision)| decision));
        let aim = decision
            .as_ref()
            .map_or(seen.replicas, |decision| decision.replicas);
        last = decision.map(|decision| (*seen, decision));
        aim
    });
    match command.output {
        Listing::Table => show(&played, &changes, output),
        Listing::Json => Ok(output.line(document(&played, &changes))?),
    }
}

fn show(played: &Played, changes: &[Change], output: &mut Output) -> Result<(), Failure> {
    let mut rows =
        table::with_headings(["AT", "REPLICAS", "WAITING", "ACTIVE", "REASON", "EQUATION"]);
    for change in changes {
        rows.add_row([
            format!("{:.1}s", change.at),
            format!("{} → {}", change.from, change.to),
            change.waiting.to_string(),
            change.active.to_string(),
            change.reason.clone(),
            change.equation.clone(),
        ]);
    }
    for line in table::lines(&mut rows) {
        output.line(line)?;
    }
    let summary = &played.summary;
    output.line("")?;
    for (name, figure) in [
        ("tasks", summary.tasks.to_string()),
        (
            "waiting p50",
            format!("{:.1} s", summary.waiting_p50.as_secs_f64()),
        ),
        (
            "waiting p95",
            format!("{:.1} s", summary.waiting_p95.as_secs_f64()),
        ),
        ("pod-seconds", format!("{:.0}", summary.pod_seconds)),
        ("changes", summary.changes.to_string()),
        ("most replicas", summary.most.to_string()),
    ] {
        output.line(format_args!("{name:<15}{figure}"))?;
    }
    Ok(())
}

fn document(played: &Played, changes: &[Change]) -> serde_json::Value {
    let summary = &played.summary;
    let points = played.points.iter().map(|seen| {
        json!({
            "at": seen.now.as_secs(), "waiting": seen.waiting, "active": seen.active,
            "replicas": seen.replicas, "ready": seen.ready
        })
    });
    json!({
        "summary": {
            "tasks": summary.tasks,
            "waitingP50Seconds": summary.waiting_p50.as_secs_f64(),
            "waitingP95Seconds": summary.waiting_p95.as_secs_f64(),
            "podSeconds": summary.pod_seconds,
            "changes": summary.changes,
            "mostReplicas": summary.most
        },
        "changes": changes,
        "points": points.collect::<Vec<_>>()
    })
}

/// The first TaskQueue of a file, as the API server would take it.
fn queue(path: &Path) -> Result<TaskQueue, Failure> {
    let found = manifest::read(&input::text(path)?).map_err(|error| usage(path, error))?;
    let first = found.into_iter().next();
    first.ok_or_else(|| usage(path, "it holds no TaskQueue"))
}

fn usage(path: &Path, error: impl Display) -> Failure {
    Failure::Usage(format!("{}: {error}", path.display()))
}
