//! `tq errors`: the kinds of failures of a queue.

use jiff::Timestamp;
use taskqueue_queue::ErrorGroup;

use crate::args::{Errors, Listing};
use crate::exit::Failure;
use crate::output::{Output, json_line, tell};
use crate::place::Cluster;
use crate::table;

pub(crate) async fn run(
    typed: &Errors,
    cluster: &Cluster,
    output: &mut Output,
) -> Result<(), Failure> {
    let queue = cluster.queue(&typed.queue)?;
    if typed.forget_all || !typed.forget.is_empty() {
        let forgotten = queue.forget_error_groups(&typed.forget).await?;
        let kinds = if forgotten == 1 { "kind" } else { "kinds" };
        output.line(format_args!("{forgotten} {kinds} forgotten"))?;
        return Ok(());
    }
    let mut known = queue.error_groups().await?;
    known
        .groups
        .truncate(usize::try_from(typed.limit).unwrap_or(usize::MAX));
    match typed.output {
        Listing::Json => {
            for group in &known.groups {
                output.line(json_line(group)?)?;
            }
        }
        Listing::Table => {
            for line in rows(&known.groups, cluster.client().now()) {
                output.line(line)?;
            }
        }
    }
    if known.dropped > 0 {
        tell(format_args!(
            "{} kinds that were seen last longer ago are forgotten: the latest 1000 are known",
            known.dropped
        ));
    }
    Ok(())
}

fn rows(groups: &[ErrorGroup], now: Timestamp) -> Vec<String> {
    let mut table = table::with_headings([
        "FINGERPRINT",
        "COUNT",
        "HOUR",
        "FIRST",
        "LAST",
        "TYPE",
        "CAUSE",
        "EXAMPLE",
        "MESSAGE",
    ]);
    for group in groups {
        table.add_row([
            group.fingerprint.to_string(),
            group.count.to_string(),
            group.last_hour.to_string(),
            table::age(group.first_seen, now),
            table::age(group.last_seen, now),
            group.kind.clone(),
            group.cause.to_string(),
            group.task.to_string(),
            table::one_line(&group.message),
        ]);
    }
    table::lines(&mut table)
}
