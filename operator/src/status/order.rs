//! Whose status is written first when more are due than may be written. Pure.
//!
//! Namespaces take turns, so that one with thousands of busy TaskQueues makes the others wait for one write each and not for
//! thousands. Within a namespace whoever has waited longest comes first.

use std::collections::HashMap;

use tokio::time::Instant;

use crate::key::Key;

/// The turns that namespaces have had, for as long as some have to wait.
#[derive(Default)]
pub(super) struct Order {
    turns: u64,
    last: HashMap<String, u64>,
}

impl Order {
    /// Those that are due, each with when it was last tried, in their order.
    pub(super) fn of(&self, mut due: Vec<(Key, Option<Instant>)>) -> Vec<Key> {
        due.sort_by(|(a, tried_a), (b, tried_b)| {
            let by_namespace = a.namespace.cmp(&b.namespace);
            by_namespace.then_with(|| (tried_a, &a.name).cmp(&(tried_b, &b.name)))
        });
        let namespaces = due.chunk_by(|(a, _), (b, _)| a.namespace == b.namespace);
        let mut ranked: Vec<(usize, Option<u64>, &Key)> = namespaces
            .flat_map(|of_one| of_one.iter().enumerate())
            .map(|(rank, (key, _))| (rank, self.last.get(&key.namespace).copied(), key))
            .collect();
        ranked.sort_by_key(|(rank, last, _)| (*rank, *last));
        ranked.into_iter().map(|(_, _, key)| key.clone()).collect()
    }

    /// The namespace of this one has had a turn.
    pub(super) fn had(&mut self, key: &Key) {
        self.turns += 1;
        self.last.insert(key.namespace.clone(), self.turns);
    }

    /// Nobody waits any more.
    pub(super) fn forget(&mut self) {
        self.last.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;

    fn key(namespace: &str, name: u32) -> Key {
        Key {
            namespace: namespace.to_owned(),
            name: format!("q{name:04}"),
        }
    }

    /// Writes `a_second` of those that are due for so many seconds, each of which wants to be written every second, and
    /// returns the longest that the status of each namespace waited, in seconds.
    fn longest_waits(keys: &[Key], a_second: usize, seconds: u32) -> BTreeMap<String, u32> {
        let start = Instant::now();
        let mut order = Order::default();
        let mut tried: HashMap<Key, Instant> = HashMap::new();
        let mut longest = BTreeMap::new();
        for second in 0..seconds {
            let now = start + Duration::from_secs(second.into());
            let due: Vec<_> = keys
                .iter()
                .map(|key| (key.clone(), tried.get(key).copied()))
                .collect();
            for key in order.of(due).into_iter().take(a_second) {
                order.had(&key);
                tried.insert(key, now);
            }
            for key in keys {
                let since = tried.get(key).copied().unwrap_or(start);
                let waited = u32::try_from((now - since).as_secs()).expect("it is short");
                let longest: &mut u32 = longest.entry(key.namespace.clone()).or_default();
                *longest = (*longest).max(waited);
            }
        }
        longest
    }

    #[test]
    fn a_namespace_with_thousands_of_busy_queues_keeps_no_other_waiting() {
        let mut keys: Vec<Key> = (0..2500).map(|name| key("flood", name)).collect();
        keys.extend([key("shop", 0), key("zoo", 0)]);
        let waits = longest_waits(&keys, 100, 60);
        assert_eq!((waits["shop"], waits["zoo"]), (0, 0));
        // As long as it takes to write all of them, and no longer.
        assert!(waits["flood"] <= 2500 / 98 + 1, "{waits:?}");
    }

    #[test]
    fn of_more_namespaces_than_may_be_written_none_starves() {
        let keys: Vec<Key> = (0..50).map(|one| key(&format!("ns{one:02}"), 0)).collect();
        let waits = longest_waits(&keys, 7, 60);
        assert!(waits.values().all(|waited| *waited <= 50 / 7), "{waits:?}");
    }
}
