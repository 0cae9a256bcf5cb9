//! `tq dead`: the tasks that will not be tried again.

use std::collections::BTreeSet;

use jiff::Timestamp;
use taskqueue_queue::{Filter, Listing as Which, Outdone, Queue, Redriven, Selection, Task};

use crate::args::{Dead, Letters, Listing};
use crate::exit::Failure;
use crate::output::Output;
use crate::place::Cluster;
use crate::{table, tasks};

pub(crate) async fn run(
    typed: &Dead,
    cluster: &Cluster,
    output: &mut Output,
) -> Result<(), Failure> {
    match typed {
        Dead::List {
            queue,
            limit,
            output: listing,
        } => list(cluster, queue, *limit, *listing, output).await,
        Dead::Retry { letters } => {
            let queue = cluster.queue(&letters.queue)?;
            let retried = queue.redrive(selection(letters)).await?;
            report(letters, &queue, &retried, "retried", output)
        }
        Dead::Purge { letters, yes } => {
            let queue = cluster.queue(&letters.queue)?;
            let filter = filter(letters);
            if (letters.all || filter.is_some()) && !yes {
                return Err(refuse_purge(cluster, &queue, filter).await?);
            }
            let purged = Redriven {
                moved: queue.purge(selection(letters)).await?,
                outdone: Vec::new(),
            };
            report(letters, &queue, &purged, "purged", output)
        }
    }
}

async fn list(
    cluster: &Cluster,
    queue: &str,
    limit: u32,
    listing: Listing,
    output: &mut Output,
) -> Result<(), Failure> {
    let letters = tasks::first(&cluster.queue(queue)?, &Which::Dead, limit).await?;
    match listing {
        Listing::Json => {
            for letter in &letters {
                output.line(
                    serde_json::to_string(letter)
                        .map_err(|error| Failure::Form(error.to_string()))?,
                )?;
            }
        }
        Listing::Table => {
            for line in rows(&letters, cluster.client().now()) {
                output.line(line)?;
            }
        }
    }
    Ok(())
}

fn rows(letters: &[Task], now: Timestamp) -> Vec<String> {
    let mut table =
        table::with_headings(["ID", "TYPE", "DIED", "ATTEMPTS", "LOSSES", "CAUSE", "ERROR"]);
    for letter in letters {
        let last = letter.errors.last();
        table.add_row([
            letter.id.to_string(),
            letter.kind.clone(),
            letter
                .finished
                .map_or_else(|| "-".to_owned(), |died| table::age(died, now)),
            letter.attempts.to_string(),
            letter.losses.to_string(),
            last.map_or_else(|| "-".to_owned(), |failure| format!("{:?}", failure.cause)),
            last.map_or_else(
                || "-".to_owned(),
                |failure| table::one_line(&failure.message),
            ),
        ]);
    }
    table::lines(&mut table)
}

fn selection(letters: &Letters) -> Selection {
    match filter(letters) {
        Some(filter) => Selection::Matching(filter),
        None if letters.all => Selection::All,
        None => Selection::Ids(letters.ids.clone()),
    }
}

fn filter(letters: &Letters) -> Option<Filter> {
    let filter = Filter {
        kind: letters.kind.clone(),
        error: letters.error.clone(),
        older_than: letters.older_than,
    };
    (filter != Filter::default()).then_some(filter)
}

/// Says how many it were, and which stay and why; that there are such, and ids that are no dead letters,
/// is an error, after the others were done.
fn report(
    letters: &Letters,
    queue: &Queue,
    done: &Redriven,
    what: &str,
    output: &mut Output,
) -> Result<(), Failure> {
    let count = done.moved;
    let tasks = if count == 1 { "task" } else { "tasks" };
    output.line(format_args!("{count} {tasks} {what}"))?;
    for Outdone { letter, holder } in &done.outdone {
        output.line(format_args!(
            "{letter} stays: {holder} has its unique key and has not ended"
        ))?;
    }
    let stay = done.outdone.len() as u64;
    if stay > 0 {
        output.flush()?;
        let stays = if stay == 1 {
            "letter stays"
        } else {
            "letters stay"
        };
        return Err(Failure::KeyTaken(format!(
            "{stay} dead {stays}: cancel the tasks that have their unique keys, or retry when those have ended"
        )));
    }
    let asked = letters.ids.iter().collect::<BTreeSet<_>>().len() as u64;
    if count < asked {
        output.flush()?;
        let missing = asked - count;
        let are = if missing == 1 {
            "is no dead letter"
        } else {
            "are no dead letters"
        };
        return Err(Failure::NotFound(format!(
            "{missing} of {asked} {are} of {}",
            queue.name()
        )));
    }
    Ok(())
}

async fn refuse_purge(
    cluster: &Cluster,
    queue: &Queue,
    filter: Option<Filter>,
) -> Result<Failure, Failure> {
    let name = queue.name();
    if let Some(filter) = filter {
        let dead = tasks::first(queue, &Which::Dead, u32::MAX).await?;
        let now = cluster.client().now();
        let fitting = dead.iter().filter(|task| filter.fits(task, now)).count();
        return Ok(Failure::Usage(format!(
            "this would remove {fitting} of the {} dead letters of {name} for good: add --yes to do so",
            dead.len()
        )));
    }
    let mut snapshots = cluster.client().snapshot(std::slice::from_ref(queue)).await;
    let dead = snapshots
        .pop()
        .transpose()?
        .map_or(0, |snapshot| snapshot.dead);
    Ok(Failure::Usage(format!(
        "this would remove all {dead} dead letters of {name} for good: add --yes to do so"
    )))
}
