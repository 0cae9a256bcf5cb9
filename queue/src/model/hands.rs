//! What workers do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Pair;
use super::step::{Ends, HOUR, WORKERS};
use crate::groups::Group;
use crate::lease::{Ack, End, Exchange, Exchanged, Leased, Note, Ran, Settlement};
use crate::record::{Done, Ending, Record};
use crate::worker::LONGEST_LEASE;
use crate::{Cause, TaskId, WorkerId};

/// A worker as it sees itself.
pub(super) struct Hand {
    pub(super) id: WorkerId,
    held: BTreeMap<TaskId, Leased>,
}

impl Pair {
    pub(super) async fn hire(&mut self) -> Hand {
        let id = self.queue.client().next_worker_id();
        let info = r#"{"layout":1}"#;
        self.queue.register(id, LONGEST_LEASE, info).await.unwrap();
        self.memory.workers.insert(id, false);
        Hand {
            id,
            held: BTreeMap::new(),
        }
    }

    async fn exchange(&self, worker: WorkerId, slots: usize, acks: &[Ack]) -> Exchanged {
        let exchange = Exchange {
            worker,
            lease: LONGEST_LEASE,
            slots,
            listen: slots > 0,
            listed: true,
            token: None,
            acks,
        };
        self.queue.exchange(&exchange).await.unwrap()
    }

    pub(super) async fn fetch(&mut self, worker: usize, slots: usize, lost: bool) {
        let id = self.hands[worker].id;
        let mut answer = self.exchange(id, slots, &[]).await;
        let now_ms = self.queue.link().clock().now_ms();
        let expected = self.memory.fetch(id, slots, now_ms);
        assert_eq!(answer.lapsed, expected.is_none());
        let draining = self.memory.draining.contains(&id);
        assert!(answer.lapsed || answer.draining == draining);
        let Some(mut expected) = expected else {
            self.hands[worker] = self.hire().await;
            return;
        };
        if lost {
            let held: Vec<_> = self.hands[worker].held.keys().copied().collect();
            answer.leased = self.queue.held_unknown(id, held).await.unwrap().unwrap();
            // What it lost to others, and got back since, it did not know either.
            expected.sort();
        }
        let got: Vec<_> = answer.leased.iter().map(|leased| leased.id).collect();
        assert_eq!(got, expected);
        self.hands[worker]
            .held
            .extend(answer.leased.into_iter().map(|leased| (leased.id, leased)));
    }

    pub(super) async fn ack(&mut self, worker: usize, count: usize, foreign: bool, twice: bool) {
        let me = self.hands[worker].id;
        let mut acks: BTreeMap<TaskId, Ack> = BTreeMap::new();
        let other = foreign.then_some((worker + 1) % WORKERS);
        for hand in [worker].into_iter().chain(other) {
            let plain = |leased: &&Leased| !record(leased).needs_settling();
            let held = self.hands[hand].held.values().filter(plain).take(count);
            acks.extend(held.map(|leased| {
                let done = done(me, leased, Ending::Completed);
                let (id, run_ms) = (leased.id, 1);
                (id, Ack { id, done, run_ms })
            }));
        }
        let acks: Vec<Ack> = acks.into_values().collect();
        let told: Vec<_> = acks.iter().map(|ack| (ack.id, ack.done.clone())).collect();
        for _ in 0..=usize::from(twice) {
            let answer = self.exchange(me, 0, &acks).await;
            // Whether it is registered or not, the fence is each task's own.
            assert_eq!(answer.refused, self.memory.ack(me, &told));
            if answer.lapsed {
                assert!(!self.memory.workers.contains_key(&me));
            } else {
                self.memory.fetch(me, 0, 0);
            }
        }
        for ack in &acks {
            self.hands[worker].held.remove(&ack.id);
        }
    }

    pub(super) async fn settle(&mut self, worker: usize, ends: &[Ends], twice: bool) {
        let mut settlements = BTreeMap::new();
        for end in ends {
            if let Some((id, leased)) = self.hands[worker].held.pop_first() {
                settlements.insert(id, self.end(worker, &leased, *end));
            }
        }
        self.tell(worker, &settlements, twice).await;
    }

    async fn tell(&mut self, worker: usize, ends: &BTreeMap<TaskId, End>, twice: bool) {
        let me = self.hands[worker].id;
        let settlements = ends.iter().map(|(&id, end)| {
            let (end, failure) = (end.clone(), failure(end));
            let ran = Ran::default();
            Settlement {
                id,
                end,
                ran,
                failure,
            }
        });
        let settlements: Vec<_> = settlements.collect();
        let held: BTreeSet<_> = ends
            .keys()
            .filter(|id| self.memory.holds(me, **id))
            .collect();
        for round in 0..=usize::from(twice) {
            let refused = self.queue.settle(me, &settlements).await.unwrap();
            let mut expected = self.memory.settle(me, ends, round > 0);
            if round > 0 {
                // What was refused once is so again.
                let again = |id: &&TaskId| !held.contains(id) && !expected.contains(id);
                let more: Vec<_> = ends.keys().filter(again).copied().collect();
                expected.extend(more);
                expected.sort_by(|one, other| other.cmp(one));
            }
            assert_eq!(refused, expected);
        }
    }

