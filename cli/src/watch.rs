//! `tq watch`: what happens in a queue, line by line.

use std::time::Duration;

use taskqueue_plain as plain;
use taskqueue_queue::{Error, Listener, LiveBatch, LiveEvent, LiveId, Queue};

use crate::args::{Listing, Watch};
use crate::exit::Failure;
use crate::output::{Output, json_line, tell};
use crate::place::Cluster;
use crate::table;

/// How long one look waits for something new.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) async fn run(
    typed: &Watch,
    cluster: &Cluster,
    output: &mut Output,
) -> Result<(), Failure> {
    let queue = cluster.queue(&typed.queue)?;
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut listener = None;
    while !output.is_closed() {
        // The interrupt is asked first: nothing hears it before it was asked once.
        let batch = tokio::select! {
            biased;
            _ = &mut interrupt => break,
            batch = next(&queue, typed.from, &mut listener) => batch,
        };
        let batch = match batch {
            Ok(batch) => batch,
            // Whoever watches wants to see the queue come back.
            Err(error) if error.is_transient() => {
                tell(format_args!("tq: {error}"));
                tokio::time::sleep(PATIENCE).await;
                continue;
            }
            Err(error) => return Err(Failure::Queue(error)),
        };
        if !batch.missed.is_empty() {
            tell("tq: some events before these are missing: they were not kept long enough");
        }
        for event in &batch.events {
            output.line(line(event, typed.output)?)?;
        }
        output.flush()?;
    }
    Ok(())
}

/// What is next; begins to listen if that has not begun, behind `from`.
async fn next(
    queue: &Queue,
    from: Option<LiveId>,
    listener: &mut Option<Listener>,
) -> Result<LiveBatch, Error> {
    if let Some(listener) = listener {
        return listener.next(PATIENCE).await;
    }
    *listener = Some(queue.listen(from).await?);
    Ok(LiveBatch::default())
}

fn line(event: &LiveEvent, form: Listing) -> Result<String, Failure> {
    match form {
        Listing::Json => json_line(event),
        Listing::Table => Ok(row(event)),
    }
}

/// Time, what, task, type and what else there is to tell.
fn row(event: &LiveEvent) -> String {
    let time = event.at;
    let what = format!("{:?}", event.what);
    let task = event
        .task
        .map_or_else(|| "-".to_owned(), |id| id.to_string());
    let kind = plain::cell(event.kind.as_deref().unwrap_or("-")).into_owned();
    let row = format!(
        "{time:.3}  {what:<9}  {task:<20}  {kind:<16}  {}",
        detail(event)
    );
    row.trim_end().to_owned()
}

/// What matters most of an event, beside its task.
fn detail(event: &LiveEvent) -> String {
    let mut details: Vec<String> = Vec::new();
    if let Some(attempt) = event.attempt {
        details.push(format!("attempt {attempt}"));
    }
    if let Some(worker) = event.worker {
        details.push(format!("worker {worker}"));
    }
    if let Some(due) = event.due {
        let due = due.duration_since(event.at);
        details.push(format!("in {}", table::span(due)));
    }
    if let Some(replicas) = event.replicas {
        details.push(format!("{} → {}", replicas.from, replicas.to));
    }
    let cause = event.cause.map(|cause| format!("{cause:?}"));
    let text = event.text.as_deref().map(table::one_line);
    let said: Vec<String> = cause.into_iter().chain(text).collect();
    if !said.is_empty() {
        details.push(said.join(": "));
    }
    details.join(", ")
}
