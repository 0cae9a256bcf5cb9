//! `tq dead`: the tasks that will not be tried again.

use std::collections::BTreeSet;

use jiff::Timestamp;
use taskqueue_queue::{Filter, Listed, Outdone, Queue, Redriven, Selection, Stage};

use crate::args::{Dead, Fitting, Letters, Listing};
use crate::exit::Failure;
use crate::output::Output;
use crate::place::Cluster;
use crate::progress::tasks as tasks_of;
use crate::{redrive, table, tasks};

pub(crate) async fn run(
    typed: &Dead,
    cluster: &Cluster,
    output: &mut Output,
) -> Result<(), Failure> {
    match typed {
        Dead::List {
            queue,
            fitting,
            limit,
            output: listing,
        } => list(cluster, queue, fitting, *limit, *listing, output).await,
        Dead::Retry {
            letters,
            rate,
            into,
            dry_run,
        } => {
            let queue = cluster.queue(&letters.queue)?;
            let target = into
                .as_deref()
                .map(|name| cluster.queue(name))
                .transpose()?;
            let selection = selection(letters);
            if *dry_run {
                let count = queue.letters(&selection).await?.len() as u64;
                return Ok(output.line(format_args!("{} would be retried", tasks_of(count)))?);
            }
            let retried = if rate.is_none() && target.is_none() {
                queue.redrive(selection).await?
            } else {
                redrive::redrive(&queue, target.as_ref(), &selection, *rate).await?
            };
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
    fitting: &Fitting,
    limit: u32,
    listing: Listing,
    output: &mut Output,
) -> Result<(), Failure> {
    let queue = cluster.queue(queue)?;
    let letters = tasks::first(&queue, &fitting.filter(), None, limit).await?;
    match listing {
        Listing::Json => tasks::print_json(&letters, output),
        Listing::Table => {
            for line in rows(&letters.tasks, cluster.client().now()) {
                output.line(line)?;
            }
            Ok(())
        }
    }
}

fn rows(letters: &[Listed], now: Timestamp) -> Vec<String> {
    let mut table =
        table::with_headings(["ID", "TYPE", "DIED", "ATTEMPTS", "LOSSES", "CAUSE", "ERROR"]);
    for Listed { task: letter, .. } in letters {
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
    let filter = letters.fitting.filter();
    (filter != Filter::of([Stage::Dead])).then_some(filter)
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
    output.line(format_args!("{} {what}", tasks_of(count)))?;
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
    let fitting = match filter {
        Some(filter) => Some(queue.letters(&Selection::Matching(filter)).await?.len()),
        None => None,
    };
    let mut snapshots = cluster.client().snapshot(std::slice::from_ref(queue)).await;
    let dead = snapshots
        .pop()
        .transpose()?
        .map_or(0, |snapshot| snapshot.dead);
    let which = match fitting {
        Some(fitting) => format!("{fitting} of the {dead}"),
        None => format!("all {dead}"),
    };
    Ok(Failure::Usage(format!(
        "this would remove {which} dead letters of {name} for good: add --yes to do so"
    )))
}
