//! `tq clear`, `tq clean` and `tq delete`: emptying queues.

use taskqueue_queue::{Erased, Pending, Queue, Selection, Snapshot};

use crate::args::{Clean, Clear, Delete};
use crate::exit::Failure;
use crate::output::Output;
use crate::place::Cluster;
use crate::progress::{Progress, tasks};

pub(crate) async fn clear(
    typed: &Clear,
    cluster: &Cluster,
    output: &mut Output,
) -> Result<(), Failure> {
    let queue = cluster.queue(&typed.queue)?;
    let name = queue.name();
    let (waiting, scheduled) = (typed.waiting || typed.all, typed.scheduled || typed.all);
    let dead = typed.dead || typed.all;
    if !typed.yes {
        let figures = figures(cluster, &queue).await?;
        let in_levels = figures.waiting.iter().map(|(_, tasks)| tasks).sum::<u64>();
        let mut parts = Vec::new();
        if waiting {
            parts.push(format!("{in_levels} waiting"));
            parts.push(format!("{} blocked", figures.blocked));
        }
        if scheduled {
            parts.push(format!("{} scheduled", figures.scheduled));
        }
        let mut would = Vec::new();
        if !parts.is_empty() {
            would.push(format!("cancel {} tasks", listed(&parts)));
        }
        if dead {
            would.push(format!("remove {} dead letters for good", figures.dead));
        }
        return Err(Failure::Usage(format!(
            "this would {} of {name}: add --yes to do so",
            would.join(" and ")
        )));
    }
    let mut pending = Vec::new();
    if waiting {
        // What is blocked would come into the places of what waits.
        pending.extend([Pending::Blocked, Pending::Waiting]);
    }
    if scheduled {
        pending.push(Pending::Scheduled);
    }
    let mut cancelled = 0;
    for some in &pending {
        let (mut progress, before) = (Progress::new(), cancelled);
        let told = |count| progress.tell(format_args!("{} cancelled", tasks(before + count)));
        cancelled += queue.clear(*some, told).await?;
    }
    if !pending.is_empty() {
        output.line(format_args!("{} cancelled", tasks(cancelled)))?;
    }
    if dead {
        let purged = queue.purge(Selection::All).await?;
        output.line(format_args!("{} purged", tasks(purged)))?;
    }
    Ok(())
}

pub(crate) async fn clean(
    typed: &Clean,
    cluster: &Cluster,
    output: &mut Output,
) -> Result<(), Failure> {
    let queue = cluster.queue(&typed.queue)?;
    let cleaned = queue.clean(typed.older_than).await?;
    Ok(output.line(format_args!("{} forgotten", tasks(cleaned)))?)
}

pub(crate) async fn delete(
    typed: &Delete,
    cluster: &Cluster,
    output: &mut Output,
) -> Result<(), Failure> {
    let queue = cluster.queue(&typed.queue)?;
    let name = queue.name();
    if !typed.yes {
        let figures = figures(cluster, &queue).await?;
        let in_levels = figures.waiting.iter().map(|(_, tasks)| tasks).sum::<u64>();
        return Err(Failure::Usage(format!(
            "this would delete all of {name}, with {} waiting, {} blocked, {} scheduled and {} running tasks and {} dead \
             letters: add --yes to do so",
            in_levels, figures.blocked, figures.scheduled, figures.active, figures.dead
        )));
    }
    let mut progress = Progress::new();
    let erased = queue
        .erase(typed.force, |keys| {
            progress.tell(format_args!("{keys} keys deleted"));
        })
        .await?;
    match erased {
        Erased::Keys(keys) => {
            let keys_are = if keys == 1 { "key" } else { "keys" };
            Ok(output.line(format_args!("{name} deleted: {keys} {keys_are}"))?)
        }
        Erased::Held(workers) => Err(Failure::Busy(format!(
            "{name} has {workers} {} and stays: stop them first, or add --force",
            if workers == 1 { "worker" } else { "workers" }
        ))),
    }
}

async fn figures(cluster: &Cluster, queue: &Queue) -> Result<Snapshot, Failure> {
    let mut snapshots = cluster.client().snapshot(std::slice::from_ref(queue)).await;
    let missing = || Failure::Form("Redis told no figures of the queue".to_owned());
    Ok(snapshots.pop().ok_or_else(missing)??)
}

/// `a`, `a and b`, `a, b and c`.
fn listed(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [some @ .., last] => format!("{} and {last}", some.join(", ")),
    }
}
