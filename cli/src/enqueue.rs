//! `tq enqueue`: one task, or one for every line of a file of any length.

mod lines;
mod progress;

use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;

use serde::Serialize;
use taskqueue_queue::{Enqueued, NewTask, Overrides, Payload, Queue, QueueName, TaskId};
use tokio::sync::mpsc;

use crate::args::{Enqueue, Printed};
use crate::exit::Failure;
use crate::input;
use crate::output::{Output, tell};
use crate::place::Cluster;
use lines::{Batch, End, Form, Lines};
use progress::Progress;

/// How many batches the reader may be ahead.
const BATCHES_AHEAD: usize = 2;

pub(crate) async fn run(
    typed: &Enqueue,
    cluster: &Cluster,
    output: &mut Output,
) -> Result<(), Failure> {
    let queue = cluster.queue(&typed.queue)?;
    let start = Instant::now();
    let count = match &typed.lines {
        None => one(typed, &queue, output).await?,
        Some(file) => many(typed, file, &queue, output).await?,
    };
    output.flush()?;
    progress::summarize(count, queue.name(), start.elapsed());
    Ok(())
}

async fn one(typed: &Enqueue, queue: &Queue, output: &mut Output) -> Result<u64, Failure> {
    let payload = Payload::json(input::without_mark(&typed.payload))?;
    let enqueued = queue.enqueue(task(typed, payload)).await?;
    print(&[enqueued], typed, queue.name(), output)?;
    match enqueued {
        Enqueued::New(_) => Ok(1),
        Enqueued::Existing(_) => {
            tell(format_args!("{}: its id is shown", stands(typed)));
            Ok(0)
        }
    }
}

/// Which task another one found in its place.
fn stands(typed: &Enqueue) -> String {
    let unique = typed.unique.as_deref();
    let unique = unique.map(|key| format!("a task with the unique key {key:?} has not ended yet"));
    let own = typed.idempotency_key.as_deref();
    let own = own.map(|key| format!("a task stands for the idempotency key {key:?}"));
    let both = own.into_iter().chain(unique).collect::<Vec<_>>();
    both.join(", or ")
}

async fn many(
    typed: &Enqueue,
    file: &Path,
    queue: &Queue,
    output: &mut Output,
) -> Result<u64, Failure> {
    let (source, length) = input::open(file)?;
    let limit = queue.policy().await?.value.max_payload_bytes;
    let form = if typed.json { Form::Json } else { Form::Text };
    let mut batches = read_ahead(Lines::new(source, form, limit as usize));

    let mut progress = Progress::new(length, Instant::now());
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut count = 0;
    loop {
        // The interrupt is asked first: nothing hears it before it was asked once.
        let batch = tokio::select! {
            biased;
            _ = &mut interrupt => return Err(Failure::Partial { reason: "interrupted".to_owned(), count }),
            batch = batches.recv() => batch,
        };
        let Some(batch) = batch else { return Ok(count) };
        let tasks: Vec<NewTask> = batch
            .payloads
            .into_iter()
            .map(|payload| task(typed, payload))
            .collect();
        let uncertain = tasks.len();
        let enqueued = queue
            .enqueue_many(tasks)
            .await
            .map_err(|error| broken_off(error, count, uncertain))?;
        count += enqueued.len() as u64;
        progress.advance(enqueued.len(), batch.bytes, Instant::now());
        progress.aside(|| {
            print(&enqueued, typed, queue.name(), output).and_then(|()| output.flush())
        })?;
        match batch.end {
            Some(End::Refused { number, reason }) => {
                return Err(Failure::Partial {
                    reason: format!("line {number} {reason}"),
                    count,
                });
            }
            Some(End::Unreadable(error)) => {
                let reason = format!("cannot read {}: {error}", file.display());
                return Err(Failure::Partial { reason, count });
            }
            None => (),
        }
    }
}

/// Redis failed in the middle: what came before is enqueued, the batch at hand perhaps.
fn broken_off(error: taskqueue_queue::Error, count: u64, uncertain: usize) -> Failure {
    if count == 0 && !error.is_transient() {
        return Failure::Queue(error);
    }
    let reason = if error.is_transient() {
        format!("{error}; the next {uncertain} lines may be enqueued or not")
    } else {
        error.to_string()
    };
    Failure::Partial { reason, count }
}

fn task(typed: &Enqueue, payload: Payload) -> NewTask {
    let mut task = NewTask::new(&typed.kind, payload).delay(typed.delay.unwrap_or_default());
    if let Some(level) = &typed.priority {
        task = task.priority(level);
    }
    if let Some(at) = typed.run_at {
        task = task.run_at(at);
    }
    if let Some(span) = typed.expires_in {
        task = task.expires_in(span);
    }
    if let (Some(key), Some(ttl)) = (&typed.unique, typed.unique_for) {
        task = task.unique(key, ttl);
    }
    task = task.overrides(Overrides {
        max_attempts: typed.attempts,
        timeout: typed.timeout,
        backoff: typed.backoff,
    });
    if let (Some(key), Some(keep)) = (&typed.idempotency_key, typed.keep) {
        task = task.idempotency_key(key, keep);
    }
    match &typed.key {
        Some(key) => task.concurrency_key(key),
        None => task,
    }
}

/// Reads on a thread of its own, because a file or a pipe may make its reader wait.
fn read_ahead(mut lines: Lines<Box<dyn Read + Send>>) -> mpsc::Receiver<Batch> {
    let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
    std::thread::spawn(move || {
        while let Some(batch) = lines.next_batch() {
            let last = batch.end.is_some();
            if sender.blocking_send(batch).is_err() || last {
                return;
            }
        }
    });
    batches
}

/// What `-o json` prints of a task.
#[derive(Serialize)]
struct Printable<'a> {
    id: TaskId,
    queue: &'a QueueName,
    r#type: &'a str,
    existing: bool,
}

fn print(
    tasks: &[Enqueued],
    typed: &Enqueue,
    queue: &QueueName,
    output: &mut Output,
) -> io::Result<()> {
    for task in tasks {
        match typed.output {
            Printed::Ids => output.line(task.id())?,
            Printed::Json => output.line(serde_json::to_string(&Printable {
                id: task.id(),
                queue,
                r#type: &typed.kind,
                existing: matches!(task, Enqueued::Existing(_)),
            })?)?,
            Printed::None => return Ok(()),
        }
    }
    Ok(())
}
