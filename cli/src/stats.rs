//! `tq stats`: what queues hold, once or again and again.

mod figures;

use std::time::Duration;

use taskqueue_queue::{Queue, Snapshot};
use tokio::time::{self, MissedTickBehavior};

use crate::args::{Listing, Stats};
use crate::exit::Failure;
use crate::output::{Output, json_line, tell};
use crate::place::Cluster;
use figures::Figures;

/// Clears a terminal and puts the cursor into its first corner.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(crate) async fn run(
    typed: &Stats,
    cluster: &Cluster,
    output: &mut Output,
) -> Result<(), Failure> {
    let queues = typed
        .queues
        .iter()
        .map(|name| cluster.queue(name))
        .collect::<Result<Vec<_>, _>>()?;
    if !typed.watch {
        return print(&fetch(cluster, &queues).await?, typed.output, output);
    }
    let mut ticks = ticks(typed.every);
    while !output.is_closed() {
        ticks.tick().await;
        let figures = match fetch(cluster, &queues).await {
            Ok(figures) => figures,
            // Whoever watches wants to see the queue come back.
            Err(Failure::Queue(error)) if error.is_transient() => {
                tell(format_args!("tq: {error}"));
                continue;
            }
            Err(failure) => return Err(failure),
        };
        if output.is_terminal() && typed.output == Listing::Table {
            output.bytes(CLEAR.as_bytes())?;
        }
        print(&figures, typed.output, output)?;
        output.flush()?;
    }
    Ok(())
}

fn ticks(every: Duration) -> time::Interval {
    let mut ticks = time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn fetch(cluster: &Cluster, queues: &[Queue]) -> Result<Vec<Figures>, Failure> {
    let snapshots = cluster.client().snapshot(queues).await;
    let pairs = queues.iter().zip(snapshots);
    pairs
        .map(|(queue, snapshot): (_, Result<Snapshot, _>)| {
            Ok(Figures::new(queue.name(), &snapshot?))
        })
        .collect()
}

fn print(figures: &[Figures], listing: Listing, output: &mut Output) -> Result<(), Failure> {
    match listing {
        Listing::Json => {
            for queue in figures {
                output.line(json_line(queue)?)?;
            }
        }
        Listing::Table => {
            for line in figures::table(figures) {
                output.line(line)?;
            }
        }
    }
    Ok(())
}
