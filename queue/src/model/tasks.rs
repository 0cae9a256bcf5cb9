//! What producers, operators and the passage of time do.

use super::Pair;
use super::memory::{Batch, Facts, Fate, Incoming, Place};
use super::step::{Edit, HOUR, LEVELS, RULED, Spec, Start};
use crate::produce::{Put, Taken};
use crate::record::Record;
use crate::{Cancelled, Error, NewTask, Overrides, Payload, Selection, State, TaskId, TypePolicy};

/// More than the aging, and no multiple of it.
const LONG_MS: u64 = 100 * 60 * 1_000;

impl Pair {
    pub(super) async fn enqueue(&mut self, specs: &[Spec], apart: bool, lost: bool) {
        // Every other batch lies on shelves, as the ids of its second are many.
        for _ in 0..(self.ids.len() % 2) * 1_024 {
            self.queue.client().next_task_id();
        }
        self.batch = specs.iter().map(|spec| self.build(spec)).collect();
        self.ids.extend(self.batch.iter().map(|((id, _), _)| *id));
        self.put(apart, false).await;
        if lost {
            self.put(apart, true).await;
        }
    }

    fn build(&self, spec: &Spec) -> ((TaskId, NewTask), Incoming) {
        let id = self.queue.client().next_task_id();
        let level = self.levels[spec.level];
        // Large enough for a shelf.
        let payload = Payload::of(&spec.payload.to_string().repeat(64)).unwrap();
        let kind = if spec.ruled { RULED } else { "t" };
        let overrides = Overrides {
            max_attempts: spec.attempts,
            ..Overrides::default()
        };
        let mut task = NewTask::new(kind, payload)
            .priority(level)
            .overrides(overrides);
        let mut facts = Facts {
            level: level.to_owned(),
            expires: spec.expires,
            ruled: spec.ruled,
            own_attempts: spec.attempts,
            asked: format!(
                "{level} {:?}",
                Spec {
                    level: 0,
                    ..spec.clone()
                }
            ),
            ..Facts::default()
        };
        if let Some(key) = spec.idempotency {
            facts.idempotency = format!("i{key}");
            task = task.idempotency_key(&facts.idempotency, HOUR);
        }
        if let Some(key) = spec.unique {
            facts.unique = format!("u{key}");
            task = task.unique(&facts.unique, HOUR);
        }
        if let Some(key) = spec.key {
            facts.key = format!("k{key}");
            task = task.concurrency_key(&facts.key);
        }
        if spec.expires {
            task = task.expires_in(HOUR);
        }
        let place = match spec.start {
            Start::Now => Place::Now,
            Start::Later => Place::Scheduled,
        };
        task = match spec.start {
            Start::Now => task,
            Start::Later => task.delay(HOUR),
        };
        ((id, task), Incoming { id, place, facts })
    }

    /// In the order in which they are written, under the policy in force, which says of which keys they take places.
    fn arrange(&mut self) {
        let policy = &self.memory.policy;
        let of_type = policy.of_type(RULED).and_then(TypePolicy::key);
        for (_, incoming) in &mut self.batch {
            if incoming.facts.ruled {
                incoming.facts.key = of_type.clone().unwrap_or_default();
            }
        }
        self.batch.sort_by_key(|((id, _), incoming)| {
            let level = self.levels.iter().position(|l| *l == incoming.facts.level);
            let facts = &incoming.facts;
            let keys = [&facts.key, &facts.unique, &facts.idempotency];
            let special = facts.expires || keys.iter().any(|key| !key.is_empty());
            let group = match incoming.place {
                _ if special => 9,
                Place::Now => level.unwrap_or(0),
                Place::Scheduled => 7,
            };
            (group, *id)
        });
    }

    /// Writes the last batch, once more or for the first time.
    pub(super) async fn put(&mut self, apart: bool, repeated: bool) {
        if self.batch.is_empty() {
            return;
        }
        self.arrange();
        // Ids in the order in which they were made, as a producer has them.
        let mut tasks: Vec<_> = self.batch.iter().map(|(task, _)| task.clone()).collect();
        tasks.sort_by_key(|(id, _)| *id);
        let incoming: Vec<_> = self.batch.iter().map(|(_, task)| task.clone()).collect();
        let known = |task: &(TaskId, NewTask)| {
            let level = task.1.priority.as_deref().unwrap();
            self.levels.contains(&level)
        };
        if !tasks.iter().all(known) {
            // A level is gone meanwhile: refused before anything is asked of Redis.
            return;
        }
        let taken = if apart { Taken::Apart } else { Taken::Together };
        let put = self.queue.put_once(&tasks, taken, repeated).await;
        let put = put.map_err(|fault| fault.error);
        match (put, self.memory.enqueue(&incoming, apart, repeated)) {
            (Ok(Put::Full(error)), Batch::Full) => {
                assert!(matches!(error, Error::Backlog { .. }), "{error}");
            }
            (Err(Error::KeyConflict { key, id, .. }), Batch::Conflict(of, stands)) => {
                let of = incoming.iter().find(|task| task.id == of).unwrap();
                assert_eq!((key, id), (of.facts.idempotency.clone(), stands));
            }
            (Ok(put), Batch::Done(fates)) => {
                for (id, fate) in fates {
                    assert_eq!(fate_of(&put, id), fate, "{id:?}");
                }
            }
            (Ok(Put::Full(_)), expected) => panic!("refused as full, expected {expected:?}"),
            (Ok(Put::Done { .. }), expected) => panic!("taken, expected {expected:?}"),
            (Err(error), expected) => panic!("{error}, expected {expected:?}"),
        }
    }

