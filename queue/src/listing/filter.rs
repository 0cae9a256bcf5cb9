//! Which tasks are meant: for listings and for dead letters alike. Pure.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::payload::PayloadIs;
use crate::fingerprint::{Fingerprint, fingerprint};
use crate::payload::fits;
use crate::task::check_kind;
use crate::{Error, State, Task, WorkerId};

/// Longest key, in bytes.
const MAX_KEY_BYTES: usize = 256;
/// Longest part of a message, in bytes: messages are cut to that.
const MAX_ERROR_BYTES: usize = 1_024;
/// Most conditions on the payload.
const MAX_CONDITIONS: usize = 16;

/// Where a task stands: its state, but for those that wait for others with their concurrency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Stage {
    /// It runs.
    Active,
    /// It could run now.
    Waiting,
    /// It waits for another with its concurrency key.
    Blocked,
    /// It is delayed or to be retried.
    Scheduled,
    /// It is a dead letter.
    Dead,
    /// It was done.
    Completed,
    /// Somebody cancelled it.
    Cancelled,
    /// It did not start in time.
    Expired,
    /// A retry rule dropped it.
    Dropped,
}

impl Stage {
    /// Those of tasks of which something is to become yet.
    pub const NOT_ENDED: [Self; 4] = [Self::Active, Self::Waiting, Self::Blocked, Self::Scheduled];
    /// Those of tasks that have ended, but for dead letters.
    pub const ENDED: [Self; 4] = [
        Self::Completed,
        Self::Cancelled,
        Self::Expired,
        Self::Dropped,
    ];

    /// That of a task that is not blocked.
    pub(crate) fn of(state: State) -> Self {
        match state {
            State::Waiting => Self::Waiting,
            State::Scheduled => Self::Scheduled,
            State::Active => Self::Active,
            State::Completed => Self::Completed,
            State::Dead => Self::Dead,
            State::Cancelled => Self::Cancelled,
            State::Expired => Self::Expired,
            State::Dropped => Self::Dropped,
        }
    }
}

/// A time of the clock of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Moment {
    /// This one.
    At(Timestamp),
    /// So long before it is looked.
    Ago(Duration),
}

impl Moment {
    fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::Ago(span) => now.checked_sub(span).unwrap_or(Timestamp::MIN),
        }
    }
}

/// What a task must be; what is absent is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// Where it stands; none for all that have not ended.
    pub stages: Vec<Stage>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Its unique key or its concurrency key.
    pub key: Option<String>,
    /// Its priority level. Of a task that has ended it is known only where the queue keeps a log of ends.
    pub level: Option<String>,
    /// The worker that runs it or ran it last, as far as that is known: of active and of ended tasks.
    pub worker: Option<WorkerId>,
    /// It was enqueued at this time or before.
    pub created_before: Option<Moment>,
    /// It was enqueued at this time or later.
    pub created_after: Option<Moment>,
    /// It died, or ended otherwise, at this time or before.
    pub ended_before: Option<Moment>,
    /// A part of the message of its last failure.
    pub error: Option<String>,
    /// The fingerprint of its last failure.
    pub group: Option<Fingerprint>,
    /// What its payload has, all of it. A completed task keeps its payload only up to 1 KiB.
    pub payload: Vec<PayloadIs>,
}

impl Filter {
    /// That of all tasks in these stages.
    pub fn of(stages: impl IntoIterator<Item = Stage>) -> Self {
        Self {
            stages: stages.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Whether it asks for this task, at this time.
    pub fn fits(&self, stage: Stage, task: &Task, now: Timestamp) -> bool {
        let text = |asked: &Option<String>, of_task: Option<&String>| {
            asked.is_none() || asked.as_ref() == of_task
        };
        let key = |key: &String| {
            task.unique_key.as_ref() == Some(key) || task.concurrency_key.as_ref() == Some(key)
        };
        let time = |moment: Option<Moment>, holds: &dyn Fn(Timestamp) -> bool| {
            moment.is_none_or(|moment| holds(moment.at(now)))
        };
        self.is_of(stage)
            && text(&self.kind, Some(&task.kind))
            && self.key.as_ref().is_none_or(key)
            && text(&self.level, task.priority.as_ref())
            && (self.worker.is_none() || self.worker == task.worker)
            && time(self.created_before, &|time| task.created <= time)
            && time(self.created_after, &|time| task.created >= time)
            && time(self.ended_before, &|time| {
                task.finished.is_some_and(|ended| ended <= time)
            })
            && self.has_failed_so(task)
            && self.has_payload(task)
    }

    /// Whether it asks for tasks that stand there.
    pub(super) fn is_of(&self, stage: Stage) -> bool {
        let stages = match &self.stages[..] {
            [] => &Stage::NOT_ENDED[..],
            stages => stages,
        };
        stages.contains(&stage)
    }

    /// Whether it asks for more than places in Redis alone tell.
    pub(super) fn looks_into_tasks(&self) -> bool {
        let places = Self {
            stages: self.stages.clone(),
            level: self.level.clone(),
            ..Self::default()
        };
        *self != places || self.stages.iter().any(|stage| Stage::ENDED.contains(stage))
    }

    fn has_failed_so(&self, task: &Task) -> bool {
        let Some(last) = task.errors.last() else {
            return self.error.as_ref().is_none_or(String::is_empty) && self.group.is_none();
        };
        let message = &last.message;
        let part = |part: &String| message.contains(part.as_str());
        let group = |group: Fingerprint| group == fingerprint(&task.kind, last.cause, message);
        self.error.as_ref().is_none_or(part) && self.group.is_none_or(group)
    }

    fn has_payload(&self, task: &Task) -> bool {
        let holds = |condition: &PayloadIs| {
            let payload = task.payload.as_ref();
            payload.is_some_and(|payload| condition.fits(payload))
        };
        self.payload.iter().all(holds)
    }

    /// Refuses what no task can fit, and what is too large.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if let Some(kind) = &self.kind {
            check_kind("type", kind)?;
        }
        for (field, text, most) in [
            ("key", &self.key, MAX_KEY_BYTES),
            ("level", &self.level, MAX_KEY_BYTES),
            ("error", &self.error, MAX_ERROR_BYTES),
        ] {
            fits(field, text.as_ref().map_or(0, String::len), most)?;
        }
        if self.payload.len() > MAX_CONDITIONS {
            let rule = format!("at most {MAX_CONDITIONS} conditions");
            let count = self.payload.len().to_string();
            return Err(Error::invalid("payload filter", &count, rule));
        }
        Ok(())
    }

