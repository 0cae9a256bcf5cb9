//! `tq edit`, `tq promote` and `tq priority`: changing tasks that do not run.

use taskqueue_queue::{Amended, Edit as Change, Payload, Queue, TaskId};

use crate::args::{Edit, Priority, Promote};
use crate::exit::Failure;
use crate::output::Output;
use crate::place::Cluster;

pub(crate) async fn edit(
    typed: &Edit,
    cluster: &Cluster,
    output: &mut Output,
) -> Result<(), Failure> {
    let queue = cluster.queue(&typed.queue)?;
    let change = Change {
        payload: Payload::json(typed.payload.as_bytes())?,
        retry: typed.retry,
    };
    let amended = queue.edit(&typed.id, &change).await?;
    let mut report = Report::new(&queue, "edited", "has that payload already");
    report.tell(&typed.id, amended, output)?;
    report.end(output)
}

pub(crate) async fn promote(
    typed: &Promote,
    cluster: &Cluster,
    output: &mut Output,
) -> Result<(), Failure> {
    let queue = cluster.queue(&typed.queue)?;
    let amended = queue.promote_now(&typed.ids).await?;
    let mut report = Report::new(&queue, "can run now", "is not scheduled: it waits already");
    for (id, amended) in typed.ids.iter().zip(amended) {
        report.tell(id, amended, output)?;
    }
    report.end(output)
}

pub(crate) async fn priority(
    typed: &Priority,
    cluster: &Cluster,
    output: &mut Output,
) -> Result<(), Failure> {
    let queue = cluster.queue(&typed.queue)?;
    let done = format!("has priority {}", typed.level);
    let unchanged = format!("has priority {} already", typed.level);
    let mut report = Report::new(&queue, &done, &unchanged);
    for id in &typed.ids {
        let amended = queue.set_priority(id, &typed.level).await?;
        report.tell(id, amended, output)?;
    }
    report.end(output)
}

/// Says of each task what came of it; that some could not be changed is an error, after the others were done.
struct Report<'a> {
    queue: &'a Queue,
    done: &'a str,
    unchanged: &'a str,
    count: u64,
    /// There is no such task, or it has ended.
    gone: u64,
    /// It is there, and cannot be changed as it stands.
    refused: u64,
}

impl<'a> Report<'a> {
    fn new(queue: &'a Queue, done: &'a str, unchanged: &'a str) -> Self {
        Self {
            queue,
            done,
            unchanged,
            count: 0,
            gone: 0,
            refused: 0,
        }
    }

    fn tell(&mut self, id: &TaskId, amended: Amended, output: &mut Output) -> Result<(), Failure> {
        self.count += 1;
        let refused = matches!(
            amended,
            Amended::Active | Amended::Dead | Amended::Deep | Amended::Outdone(_)
        );
        let gone = matches!(amended, Amended::Ended | Amended::Unknown);
        self.refused += u64::from(refused);
        self.gone += u64::from(gone);
        let said = match amended {
            Amended::Done => self.done.to_owned(),
            Amended::Retried => format!("{}, and goes round again", self.done),
            Amended::Blocked => {
                "is due now, and waits for others with its concurrency key".to_owned()
            }
            Amended::Unchanged => self.unchanged.to_owned(),
            Amended::Active => "runs, and stays as it is".to_owned(),
            Amended::Dead => "is a dead letter: tq dead retry puts it back".to_owned(),
            Amended::Deep => {
                "stays where it is: more than 100,000 tasks are before it, and behind it".to_owned()
            }
            Amended::Outdone(holder) => {
                format!("stays as it is: {holder} has its unique key and has not ended")
            }
            Amended::Ended => "has ended already".to_owned(),
            Amended::Unknown => "is unknown: never enqueued there, or no longer kept".to_owned(),
        };
        Ok(output.line(format_args!("{id} {said}"))?)
    }

    fn end(&self, output: &mut Output) -> Result<(), Failure> {
        let missed = self.gone + self.refused;
        if missed == 0 {
            return Ok(());
        }
        output.flush()?;
        let (count, name) = (self.count, self.queue.name());
        let told = format!("{missed} of {count} could not be changed in {name}");
        Err(if self.refused == 0 {
            Failure::NotFound(told)
        } else {
            Failure::Busy(told)
        })
    }
}
