//! Ending tasks that nobody wants to run any more: cancelled, or expired.

use crate::batch::buckets;
use crate::fault::Fault;
use crate::lease::retention;
use crate::queue::{Known, Queue};
use crate::record::{Done, Ending, Record};
use crate::script::args;
use crate::{Error, TaskId};

/// How often a task is looked at again that changed between the look and the call.
pub(crate) const MOST_LOOKS: usize = 8;

/// What came of a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The task will not run.
    Removed,
    /// It runs. Its worker is told within a second or so, and lets it go within five more, unless
    /// it ends by itself first.
    Requested,
    /// It has ended already; a dead letter counts as ended.
    TooLate,
    /// There is no such task, or none any more.
    Unknown,
}

/// A task that does not run, as it was seen.
pub(crate) struct Unstarted {
    pub(crate) id: TaskId,
    pub(crate) record: Vec<u8>,
}

/// What became of a task that was to be ended before it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Removed,
    /// It runs.
    Active,
    /// It is another than was seen.
    Changed,
    /// It has ended.
    Gone,
}

impl Fate {
    /// As `remove.lua` says it.
    fn of(said: Option<&str>) -> Self {
        match said {
            Some("removed") => Self::Removed,
            Some("active") => Self::Active,
            Some("gone") => Self::Gone,
            _ => Self::Changed,
        }
    }
}

impl Queue {
    /// Cancels a task.
    pub async fn cancel(&self, id: &TaskId) -> Result<Cancelled, Error> {
        for _ in 0..MOST_LOOKS {
            let Some((task, record)) = self.look(id).await? else {
                return Ok(Cancelled::Unknown);
            };
            if task.state.is_ended() {
                return Ok(Cancelled::TooLate);
            }
            let unstarted = [Unstarted { id: *id, record }];
            let fates = self.remove(Ending::Cancelled, &unstarted, true).await?;
            match fates.first() {
                Some(Fate::Removed) => return Ok(Cancelled::Removed),
                Some(Fate::Active) => return Ok(Cancelled::Requested),
                _ => {}
            }
        }
        Err(self.link().faults().script(
            "remove",
            format!("task {id} changed {MOST_LOOKS} times during the call"),
        ))
    }

    /// Ends tasks that do not run, if their records are still the same; what became of each. With `marks`
    /// those that run are marked to be cancelled.
    pub(crate) async fn remove(
        &self,
        ending: Ending,
        tasks: &[Unstarted],
        marks: bool,
    ) -> Result<Vec<Fate>, Fault> {
        let now_ms = self.link().clock().now_ms();
        let mut sorted: Vec<&Unstarted> = tasks.iter().collect();
        sorted.sort_unstable_by_key(|task| task.id);
        let runs = buckets(sorted.iter().map(|task| task.id));
        let keys = self.bucket_keys(&runs);
        let call = |known: &Known| {
            let asked = args::Remove {
                ending: ending.name().into(),
                retention: retention(&known.policy).into(),
                marks: marks.into(),
            };
            let logged = known.policy.events.is_some();
            let mut call = self.call(known, &keys, &asked);
            let mut rest = sorted.iter();
            for (place, (_, count)) in runs.iter().enumerate() {
                for task in rest.by_ref().take(*count) {
                    call.push(task.id.as_str());
                    call.push(task.record.as_slice());
                    call.push(done(ending, &task.record, now_ms, logged).as_slice());
                    call.push(place + 1);
                }
            }
            call
        };
        let fates: Vec<String> = self.under_policy(call).await?.next()?;
        // In the order asked for.
        let fate = |task: &Unstarted| {
            let place = sorted.iter().position(|other| other.id == task.id);
            place.and_then(|place| fates.get(place)).map(String::as_str)
        };
        Ok(tasks.iter().map(|task| Fate::of(fate(task))).collect())
    }
}

/// The done record of a task that never began; of one that cannot be read, a bare one.
fn done(ending: Ending, record: &[u8], now_ms: u64, logged: bool) -> Vec<u8> {
    let record = Record::unpack(record).unwrap_or_else(|_| Record::unreadable(now_ms));
    Done {
        what: ending.into(),
        record: &record,
        losses: 0,
        started_ms: now_ms,
        run_ms: 0,
        worker: None,
        result: None,
        logged,
        site: None,
    }
    .pack()
}
