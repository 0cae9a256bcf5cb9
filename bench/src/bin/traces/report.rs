//! The document.

use std::fmt::Write;

use taskqueue_scaling::Summary;

use crate::{
    MAX, Outcome, PER_REPLICA, WITHIN,
    demand::{CONCURRENCY, START},
};

/// Half of the waiting time's last digit: less is no difference.
const SAME_WAIT: f64 = 0.05;

pub(crate) fn document(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "# Scaling: our targets beside KEDA with the HPA\n\n\
         Written by `make bench-traces`. Each trace of demand is played through a model of pods \
         (`taskqueue_scaling::simulate`), by the very decision that the operator makes and by KEDA and the HPA written \
         out with their defaults (`bench/src/bin/traces/hpa.rs`). The same figures come out on every machine.\n\n\
         A pod runs {CONCURRENCY} tasks at once and takes {} s to start; at most {MAX} replicas. Ours: the defaults of \
         a TaskQueue, with `latency: {}s` or `backlogPerReplica: {PER_REPLICA}`. The HPA: an `AverageValue` of \
         {PER_REPLICA}, and of tasks that wait *and* run, which favours it: KEDA's Redis scalers read those that wait \
         alone. Our scale-in is modelled with its handshake: busy pods are drained first, and each write counts as a \
         change.\n\n",
        START.as_secs(),
        WITHIN.as_secs(),
    );
    for outcome in outcomes {
        section(&mut text, outcome);
    }
    text.push_str(WHY);
    text
}

const WHY: &str = "\
## Where ours changes the replicas more often

Scale to zero and a short window cost changes, and save pods: the HPA makes fewer because it keeps what it once had for
300 s. With *sparse* demand each wake and each rest is a change; a longer `scaling.idle` makes fewer, and costs the
pod-seconds of the pauses. With *bursty* demand each burst is followed up within seconds and down after 90, in five to
seven changes a burst; to keep the workers over the pauses makes fewer, and costs what the HPA costs. On the *ramp* the
downstream is the bottleneck: waiting time hardly differs, since no number of pods would help, and all three run into the
maximum. `limits.concurrency` tells what the downstream takes, and then no pod is added that it would let wait.
";

fn section(text: &mut String, outcome: &Outcome) {
    let trace = &outcome.trace;
    let _ = write!(
        text,
        "## {}\n\n{}. {} tasks.\n\n\
         | | waiting p50 | waiting p95 | pod-seconds | changes | most replicas |\n|---|--:|--:|--:|--:|--:|\n",
        trace.name, trace.about, outcome.reference.tasks
    );
    for (name, summary) in [
        ("latency target", &outcome.latency),
        ("backlog target", &outcome.backlog),
        ("KEDA + HPA", &outcome.reference),
    ] {
        let _ = writeln!(
            text,
            "| {name} | {:.1} s | {:.1} s | {:.0} | {} | {} |",
            summary.waiting_p50.as_secs_f64(),
            summary.waiting_p95.as_secs_f64(),
            summary.pod_seconds,
            summary.changes,
            summary.most,
        );
    }
    text.push('\n');
    for (name, ours) in [("latency", &outcome.latency), ("backlog", &outcome.backlog)] {
        let _ = writeln!(
            text,
            "- {name} target: {}",
            verdict(ours, &outcome.reference)
        );
    }
    text.push('\n');
}

/// Which of the three figures are better, the same and worse.
fn verdict(ours: &Summary, reference: &Summary) -> String {
    let wait = |summary: &Summary| summary.waiting_p95.as_secs_f64();
    let figures = [
        ("waiting p95", wait(ours), wait(reference), SAME_WAIT),
        ("pod-seconds", ours.pod_seconds, reference.pod_seconds, 0.5),
        (
            "changes",
            ours.changes.into(),
            reference.changes.into(),
            0.0,
        ),
    ];
    let named = |chosen: &dyn Fn(f64, f64) -> bool| {
        let names = figures.iter();
        let names = names.filter(|(_, ours, reference, same)| chosen(ours - reference, *same));
        names.map(|(name, ..)| *name).collect::<Vec<_>>().join(", ")
    };
    let told = [
        ("better in", named(&|by, same| by < -same)),
        ("the same in", named(&|by, same| by.abs() <= same)),
        ("worse in", named(&|by, same| by > same)),
    ];
    let told = told.iter().filter(|(_, names)| !names.is_empty());
    told.map(|(how, names)| format!("{how} {names}"))
        .collect::<Vec<_>>()
        .join("; ")
}
