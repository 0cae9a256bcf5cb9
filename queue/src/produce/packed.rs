//! Packed tasks in the order in which `enqueue.lua` wants them. Pure.

use crate::TaskId;
use crate::batch::buckets;
use crate::script::Call;

/// So many tasks of one bucket are worth a hash of their own, which takes some hundred bytes.
const LEAST_ON_A_SHELF: usize = 64;
/// Redis keeps a hash of no more fields than this as one text, which it reads from its beginning, unless
/// one of them is longer than the other number: `hash-max-listpack-entries` and `-value`.
const LISTPACK: (usize, usize) = (512, 64);

/// A task packed for `enqueue.lua`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) id: TaskId,
    pub(super) place: Place,
    pub(super) record: Vec<u8>,
}

/// Where it goes. A level is its place in the policy's levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Now {
        level: usize,
    },
    Later {
        delay_ms: u64,
    },
    /// It has a key of any kind or an expiry, and is looked at for itself.
    Special {
        level: usize,
        delay_ms: u64,
        /// The unique key and its time in ms.
        unique: Option<(String, u64)>,
        keyed: Option<Keyed>,
    },
}

/// The idempotency key of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keyed {
    pub(super) key: String,
    /// Of what the task asks for.
    pub(super) fingerprint: String,
    /// How long the key is kept after the end.
    pub(super) keep_ms: u64,
}

/// Tasks of one level, one behind the other, whose records lie together.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    tasks: usize,
    on_shelf: bool,
}

/// A batch, group by group, each in the order given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arranged {
    levels: Vec<Vec<Packed>>,
    /// Of each level.
    runs: Vec<Vec<Run>>,
    pub(super) later: Vec<Packed>,
    pub(super) special: Vec<Packed>,
}

impl Arranged {
    /// The idempotency key of one of these tasks, empty for none.
    pub(super) fn idempotency_key_of(&self, id: TaskId) -> &str {
        let task = self.special.iter().find(|task| task.id == id);
        match task.map(|task| &task.place) {
            Some(Place::Special {
                keyed: Some(keyed), ..
            }) => &keyed.key,
            _ => "",
        }
    }
}

/// Sorts tasks by where they go. `levels` counts the lists, retired ones included.
pub(super) fn arrange(tasks: Vec<Packed>, levels: usize) -> Arranged {
    let mut arranged = Arranged::default();
    arranged.levels.resize_with(levels, Vec::new);
    for task in tasks {
        match task.place {
            Place::Now { level } => arranged.levels[level].push(task),
            Place::Later { .. } => arranged.later.push(task),
            Place::Special { .. } => arranged.special.push(task),
        }
    }
    arranged.runs = arranged.levels.iter().map(|level| runs(level)).collect();
    arranged
}

/// Those of one bucket go onto a shelf if they are many, or will be because their process makes so many
/// ids; and if Redis makes a table of them at once.
fn runs(level: &[Packed]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut rest = level;
    for (id, tasks) in buckets(level.iter().map(|task| task.id)) {
        let (these, others) = rest.split_at(tasks);
        rest = others;
        let (most, longest) = LISTPACK;
        let table = tasks > most || these.iter().any(|task| task.record.len() > longest);
        let many = tasks >= LEAST_ON_A_SHELF || !id.is_in_first_slice();
        let on_shelf = many && table;
        match runs.last_mut() {
            Some(last) if !last.on_shelf && !on_shelf => last.tasks += tasks,
            _ => runs.push(Run { tasks, on_shelf }),
        }
    }
    runs
}

impl Arranged {
    /// All ids, sorted.
    pub(super) fn sorted_ids(&self) -> Vec<TaskId> {
        let mut ids: Vec<TaskId> = self
            .plain()
            .chain(&self.special)
            .map(|task| task.id)
            .collect();
        ids.sort_unstable();
        ids
    }

    fn plain(&self) -> impl Iterator<Item = &Packed> {
        self.levels.iter().flatten().chain(&self.later)
    }

    /// Writes what follows the arguments that the script declares.
    pub(super) fn push_to(&self, call: &mut Call) {
        for runs in &self.runs {
            call.push(runs.len());
        }
        for run in self.runs.iter().flatten() {
            call.push(run.tasks);
            call.push(u8::from(run.on_shelf));
        }
        for task in &self.later {
            if let Place::Later { delay_ms } = task.place {
                call.push(delay_ms);
            }
        }
        for task in self.plain() {
            call.push(task.id.as_str());
            call.push(task.record.as_slice());
        }
        for task in &self.special {
            if let Place::Special {
                level,
                delay_ms,
                unique,
                keyed,
            } = &task.place
            {
                call.push(task.id.as_str());
                call.push(task.record.as_slice());
                call.push(level + 1);
                call.push(*delay_ms);
                let (key, ttl_ms) = unique
                    .as_ref()
                    .map_or(("", 0), |(key, ttl)| (key.as_str(), *ttl));
                call.push(key);
                call.push(ttl_ms);
                let keyed = keyed.as_ref();
                call.push(keyed.map_or("", |keyed| keyed.key.as_str()));
                call.push(keyed.map_or("", |keyed| keyed.fingerprint.as_str()));
                call.push(keyed.map_or(0, |keyed| keyed.keep_ms));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::Sequence;

    fn any_place() -> impl Strategy<Value = Place> {
        prop_oneof![
            (0..3_usize).prop_map(|level| Place::Now { level }),
            (1..9_u64).prop_map(|delay_ms| Place::Later { delay_ms }),
            (0..3_usize, 0..2_u64).prop_map(|(level, delay_ms)| Place::Special {
                level,
                delay_ms,
                unique: None,
                keyed: None
            }),
        ]
    }

    proptest! {
        #[test]
        fn every_task_is_in_one_group_and_each_group_in_order(places in prop::collection::vec(any_place(), 0..60)) {
            let mut sequence = Sequence::new(3);
            let tasks: Vec<_> = places
                .into_iter()
                .map(|place| Packed { id: sequence.task(1), place, record: vec![0; 65] })
                .collect();
            let arranged = arrange(tasks.clone(), 4);
            let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
            prop_assert_eq!(arranged.sorted_ids(), ids);
            for group in arranged.levels.iter().chain([&arranged.later, &arranged.special]) {
                prop_assert!(group.windows(2).all(|pair| pair[0].id < pair[1].id));
            }
            for (level, runs) in arranged.levels.iter().zip(&arranged.runs) {
                prop_assert_eq!(level.len(), runs.iter().map(|run| run.tasks).sum::<usize>());
            }
        }
    }

    #[test]
    fn many_tasks_of_a_bucket_go_onto_its_shelf_unless_redis_would_pack_them_into_a_text() {
        let shelved = |tasks: u64, bytes: usize| {
            let mut sequence = Sequence::new(3);
            let packed = (0..tasks).map(|_| Packed {
                id: sequence.task(1),
                place: Place::Now { level: 0 },
                record: vec![0; bytes],
            });
            let arranged = arrange(packed.collect(), 1);
            let runs = arranged.runs[0].iter();
            runs.map(|run| (run.tasks, run.on_shelf))
                .collect::<Vec<_>>()
        };
        assert_eq!(shelved(63, 65), [(63, false)]);
        assert_eq!(shelved(64, 65), [(64, true)]);
        assert_eq!(shelved(512, 64), [(512, false)]);
        assert_eq!(shelved(513, 64), [(513, true)]);
        assert_eq!(shelved(1_026, 65), [(1_024, true), (2, true)]);
        // One of so many in a second that others will follow.
        assert_eq!(shelved(1_025, 65), [(1_024, true), (1, true)]);
    }
}
