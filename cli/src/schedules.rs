//! `tq schedules`: what a queue enqueues by itself, and when.

use jiff::Timestamp;
use taskqueue_queue::ScheduleState;

use crate::args::{Listing, OfSchedule, Schedules};
use crate::exit::Failure;
use crate::output::{Output, json_line};
use crate::place::Cluster;
use crate::table;

pub(crate) async fn run(
    typed: &Schedules,
    cluster: &Cluster,
    output: &mut Output,
) -> Result<(), Failure> {
    if let Some(OfSchedule::Run { queue, name }) = &typed.command {
        let id = cluster.queue(queue)?.run_schedule(name).await?;
        return Ok(output.line(id)?);
    }
    let queue = cluster.queue(typed.queue.as_deref().unwrap_or_default())?;
    let schedules = queue.schedules().await?;
    match typed.output {
        Listing::Json => {
            for schedule in &schedules {
                output.line(json_line(schedule)?)?;
            }
        }
        Listing::Table => {
            for line in rows(&schedules, cluster.client().now()) {
                output.line(line)?;
            }
        }
    }
    Ok(())
}

/// A row for each, and one more for each of its next runs but the first.
fn rows(schedules: &[ScheduleState], now: Timestamp) -> Vec<String> {
    let headings = ["NAME", "CRON", "TIME ZONE", "TYPE", "LAST RUN", "NEXT RUNS"];
    let mut table = table::with_headings(headings);
    for schedule in schedules {
        let last = schedule.last.map_or_else(
            || "-".to_owned(),
            |last| format!("{} ago", table::age(last, now)),
        );
        let mut upcoming = schedule.upcoming.iter().map(ToString::to_string);
        let next = match upcoming.next() {
            Some(next) => next,
            None if schedule.suspended => "suspended".to_owned(),
            None => "-".to_owned(),
        };
        table.add_row([
            &schedule.name,
            &schedule.cron,
            &schedule.time_zone,
            &schedule.kind,
            &last,
            &next,
        ]);
        for later in upcoming {
            table.add_row(["", "", "", "", "", later.as_str()]);
        }
    }
    table::lines(&mut table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_that_comes_next_has_a_line() {
        let at = |second| Timestamp::from_second(second).expect("it is in range");
        let schedule = |name: &str, upcoming: Vec<Timestamp>| ScheduleState {
            name: name.to_owned(),
            cron: "0 * * * *".to_owned(),
            time_zone: "UTC".to_owned(),
            kind: "report".to_owned(),
            last: Some(at(0)),
            next: upcoming.first().copied(),
            suspended: upcoming.is_empty(),
            upcoming,
        };
        let schedules = [
            schedule("hourly", vec![at(3600), at(7200)]),
            schedule("paused", Vec::new()),
        ];
        let shown = rows(&schedules, at(60));
        assert_eq!(
            shown,
            [
                "NAME    CRON       TIME ZONE  TYPE    LAST RUN  NEXT RUNS",
                "hourly  0 * * * *  UTC        report  60s ago   1970-01-01T01:00:00Z",
                "                                                1970-01-01T02:00:00Z",
                "paused  0 * * * *  UTC        report  60s ago   suspended",
            ]
        );
    }
}
