//! Tasks that wait to run together: those of a type, until enough are there or the first has waited long enough. Pure:
//! the time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Batching;

/// What waits.
#[derive(Debug)]
pub(super) struct Gather<T> {
    batching: Batching,
    /// By type, in the order of their entrance; none is empty.
    groups: BTreeMap<String, Vec<Waiting<T>>>,
    /// How many have entered, which is the number of the next.
    entered: u64,
    /// No more is to come, so nothing waits for it.
    draining: bool,
}

#[derive(Debug)]
struct Waiting<T> {
    number: u64,
    since: Instant,
    item: T,
}

impl<T> Gather<T> {
    pub(super) fn new(batching: Batching) -> Self {
        Self {
            batching,
            groups: BTreeMap::new(),
            entered: 0,
            draining: false,
        }
    }

    /// Lets one in, to wait for others of its type. Returns its number, and the batch that it makes full.
    pub(super) fn enter(&mut self, kind: &str, now: Instant, item: T) -> (u64, Option<Vec<T>>) {
        let number = self.entered;
        self.entered += 1;
        let since = now;
        let waiting = Waiting {
            number,
            since,
            item,
        };
        let size = if let Some(group) = self.groups.get_mut(kind) {
            group.push(waiting);
            group.len()
        } else {
            self.groups.insert(kind.to_owned(), vec![waiting]);
            1
        };
        let full = size >= self.batching.max;
        (number, full.then(|| self.take(kind)).flatten())
    }

    /// Takes one out that is not to run, if it still waits.
    pub(super) fn leave(&mut self, kind: &str, number: u64) -> Option<T> {
        let group = self.groups.get_mut(kind)?;
        let place = group.binary_search_by_key(&number, |waiting| waiting.number);
        let left = group.remove(place.ok()?);
        if group.is_empty() {
            self.groups.remove(kind);
        }
        Some(left.item)
    }

    /// How long the next to enter waits at most.
    pub(super) fn wait(&self) -> Duration {
        if self.draining {
            Duration::ZERO
        } else {
            self.batching.wait
        }
    }

    /// Takes the batches whose first has waited long enough.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Vec<T>> {
        let wait = self.wait();
        let is_due = |group: &[Waiting<T>]| {
            let first = group.first();
            first.is_some_and(|first| now.saturating_duration_since(first.since) >= wait)
        };
        let due: Vec<String> = self
            .groups
            .iter()
            .filter(|(_, group)| is_due(group))
            .map(|(kind, _)| kind.clone())
            .collect();
        due.iter().filter_map(|kind| self.take(kind)).collect()
    }

    /// No more is to come for now, or again it is. Takes what waits in vain.
    pub(super) fn drain(&mut self, draining: bool) -> Vec<Vec<T>> {
        self.draining = draining;
        if !draining {
            return Vec::new();
        }
        let groups = std::mem::take(&mut self.groups);
        groups.into_values().map(items).collect()
    }

    fn take(&mut self, kind: &str) -> Option<Vec<T>> {
        self.groups.remove(kind).map(items)
    }
}

fn items<T>(group: Vec<Waiting<T>>) -> Vec<T> {
    group.into_iter().map(|waiting| waiting.item).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const KINDS: [&str; 3] = ["a", "b", "c"];

    /// What happens to those that wait.
    #[derive(Debug, Clone)]
    enum Event {
        Enters(usize),
        Leaves(usize),
        TimePasses(u64),
        Drains(bool),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            6 => (0..KINDS.len()).prop_map(Event::Enters),
            1 => any::<usize>().prop_map(Event::Leaves),
            2 => (1..8_u64).prop_map(Event::TimePasses),
            1 => any::<bool>().prop_map(Event::Drains),
        ]
    }

    /// One that waits: its type, its number, and since when.
    type Item = (usize, u64, Instant);

    /// A world around a gatherer, which looks at it each millisecond as its tasks do, and knows who waits.
    struct World {
        gather: Gather<Item>,
        max: usize,
        now: Instant,
        waiting: BTreeSet<Item>,
        draining: bool,
    }

    impl World {
        fn ran(&mut self, batch: &[Item], wait: Duration) {
            assert!((1..=self.max).contains(&batch.len()), "{batch:?}");
            assert!(batch.is_sorted_by_key(|item| item.1), "{batch:?}");
            for item in batch {
                assert_eq!(item.0, batch[0].0, "types are mixed: {batch:?}");
                assert!(self.waiting.remove(item), "{item:?} does not wait");
                assert!(self.now - item.2 <= wait, "{item:?} waited too long");
            }
        }

        fn look(&mut self, wait: Duration) {
            for batch in self.gather.due(self.now) {
                self.ran(&batch, wait);
            }
        }
    }

    proptest! {
        #[test]
        fn none_waits_too_long_none_is_lost_and_no_batch_is_too_large_or_of_two_types_or_out_of_order(
            max in 1..6_usize,
            wait in 0..12_u64,
            events in prop::collection::vec(event(), 1..200),
        ) {
            let wait = Duration::from_millis(wait);
            let now = Instant::now();
            let gather = Gather::new(Batching::new(max, wait));
            let mut world = World { gather, max, now, waiting: BTreeSet::new(), draining: false };
            for event in events {
                match event {
                    Event::Enters(kind) => {
                        let item = (kind, world.gather.entered, world.now);
                        world.waiting.insert(item);
                        let (number, full) = world.gather.enter(KINDS[kind], world.now, item);
                        prop_assert_eq!(number, item.1);
                        if let Some(batch) = full {
                            prop_assert_eq!(batch.len(), max);
                            world.ran(&batch, wait);
                        }
                    }
                    Event::Leaves(nth) => {
                        let nth = nth.checked_rem(world.waiting.len());
                        let item = nth.and_then(|nth| world.waiting.iter().nth(nth).copied());
                        if let Some(item) = item {
                            prop_assert_eq!(world.gather.leave(KINDS[item.0], item.1), Some(item));
                            prop_assert_eq!(world.gather.leave(KINDS[item.0], item.1), None);
                            world.waiting.remove(&item);
                        }
                    }
                    Event::TimePasses(millis) => {
                        for _ in 0..millis {
                            world.look(wait);
                            world.now += Duration::from_millis(1);
                            world.look(wait);
                        }
                    }
                    Event::Drains(draining) => {
                        for batch in world.gather.drain(draining) {
                            world.ran(&batch, wait);
                        }
                        prop_assert!(!draining || world.waiting.is_empty());
                        world.draining = draining;
                    }
                }
                if world.draining {
                    // Nobody waits for what does not come.
                    world.look(wait);
                    prop_assert!(world.waiting.is_empty());
                }
            }
            for batch in world.gather.drain(true) {
                world.ran(&batch, wait);
            }
            prop_assert!(world.waiting.is_empty());
        }
    }
}
