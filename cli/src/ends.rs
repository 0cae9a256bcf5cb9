//! `tq ends`: reading a queue's log of ends.

use std::time::Duration;

use serde_json::json;
use taskqueue_queue::{EndsBatch, LoggedEnd, ReplicaChange};

use crate::args::Ends;
use crate::exit::Failure;
use crate::output::{Output, tell};
use crate::place::Cluster;

/// How long one look waits for something new while the log is followed.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) async fn run(
    typed: &Ends,
    cluster: &Cluster,
    output: &mut Output,
) -> Result<(), Failure> {
    let queue = cluster.queue(&typed.queue)?;
    if !typed.follow && queue.policy().await?.value.events.is_none() {
        let name = queue.name();
        tell(format_args!(
            "queue {name} keeps no log of ends: set spec.events of its TaskQueue"
        ));
    }
    let mut reader = queue.ends(&typed.group, &typed.reader)?;
    let patience = if typed.follow {
        PATIENCE
    } else {
        Duration::ZERO
    };
    let mut missed = None;
    loop {
        let batch = reader.next(patience).await?;
        for line in lines(&batch)? {
            output.line(line)?;
        }
        output.flush()?;
        if output.is_closed() {
            // Nobody has seen them.
            return Ok(());
        }
        reader.acknowledge(&batch).await?;
        tell_missed(&batch, &mut missed);
        if batch.is_empty() && !typed.follow {
            return Ok(());
        }
    }
}

/// Says how many ends the group has missed, once for each number.
fn tell_missed(batch: &EndsBatch, told: &mut Option<u64>) {
    if batch.skipped > 0 && *told != Some(batch.skipped) {
        let ends = if batch.skipped == 1 {
            "end was"
        } else {
            "ends were"
        };
        tell(format_args!(
            "{} {ends} gone from the log before this group read them: read faster, or raise spec.events.maxEntries and maxBytes",
            batch.skipped
        ));
        *told = Some(batch.skipped);
    }
}

/// Ends and changes of the number of workers, in the order in which they were logged.
fn lines(batch: &EndsBatch) -> Result<Vec<String>, Failure> {
    let mut lines: Vec<(u64, String)> = Vec::new();
    for end in &batch.ends {
        lines.push((end.number, line(end)?));
    }
    let changes = batch.changes.iter();
    lines.extend(changes.map(|change| (change.number, change_line(change))));
    lines.sort_by_key(|(number, _)| *number);
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

fn change_line(change: &ReplicaChange) -> String {
    json!({
        "number": change.number,
        "what": "Scaled",
        "logged": change.at,
        "replicas": change.replicas,
        "equation": change.equation,
    })
    .to_string()
}

fn line(end: &LoggedEnd) -> Result<String, Failure> {
    let mut told =
        serde_json::to_value(&end.task).map_err(|error| Failure::Form(error.to_string()))?;
    told["number"] = json!(end.number);
    told["what"] = json!(end.what);
    told["logged"] = json!(end.at);
    if let Some(trace_parent) = &end.trace_parent {
        told["traceParent"] = json!(trace_parent);
    }
    Ok(told.to_string())
}