    /// How to ask for less, as the number of tasks that have to be looked at goes by where they stand alone.
    pub fn narrower(&self) -> &'static str {
        match self.stages[..] {
            [Stage::Waiting] if self.level.is_none() => "ask for one level",
            [_] => "there is no narrower one: go on with the cursor",
            _ => "ask for one state",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cause, Failure, Payload, QueueName};

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn worker(last: char) -> WorkerId {
        format!("0000000000000000000{last}").parse().unwrap()
    }

    fn task() -> Task {
        Task {
            id: "00000000000000000001".parse().unwrap(),
            queue: QueueName::new("test", "jobs").unwrap(),
            kind: "mail".to_owned(),
            state: State::Dead,
            priority: Some("high".to_owned()),
            attempts: 1,
            losses: 0,
            created: time(1_000),
            due: None,
            started: None,
            finished: Some(time(2_000)),
            worker: Some(worker('1')),
            history: Vec::new(),
            errors: vec![Failure {
                attempt: 1,
                at: time(2_000),
                cause: Cause::Error,
                message: "no user 17".to_owned(),
            }],
            payload: Some(Payload::json(r#"{"to":{"id":17}}"#).unwrap()),
            result: None,
            progress: None,
            expires: None,
            unique_key: Some("u".to_owned()),
            idempotency_key: None,
            concurrency_key: Some("c".to_owned()),
            overrides: None,
        }
    }

    fn filter(change: impl FnOnce(&mut Filter)) -> Filter {
        let mut filter = Filter::of([Stage::Dead]);
        change(&mut filter);
        filter
    }

    #[test]
    fn each_field_must_fit() {
        let group = |message| Some(fingerprint("mail", Cause::Error, message));
        let fitting = [
            filter(|_| {}),
            filter(|f| f.stages.push(Stage::Active)),
            filter(|f| f.kind = Some("mail".into())),
            filter(|f| f.key = Some("u".into())),
            filter(|f| f.key = Some("c".into())),
            filter(|f| f.level = Some("high".into())),
            filter(|f| f.worker = Some(worker('1'))),
            filter(|f| f.created_before = Some(Moment::At(time(1_000)))),
            filter(|f| f.created_before = Some(Moment::Ago(Duration::from_secs(2_000)))),
            filter(|f| f.created_after = Some(Moment::At(time(1_000)))),
            filter(|f| f.ended_before = Some(Moment::Ago(Duration::from_secs(1_000)))),
            filter(|f| f.created_after = Some(Moment::Ago(Duration::MAX))),
            filter(|f| f.error = Some("user 17".into())),
            filter(|f| f.group = group("no user 18")),
            filter(|f| f.payload = vec!["to.id=17".parse().unwrap()]),
        ];
        for filter in &fitting {
            assert!(filter.check().is_ok());
            assert!(filter.fits(Stage::Dead, &task(), time(3_000)), "{filter:?}");
        }
        let others = [
            Filter::default(),
            Filter::of(Stage::ENDED),
            filter(|f| f.kind = Some("sms".into())),
            filter(|f| f.key = Some("x".into())),
            filter(|f| f.level = Some("low".into())),
            filter(|f| f.worker = Some(worker('2'))),
            filter(|f| f.created_before = Some(Moment::At(time(999)))),
            filter(|f| f.created_before = Some(Moment::Ago(Duration::MAX))),
            filter(|f| f.created_after = Some(Moment::At(time(1_001)))),
            filter(|f| f.ended_before = Some(Moment::Ago(Duration::from_secs(1_001)))),
            filter(|f| f.error = Some("user 18".into())),
            filter(|f| f.group = group("no group")),
            filter(|f| f.payload = vec!["to.id=17".parse().unwrap(), "to.id=18".parse().unwrap()]),
        ];
        for filter in &others {
            assert!(
                !filter.fits(Stage::Dead, &task(), time(3_000)),
                "{filter:?}"
            );
        }
        let bare = Task {
            errors: Vec::new(),
            payload: None,
            finished: None,
            ..task()
        };
        for filter in &fitting[10..] {
            let wants_more = filter.created_after.is_none();
            assert_ne!(filter.fits(Stage::Dead, &bare, time(3_000)), wants_more);
        }
    }

    #[test]
    fn what_no_task_can_fit_is_refused_with_its_field() {
        for (filter, field) in [
            (filter(|f| f.kind = Some(String::new())), "type"),
            (filter(|f| f.key = Some("k".repeat(257))), "key"),
            (filter(|f| f.error = Some("e".repeat(1_025))), "error"),
            (
                filter(|f| f.payload = vec!["a=1".parse().unwrap(); 17]),
                "payload filter",
            ),
        ] {
            let refusal = filter.check().unwrap_err().to_string();
            assert!(refusal.starts_with(field), "{refusal}");
        }
    }
}
