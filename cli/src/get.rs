//! `tq get`: tasks by their ids, or one by its idempotency key.

use std::path::Path;

use futures::StreamExt;
use jiff::Timestamp;
use taskqueue_queue::{Queue, Task, TaskId};

use crate::args::{Document, Get};
use crate::exit::Failure;
use crate::output::Output;
use crate::place::Cluster;
use crate::{input, table, yaml};

/// How many tasks are asked for at once.
const AT_ONCE: usize = 64;

pub(crate) async fn run(
    typed: &Get,
    cluster: &Cluster,
    output: &mut Output,
) -> Result<(), Failure> {
    let queue = cluster.queue(&typed.queue)?;
    if let Some(key) = &typed.key {
        let task = find_by_key(&queue, key).await?;
        return Ok(output.document(&render(&task, typed.output, false)?)?);
    }
    let ids = match &typed.list {
        Some(path) => listed(path)?,
        None => typed.ids.clone(),
    };
    let several = typed.list.is_some() || ids.len() > 1;
    let count = ids.len();
    let asked = ids.into_iter().map(|id| find(&queue, id));
    let mut tasks = futures::stream::iter(asked).buffered(AT_ONCE);
    let mut missed = Vec::new();
    while let Some(found) = tasks.next().await {
        match found.and_then(|task| render(&task, typed.output, several)) {
            Ok(text) => output.document(&text)?,
            Err(failure) if several && failure.is_of_one_task() => missed.push(failure),
            Err(failure) => return Err(failure),
        }
    }
    if missed.is_empty() {
        return Ok(());
    }
    output.flush()?;
    Err(Failure::of_some(&missed, count))
}

pub(crate) async fn find(queue: &Queue, id: TaskId) -> Result<Task, Failure> {
    queue.get(&id).await?.ok_or_else(|| {
        let name = queue.name();
        Failure::NotFound(format!(
            "no task {id} in {name}: never enqueued there, or no longer kept"
        ))
    })
}

async fn find_by_key(queue: &Queue, key: &str) -> Result<Task, Failure> {
    if let Some(task) = queue.get_by_key(key).await? {
        return Ok(task);
    }
    let name = queue.name();
    Err(Failure::NotFound(match queue.id_of_key(key).await? {
        Some(id) => format!(
            "the idempotency key {key:?} stands for task {id} in {name}, which is no longer kept"
        ),
        None => format!("no task stands for the idempotency key {key:?} in {name}"),
    }))
}

/// The ids of a file, one a line. Empty lines are passed over.
fn listed(path: &Path) -> Result<Vec<TaskId>, Failure> {
    let mut ids = Vec::new();
    for (line, number) in input::text(path)?.lines().zip(1..) {
        if line.trim().is_empty() {
            continue;
        }
        let id = line.trim().parse().map_err(|error| {
            Failure::Usage(format!("{}: line {number}: {error}", path.display()))
        })?;
        ids.push(id);
    }
    Ok(ids)
}

fn render(task: &Task, document: Document, several: bool) -> Result<String, Failure> {
    let rendered = match document {
        Document::Json if several => serde_json::to_string(task),
        Document::Json => serde_json::to_string_pretty(task),
        Document::Yaml => serde_json::to_string(task).and_then(|json| {
            let divider = if several { "---\n" } else { "" };
            Ok(format!("{divider}{}", yaml::document(&json)?))
        }),
        Document::Attempts => Ok(attempts(task).join("\n")),
    };
    rendered.map_err(|error| Failure::Form(format!("task {}: {error}", task.id)))
}

fn attempts(task: &Task) -> Vec<String> {
    let mut table = table::with_headings([
        "ID", "ATTEMPT", "OUTCOME", "CAUSE", "STARTED", "ENDED", "WORKER", "POD", "NODE", "MESSAGE",
    ]);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let time = |time: Option<Timestamp>| or_none(time.map(|time| format!("{time:.3}")));
    for attempt in &task.history {
        table.add_row([
            task.id.to_string(),
            attempt.number.to_string(),
            format!("{:?}", attempt.outcome),
            or_none(attempt.cause.map(|cause| cause.to_string())),
            time(attempt.started),
            time(attempt.ended),
            or_none(attempt.worker.map(|worker| worker.to_string())),
            or_none(attempt.pod.clone()),
            or_none(attempt.node.clone()),
            or_none(attempt.message.as_deref().map(table::one_line)),
        ]);
    }
    table::lines(&mut table)
}