    /// One of all ids there ever were, as a rule one of a task that has not ended.
    pub(super) fn pick(&self, pick: usize) -> Option<TaskId> {
        let live: Vec<TaskId> = self.memory.facts.keys().copied().collect();
        let from = if pick.is_multiple_of(4) || live.is_empty() {
            &self.ids
        } else {
            &live
        };
        from.get(pick / 4 % from.len().max(1)).copied()
    }

    pub(super) async fn cancel(&mut self, pick: usize) {
        let Some(id) = self.pick(pick) else {
            return;
        };
        let state = self.queue.get(&id).await.unwrap().map(|task| task.state);
        let memory = &mut self.memory;
        let expected = if memory.dead.contains(&id) {
            assert_eq!(state, Some(State::Dead));
            Cancelled::TooLate
        } else if memory.facts.contains_key(&id) {
            let scheduled = memory.scheduled.contains_key(&id);
            let expected = match memory.active.contains_key(&id) {
                true => State::Active,
                false if scheduled => State::Scheduled,
                false => State::Waiting,
            };
            assert_eq!(state, Some(expected));
            if memory.cancel(id) {
                Cancelled::Removed
            } else {
                Cancelled::Requested
            }
        } else if memory.done.contains_key(&id) {
            assert!(state.is_some_and(State::is_ended));
            Cancelled::TooLate
        } else {
            assert_eq!(state, None);
            Cancelled::Unknown
        };
        assert_eq!(self.queue.cancel(&id).await.unwrap(), expected);
    }

    pub(super) async fn tidy(&mut self) {
        self.freshen_buckets().await;
        let tidied = self.queue.tidy().await.unwrap();
        let expected = self.memory.tidy();
        assert_eq!(
            (tidied.expired, tidied.cancelled, tidied.forgotten),
            expected
        );
        if tidied.forgotten > 0 {
            // It cannot be told any more whether a task was taken.
            self.batch.clear();
        }
    }

    pub(super) async fn redrive(&mut self) {
        let order = self.ids("ZRANGE", "dead", &["0", "-1"]).await;
        let redriven = self.queue.redrive(Selection::All).await.unwrap();
        let expected = self.memory.redrive(&order);
        let outdone = redriven.outdone.iter();
        let outdone: Vec<_> = outdone.map(|one| (one.letter, one.holder)).collect();
        assert_eq!(outdone, expected);
        assert_eq!(redriven.moved, (order.len() - expected.len()) as u64);
    }

    pub(super) async fn purge(&mut self) {
        let purged = self.queue.purge(Selection::All).await.unwrap();
        assert_eq!(purged, self.memory.dead.len() as u64);
        self.memory.purge();
        self.batch.clear();
    }

    pub(super) async fn configure(&mut self, edit: &Edit) {
        self.levels = LEVELS[edit.levels];
        let policy = edit.policy();
        // By another one, so that this one's knowledge is out of date.
        let admin = self.queue.client().queue(self.queue.name().clone());
        admin.configure(&policy).await.unwrap();
        self.memory.configure(policy);
    }

    /// Makes everything that is scheduled due, in the order of the ids.
    pub(super) async fn pass_time(&mut self) {
        for id in self.ids("ZRANGE", "due", &["0", "-1"]).await {
            self.edit(id, |record| record.due_ms = 1).await;
        }
        self.set_scores("due", 1).await;
        self.memory.pass_time();
    }

    pub(super) async fn age(&mut self, level: usize) {
        let Some(level) = self.memory.levels.get(level).cloned() else {
            return;
        };
        for id in self.memory.lists.get(&level).cloned().unwrap_or_default() {
            if self.memory.facts.contains_key(&id) {
                self.edit(id, |record| {
                    record.created_ms = record.runnable_since_ms() - LONG_MS;
                    record.due_ms = 0;
                })
                .await;
            }
        }
    }

    /// Changes a record, wherever it lies.
    async fn edit(&mut self, id: TaskId, change: impl FnOnce(&mut Record)) {
        let on_shelf = format!("shelf:{}", id.bucket());
        for part in ["tasks", on_shelf.as_str()] {
            let mut command = redis::cmd("HGET");
            command.arg(self.key(part)).arg(id.as_str());
            let record: Option<Vec<u8>> = command.query_async(&mut self.raw).await.unwrap();
            let Some(record) = record else { continue };
            let mut record = Record::unpack(&record).unwrap();
            change(&mut record);
            let mut command = redis::cmd("HSET");
            command.arg(self.key(part)).arg(id.as_str());
            command.arg(record.pack());
            command.exec_async(&mut self.raw).await.unwrap();
            return;
        }
        panic!("{id} is nowhere");
    }
}

/// What became of a task of a batch.
fn fate_of(put: &Put, id: TaskId) -> Fate {
    let Put::Done {
        standing,
        left_out,
        conflicts,
    } = put
    else {
        panic!("refused as full");
    };
    match (standing.get(&id), conflicts.get(&id)) {
        (Some(holder), _) => Fate::Standing(*holder),
        (_, Some(stands)) => Fate::Conflict(*stands),
        _ if left_out.contains(&id) => Fate::LeftOut,
        _ => Fate::Taken,
    }
}