    fn end(&mut self, worker: usize, leased: &Leased, end: Ends) -> End {
        let me = self.hands[worker].id;
        let mut record = record(leased);
        // Two failures are never the same: in life their times differ.
        self.failures += 1;
        let message = self.failures.to_string();
        let at = jiff::Timestamp::UNIX_EPOCH;
        let ended = |ending| End::Done {
            ending,
            done: done(me, leased, ending),
            run_ms: 1,
        };
        let hour = u64::try_from(HOUR.as_millis()).unwrap();
        let due_ms = self.queue.link().clock().now_ms() + hour;
        match end {
            Ends::Retry => {
                record.fail(at, Cause::Error, &message, true);
                record.due_ms = due_ms;
                let record = record.pack();
                let after = HOUR;
                End::Retry { record, after }
            }
            Ends::Snooze => {
                record.due_ms = due_ms + self.failures;
                let record = record.pack();
                let after = HOUR;
                End::Snooze { record, after }
            }
            Ends::Dead => {
                record.fail(at, Cause::Error, &message, true);
                let record = record.pack();
                End::Dead { record }
            }
            Ends::Release => End::Release,
            Ends::Lost => {
                record.fail(at, Cause::WorkerLost, &message, false);
                let record = Some(record.pack());
                let after = None;
                End::Lost { record, after }
            }
            Ends::LostForNow => {
                record.fail(at, Cause::WorkerLost, &message, false);
                record.due_ms = due_ms;
                let record = Some(record.pack());
                let after = Some(HOUR);
                End::Lost { record, after }
            }
            Ends::Quarantined => {
                record.fail(at, Cause::WorkerLost, &message, false);
                let record = record.pack();
                End::Quarantined { record }
            }
            Ends::Completed => ended(Ending::Completed),
            Ends::Cancelled => ended(Ending::Cancelled),
            Ends::Expired => ended(Ending::Expired),
            Ends::Dropped => ended(Ending::Dropped),
        }
    }

    /// A heartbeat, after which what is to be cancelled may be.
    pub(super) async fn beat(&mut self, worker: usize, obey: bool) {
        let me = self.hands[worker].id;
        let beaten = self.queue.beat(me, LONGEST_LEASE, None).await.unwrap();
        let Some(lapsed) = self.memory.workers.get_mut(&me) else {
            assert_eq!(beaten, None);
            self.hands[worker] = self.hire().await;
            return;
        };
        *lapsed = false;
        let beaten = beaten.unwrap();
        assert_eq!(beaten.draining, self.memory.draining.contains(&me));
        let told: BTreeSet<_> = beaten.cancelled.into_iter().collect();
        let memory = &self.memory;
        let marked = memory.marks.iter().filter(|id| memory.holds(me, **id));
        assert_eq!(told, marked.copied().collect());
        if obey {
            let mut ends = BTreeMap::new();
            for id in told {
                if let Some(leased) = self.hands[worker].held.remove(&id) {
                    ends.insert(id, self.end(worker, &leased, Ends::Cancelled));
                }
            }
            self.tell(worker, &ends, false).await;
        }
    }

    /// Says something of all that the worker believes to hold.
    pub(super) async fn note(&mut self, worker: usize) {
        let me = self.hands[worker].id;
        let note = || Note {
            progress: Some(b"1".to_vec()),
            lines: vec!["here".to_owned()],
        };
        let held: Vec<_> = self.hands[worker].held.keys().copied().collect();
        let notes: Vec<_> = held.iter().map(|id| (*id, note())).collect();
        self.queue.note(me, &notes).await.unwrap();
        for id in held {
            if self.memory.holds(me, id) {
                self.memory.progress.insert(id);
            }
        }
    }

    /// Marks the first workers as draining; each says how many tasks it holds.
    pub(super) async fn drain(&mut self, most: usize) {
        let ids: Vec<_> = self.hands[..most].iter().map(|hand| hand.id).collect();
        let marked = self.queue.drain(&ids, HOUR).await.unwrap();
        let memory = &mut self.memory;
        let known = ids.into_iter().filter(|id| memory.workers.contains_key(id));
        let holds = |id| memory.active.values().filter(|by| **by == id).count();
        let expected: Vec<_> = known.map(|id| (id, holds(id) as u64)).collect();
        assert_eq!(marked, expected);
        memory
            .draining
            .extend(expected.into_iter().map(|(id, _)| id));
    }

    pub(super) async fn lapse(&mut self, worker: usize) {
        let id = self.hands[worker].id;
        if self
            .queue
            .beat(id, Duration::ZERO, None)
            .await
            .unwrap()
            .is_some()
        {
            self.memory.workers.insert(id, true);
        }
    }
}

/// What a failure is counted with.
fn failure(end: &End) -> Option<Group> {
    let (End::Retry { record, .. }
    | End::Dead { record }
    | End::Quarantined { record }
    | End::Lost {
        record: Some(record),
        ..
    }) = end
    else {
        return None;
    };
    let record = Record::unpack(record).unwrap();
    let last = record.errors.last().unwrap();
    Some(Group::of(&record.kind, &last.failure))
}

fn record(leased: &Leased) -> Record {
    Record::unpack(&leased.record).unwrap()
}

fn done(worker: WorkerId, leased: &Leased, ending: Ending) -> Vec<u8> {
    let record = record(leased);
    Done {
        what: ending.into(),
        record: &record,
        losses: leased.losses,
        started_ms: record.runnable_since_ms(),
        run_ms: 1,
        worker: Some(worker),
        result: None,
        logged: false,
        site: None,
    }
    .pack()
}
