//! `tq tasks` and `tq logs`: the tasks of a queue by what they are, and what one of them wrote.

use jiff::Timestamp;
use serde_json::json;
use taskqueue_queue::{Cursor, Filter, Listed, Page, Queue, Stage, State, Task, TaskId};

use crate::args::{Listing, Tasks};
use crate::exit::Failure;
use crate::output::{Output, json_line, tell};
use crate::place::Cluster;
use crate::{get, table};

/// The most tasks that one command looks at, so that a filter that fits few of many comes to an end.
const MOST_LOOKED: u64 = 1_000_000;

pub(crate) async fn run(
    typed: &Tasks,
    cluster: &Cluster,
    output: &mut Output,
) -> Result<(), Failure> {
    let queue = cluster.queue(&typed.queue)?;
    let filter = typed.filter();
    let found = first(&queue, &filter, typed.cursor.clone(), typed.limit).await?;
    match typed.output {
        Listing::Json => print_json(&found, output)?,
        Listing::Table => {
            for line in rows(&found.tasks, cluster.client().now()) {
                output.line(line)?;
            }
        }
    }
    output.flush()?;
    tell_rest(&found, typed, &filter);
    Ok(())
}

/// Says that there may be more, and how to get at it.
fn tell_rest(found: &Page, typed: &Tasks, filter: &Filter) {
    let Some(cursor) = &found.next else { return };
    let looked = found.looked;
    if typed.output == Listing::Json {
        tell(json!({"cursor": cursor, "looked": looked}));
        return;
    }
    let narrow = if found.is_cut(typed.limit) {
        let narrower = filter.narrower();
        format!(
            "{} of the first {looked} fit ({narrower}); ",
            found.tasks.len()
        )
    } else {
        String::new()
    };
    tell(format_args!("{narrow}there may be more: --cursor {cursor}"));
}

/// One JSON object a line.
pub(crate) fn print_json(found: &Page, output: &mut Output) -> Result<(), Failure> {
    for Listed { task, .. } in &found.tasks {
        output.line(json_line(task)?)?;
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

/// The first tasks that fit, from a cursor on, at most `limit`: as one page.
pub(crate) async fn first(
    queue: &Queue,
    filter: &Filter,
    cursor: Option<Cursor>,
    limit: u32,
) -> Result<Page, Failure> {
    let mut all = Page {
        next: cursor,
        ..Page::default()
    };
    loop {
        let left = limit - u32::try_from(all.tasks.len()).unwrap_or(limit);
        let page = queue
            .list(filter, all.next.as_ref(), left.min(Page::MOST))
            .await?;
        all.tasks.extend(page.tasks);
        all.looked += page.looked;
        all.next = page.next;
        if all.next.is_none() || !all.is_cut(limit) || all.looked >= MOST_LOOKED {
            return Ok(all);
        }
    }
}

fn rows(tasks: &[Listed], now: Timestamp) -> Vec<String> {
    let headings = [
        "ID", "TYPE", "STATE", "PRIORITY", "AGE", "ATTEMPTS", "DETAIL",
    ];
    let mut table = table::with_headings(headings);
    for Listed { stage, task, .. } in tasks {
        table.add_row([
            task.id.to_string(),
            task.kind.clone(),
            format!("{stage:?}"),
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
