//! `tq get`: tasks by their ids.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use futures::{StreamExt, TryStreamExt};
use serde_json::Value;
use taskqueue_queue::{Queue, Task, TaskId};

use crate::args::{Document, Get};
use crate::exit::Failure;
use crate::output::Output;
use crate::place::Cluster;

/// How many tasks are asked for at once.
const AT_ONCE: usize = 64;

pub(crate) async fn run(
    typed: &Get,
    cluster: &Cluster,
    output: &mut Output,
) -> Result<(), Failure> {
    let queue = cluster.queue(&typed.queue)?;
    let ids = match &typed.list {
        Some(path) => listed(path)?,
        None => typed.ids.clone(),
    };
    let several = typed.list.is_some() || ids.len() > 1;
    let asked = ids.into_iter().map(|id| find(&queue, id));
    let mut tasks = futures::stream::iter(asked).buffered(AT_ONCE);
    while let Some(task) = tasks.try_next().await? {
        output.line(render(&task, typed.output, several)?)?;
    }
    Ok(())
}

pub(crate) async fn find(queue: &Queue, id: TaskId) -> Result<Task, Failure> {
    queue.get(&id).await?.ok_or_else(|| {
        let name = queue.name();
        Failure::NotFound(format!(
            "no task {id} in {name}: never enqueued there, or no longer kept"
        ))
    })
}

/// The ids of a file, one a line.
fn listed(path: &Path) -> Result<Vec<TaskId>, Failure> {
    let unreadable = |source: io::Error| Failure::Unreadable {
        path: path.to_owned(),
        source,
    };
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(unreadable)?)
    };
    let mut ids = Vec::new();
    for (line, number) in BufReader::new(source).lines().zip(1..) {
        let line = line.map_err(unreadable)?;
        let id = line.trim().parse().map_err(|error| {
            Failure::Usage(format!("{}: line {number}: {error}", path.display()))
        })?;
        ids.push(id);
    }
    Ok(ids)
}

fn render(task: &Task, document: Document, several: bool) -> Result<String, Failure> {
    let form = |error: &dyn std::fmt::Display| Failure::Form(error.to_string());
    match document {
        Document::Json if several => serde_json::to_string(task).map_err(|error| form(&error)),
        Document::Json => serde_json::to_string_pretty(task).map_err(|error| form(&error)),
        Document::Yaml => {
            // By way of a value: payload and result are JSON texts, which only a JSON serializer can take in.
            let value: Value = serde_json::to_value(task).map_err(|error| form(&error))?;
            let text = yaml_serde::to_string(&value).map_err(|error| form(&error))?;
            let divider = if several { "---\n" } else { "" };
            Ok(format!("{divider}{}", text.trim_end()))
        }
    }
}
