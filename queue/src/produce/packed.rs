//! Packed tasks in the order in which `enqueue.lua` wants them. Pure.

use std::collections::BTreeMap;

use crate::TaskId;
use crate::script::Call;

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
    Soon {
        delay_ms: u64,
    },
    Later {
        span: u64,
    },
    /// It has a unique key, a concurrency key or an expiry, and is looked at for itself.
    Special {
        level: usize,
        delay_ms: u64,
        /// The unique key and its time in ms.
        unique: Option<(String, u64)>,
    },
}

/// A batch, group by group, each in the order given.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arranged {
    levels: Vec<Vec<Packed>>,
    soon: Vec<Packed>,
    pub(super) spans: BTreeMap<u64, Vec<Packed>>,
    special: Vec<Packed>,
}

/// Sorts tasks by where they go. `levels` counts the lists, retired ones included.
pub(super) fn arrange(tasks: Vec<Packed>, levels: usize) -> Arranged {
    let mut arranged = Arranged::default();
    arranged.levels.resize_with(levels, Vec::new);
    for task in tasks {
        match task.place {
            Place::Now { level } => arranged.levels[level].push(task),
            Place::Soon { .. } => arranged.soon.push(task),
            Place::Later { span } => arranged.spans.entry(span).or_default().push(task),
            Place::Special { .. } => arranged.special.push(task),
        }
    }
    arranged
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
        let levels = self.levels.iter().flatten();
        levels
            .chain(&self.soon)
            .chain(self.spans.values().flatten())
    }

    /// Writes the counts, and then the tasks.
    pub(super) fn push_to(&self, call: &mut Call) {
        for count in [self.soon.len(), self.spans.len(), self.special.len()] {
            call.push(count);
        }
        let groups = self.levels.iter().chain(self.spans.values());
        groups.for_each(|group| call.push(group.len()));
        for task in &self.soon {
            if let Place::Soon { delay_ms } = task.place {
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
            (1..9_u64).prop_map(|delay_ms| Place::Soon { delay_ms }),
            (5..8_u64).prop_map(|span| Place::Later { span }),
            (0..3_usize, 0..2_u64).prop_map(|(level, delay_ms)| Place::Special {
                level,
                delay_ms,
                unique: None
            }),
        ]
    }

    proptest! {
        #[test]
        fn every_task_is_in_one_group_and_each_group_in_order(places in prop::collection::vec(any_place(), 0..60)) {
            let mut sequence = Sequence::new(3);
            let tasks: Vec<_> = places
                .into_iter()
                .map(|place| Packed { id: sequence.task(1), place, record: vec![] })
                .collect();
            let arranged = arrange(tasks.clone(), 4);
            let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
            prop_assert_eq!(arranged.sorted_ids(), ids);
            let groups = arranged.levels.iter().chain(arranged.spans.values());
            for group in groups.chain([&arranged.soon, &arranged.special]) {
                prop_assert!(group.windows(2).all(|pair| pair[0].id < pair[1].id));
            }
        }
    }
}
