//! `tq workers`: who works for a queue.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use taskqueue_queue::{WorkerId, WorkerState};

use crate::args::Listing;
use crate::exit::Failure;
use crate::output::{Output, json_line};
use crate::place::Cluster;
use crate::table;

pub(crate) async fn run(
    cluster: &Cluster,
    queue: &str,
    listing: Listing,
    output: &mut Output,
) -> Result<(), Failure> {
    let workers = cluster.queue(queue)?.workers().await?;
    match listing {
        Listing::Json => {
            for worker in workers {
                let worker = Printable::from(worker);
                output.line(json_line(&worker)?)?;
            }
        }
        Listing::Table => {
            for line in rows(&workers, cluster.client().now()) {
                output.line(line)?;
            }
        }
    }
    Ok(())
}

/// What `-o json` prints of a worker. Field names are part of the output and stay.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Printable {
    id: WorkerId,
    #[serde(skip_serializing_if = "String::is_empty")]
    pod: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    node: String,
    active: u64,
    concurrency: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<Timestamp>,
    lease_until: Timestamp,
    /// Gets no more tasks: it is being let go.
    draining: bool,
}

impl From<WorkerState> for Printable {
    fn from(worker: WorkerState) -> Self {
        Self {
            id: worker.id,
            pod: worker.pod,
            node: worker.node,
            active: worker.active,
            concurrency: worker.concurrency,
            started: worker.started,
            lease_until: worker.lease_until,
            draining: worker.draining,
        }
    }
}

fn rows(workers: &[WorkerState], now: Timestamp) -> Vec<String> {
    let mut table = table::with_headings(["WORKER", "POD", "NODE", "ACTIVE", "AGE", "LEASE"]);
    for worker in workers {
        let known = |text: &str| if text.is_empty() { "-" } else { text }.to_owned();
        table.add_row([
            worker.id.to_string(),
            known(&worker.pod),
            known(&worker.node),
            format!("{}/{}", worker.active, worker.concurrency),
            worker
                .started
                .map_or_else(|| "-".to_owned(), |started| table::age(started, now)),
            lease(worker, now),
        ]);
    }
    table::lines(&mut table)
}

/// How long the lease runs, and whether it is the last one.
fn lease(worker: &WorkerState, now: Timestamp) -> String {
    let left = worker.lease_until.duration_since(now);
    match worker.draining {
        _ if left <= SignedDuration::ZERO => "lapsed".to_owned(),
        true => format!("{}, draining", table::span(left)),
        false => table::span(left),
    }
}
