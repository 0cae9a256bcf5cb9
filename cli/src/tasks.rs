//! `tq tasks` and `tq logs`: the tasks of a queue by state, and what one of them wrote.

use jiff::Timestamp;
use taskqueue_queue::{Listing as Which, Page, Queue, State, Task, TaskId};

use crate::args::{Listing, Stage, Tasks};
use crate::exit::Failure;
use crate::output::{Output, tell};
use crate::place::Cluster;
use crate::{get, table};

/// The most tasks that one call returns.
const PAGE: u32 = 1000;

pub(crate) async fn run(
    typed: &Tasks,
    cluster: &Cluster,
    output: &mut Output,
) -> Result<(), Failure> {
    let queue = cluster.queue(&typed.queue)?;
    let mut found: Vec<(Stage, Task)> = Vec::new();
    for (stage, which) in wanted(typed, &queue).await? {
        let left = typed.limit.saturating_sub(count(&found));
        let tasks = first(&queue, &which, left).await?;
        found.extend(tasks.into_iter().map(|task| (stage, task)));
    }
    match typed.output {
        Listing::Json => {
            for (_, task) in &found {
                output.line(
                    serde_json::to_string(task)
                        .map_err(|error| Failure::Form(error.to_string()))?,
                )?;
            }
        }
        Listing::Table => {
            for line in rows(&found, cluster.client().now()) {
                output.line(line)?;
            }
        }
    }
    Ok(())
}

pub(crate) async fn logs(queue: &Queue, id: &TaskId, output: &mut Output) -> Result<(), Failure> {
    let lines = queue.logs(id).await?;
    if lines.is_empty() {
        let task = get::find(queue, *id).await?;
        tell(format_args!(
            "task {id} has written no log lines in {}",
            task.queue
        ));
    }
    for line in lines.iter().flat_map(|line| line.lines()) {
        output.line(line)?;
    }
    Ok(())
}

/// The first tasks of a listing, at most `limit`.
pub(crate) async fn first(queue: &Queue, which: &Which, limit: u32) -> Result<Vec<Task>, Failure> {
    let mut tasks = Vec::new();
    let mut offset = 0;
    while offset < limit {
        let page = Page {
            offset: offset.into(),
            limit: (limit - offset).min(PAGE),
        };
        let found = queue.tasks(which, page).await?;
        if found.is_empty() {
            break;
        }
        tasks.extend(found);
        offset = offset.saturating_add(page.limit);
    }
    Ok(tasks)
}

/// The listings that make up what was asked for.
async fn wanted(typed: &Tasks, queue: &Queue) -> Result<Vec<(Stage, Which)>, Failure> {
    let level = |level: String| (Stage::Waiting, Which::Waiting { level });
    let stages = match (typed.state, &typed.level) {
        (None | Some(Stage::Waiting), Some(name)) => return Ok(vec![level(name.clone())]),
        (Some(_), Some(_)) => {
            let fix = "--level goes with --state waiting alone: other tasks are in no level";
            return Err(Failure::Usage(fix.to_owned()));
        }
        (Some(stage), None) => vec![stage],
        (None, None) => vec![
            Stage::Active,
            Stage::Waiting,
            Stage::Blocked,
            Stage::Scheduled,
        ],
    };
    let mut wanted = Vec::new();
    for stage in stages {
        match stage {
            Stage::Waiting => {
                let policy = queue.policy().await?.value;
                wanted.extend(policy.levels.into_iter().chain(policy.retired).map(level));
            }
            Stage::Blocked => wanted.push((stage, Which::Blocked)),
            Stage::Scheduled => wanted.push((stage, Which::Scheduled)),
            Stage::Active => wanted.push((stage, Which::Active)),
            Stage::Dead => wanted.push((stage, Which::Dead)),
            Stage::Ended => wanted.push((stage, Which::Ended)),
        }
    }
    Ok(wanted)
}

fn count<T>(found: &[T]) -> u32 {
    u32::try_from(found.len()).unwrap_or(u32::MAX)
}

fn rows(tasks: &[(Stage, Task)], now: Timestamp) -> Vec<String> {
    let headings = [
        "ID", "TYPE", "STATE", "PRIORITY", "AGE", "ATTEMPTS", "DETAIL",
    ];
    let mut table = table::with_headings(headings);
    for (stage, task) in tasks {
        let state = match stage {
            Stage::Blocked => "Blocked".to_owned(),
            _ => format!("{:?}", task.state),
        };
        table.add_row([
            task.id.to_string(),
            task.kind.clone(),
            state,
            task.priority.clone().unwrap_or_else(|| "-".to_owned()),
            table::age(task.created, now),
            task.attempts.to_string(),
            detail(*stage, task, now).unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table::lines(&mut table)
}

/// What matters most of a task that stands there.
fn detail(stage: Stage, task: &Task, now: Timestamp) -> Option<String> {
    let error = || {
        let failure = task.errors.last()?;
        Some(table::one_line(&failure.message))
    };
    let ended = || Some(format!("{} ago", table::age(task.finished?, now)));
    match (stage, task.state) {
        (Stage::Blocked, _) => Some(match &task.concurrency_key {
            Some(key) => format!("key {key}"),
            None => format!("type {}", table::one_line(&task.kind)),
        }),
        (_, State::Scheduled) => {
            let due = table::span(task.due?.duration_since(now));
            let error = error().map(|error| format!(": {error}"));
            Some(format!("in {due}{}", error.unwrap_or_default()))
        }
        (_, State::Active) => Some(format!("worker {}", task.worker.as_ref()?)),
        (_, State::Waiting | State::Dead) => error(),
        (_, State::Completed | State::Cancelled | State::Expired | State::Dropped) => ended(),
    }
}
