//! `tq get`: one task by its id.

use serde_json::Value;
use taskqueue_queue::Task;

use crate::args::{Document, Get};
use crate::exit::Failure;
use crate::output::Output;
use crate::place::Cluster;

pub(crate) async fn run(
    typed: &Get,
    cluster: &Cluster,
    output: &mut Output,
) -> Result<(), Failure> {
    let queue = cluster.queue(&typed.queue)?;
    let task = queue.get(&typed.id).await?.ok_or_else(|| {
        let name = queue.name();
        Failure::NotFound(format!(
            "no task {} in {name}: never enqueued there, or no longer kept",
            typed.id
        ))
    })?;
    Ok(output.line(render(&task, typed.output)?)?)
}

fn render(task: &Task, document: Document) -> Result<String, Failure> {
    match document {
        Document::Json => {
            serde_json::to_string_pretty(task).map_err(|error| Failure::Form(error.to_string()))
        }
        Document::Yaml => {
            // By way of a value: payload and result are JSON texts, which only a JSON serializer can take in.
            let value: Value =
                serde_json::to_value(task).map_err(|error| Failure::Form(error.to_string()))?;
            let text =
                yaml_serde::to_string(&value).map_err(|error| Failure::Form(error.to_string()))?;
            Ok(text.trim_end().to_owned())
        }
    }
}
