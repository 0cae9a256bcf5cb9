//! `tq dead`: the tasks that will not be tried again.

use jiff::Timestamp;
use taskqueue_queue::{Page, Queue, Selection, Task};

use crate::args::{Dead, Letters, Listing};
use crate::exit::Failure;
use crate::output::Output;
use crate::place::Cluster;
use crate::table;

/// The most dead letters that one call returns.
const PAGE: u32 = 1000;

/// How much of an error message fits into a table.
const ERROR_WIDTH: usize = 100;

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
        } => list(&cluster.queue(queue)?, *limit, *listing, output).await,
        Dead::Retry { letters } => {
            let queue = cluster.queue(&letters.queue)?;
            let retried = queue.redrive(selection(letters)).await?;
            report(letters, &queue, retried, "retried", output)
        }
        Dead::Purge { letters, yes } => {
            let queue = cluster.queue(&letters.queue)?;
            if letters.all && !yes {
                return Err(refuse_purge(cluster, &queue).await?);
            }
            let purged = queue.purge(selection(letters)).await?;
            report(letters, &queue, purged, "purged", output)
        }
    }
}

async fn list(
    queue: &Queue,
    limit: u32,
    listing: Listing,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut letters = Vec::new();
    while let wanted @ 1.. = limit.saturating_sub(u32::try_from(letters.len()).unwrap_or(u32::MAX))
    {
        let page = queue
            .dead(Page {
                offset: letters.len() as u64,
                limit: wanted.min(PAGE),
            })
            .await?;
        if page.is_empty() {
            break;
        }
        letters.extend(page);
    }
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
            for line in rows(&letters, Timestamp::now()) {
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
            last.map_or_else(|| "-".to_owned(), |failure| one_line(&failure.message)),
        ]);
    }
    table::lines(&mut table)
}

/// The message without line breaks, cut to what fits.
fn one_line(message: &str) -> String {
    let flat: String = message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match flat.char_indices().nth(ERROR_WIDTH) {
        Some((end, _)) => format!("{}…", &flat[..end]),
        None => flat,
    }
}

fn selection(letters: &Letters) -> Selection {
    if letters.all {
        Selection::All
    } else {
        Selection::Ids(letters.ids.clone())
    }
}

/// Says how many it were; ids that are no dead letters are an error, after the others were done.
fn report(
    letters: &Letters,
    queue: &Queue,
    count: u64,
    done: &str,
    output: &mut Output,
) -> Result<(), Failure> {
    let tasks = if count == 1 { "task" } else { "tasks" };
    output.line(format_args!("{count} {tasks} {done}"))?;
    let asked = letters.ids.len() as u64;
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

async fn refuse_purge(cluster: &Cluster, queue: &Queue) -> Result<Failure, Failure> {
    let mut snapshots = cluster.client().snapshot(std::slice::from_ref(queue)).await;
    let dead = snapshots
        .pop()
        .transpose()?
        .map_or(0, |snapshot| snapshot.dead);
    let name = queue.name();
    Ok(Failure::Usage(format!(
        "this would remove all {dead} dead letters of {name} for good: add --yes to do so"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_message_takes_one_line_of_bounded_width() {
        assert_eq!(one_line("exit status 1: a\nb"), "exit status 1: a b");
        assert_eq!(
            one_line(&"é".repeat(200)),
            format!("{}…", "é".repeat(ERROR_WIDTH))
        );
    }
}
