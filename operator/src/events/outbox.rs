//! Events on their way to the API server: which are taken, and whose is published next. Pure: the time is an argument.
//!
//! Of each TaskQueue and reason a few a minute are taken, so that what flaps does not fill anybody's list of Events, nor the
//! API server. What waits is bounded for all, namespaces take turns, and when it is full the namespace with the most Events
//! loses its newest.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Bound::{Excluded, Unbounded},
    time::Duration,
};

use tokio::time::Instant;

use crate::{key::Key, pace::Bucket};

/// Events that may wait to be published.
const MOST: usize = 1024;
/// Events of one TaskQueue and reason that are taken at once after a quiet time: a scaling far up and down again is told
/// in full.
const BURST: u32 = 20;
/// Time in which one more is taken.
const EVERY: Duration = Duration::from_secs(10);
/// Least time between two looks at which TaskQueues have been quiet.
const TIDY: Duration = Duration::from_mins(1);

/// What waits, of some kind.
pub(super) struct Outbox<T> {
    waiting: BTreeMap<String, VecDeque<T>>,
    length: usize,
    /// The namespace that had the last turn.
    last: String,
    paces: HashMap<(Key, String), Bucket>,
    tidied: Instant,
}

/// Why an Event was not taken, or one that was taken is not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    /// There were many like it.
    TooMany,
    /// Too many wait, and most of them are of this namespace.
    Full,
}

impl<T> Outbox<T> {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            waiting: BTreeMap::new(),
            length: 0,
            last: String::new(),
            paces: HashMap::new(),
            tidied: now,
        }
    }

    /// Takes one in, about this TaskQueue and with this reason. Returns one that is dropped instead, or itself.
    pub(super) fn put(
        &mut self,
        about: Key,
        reason: &str,
        event: T,
        now: Instant,
    ) -> Option<(T, Dropped)> {
        self.tidy(now);
        let namespace = about.namespace.clone();
        let pace = self.paces.entry((about, reason.to_owned()));
        let pace = pace.or_insert_with(|| Bucket::new(EVERY, BURST, now));
        if !pace.take(now) {
            return Some((event, Dropped::TooMany));
        }
        self.waiting.entry(namespace).or_default().push_back(event);
        self.length += 1;
        if self.length <= MOST {
            return None;
        }
        let fullest = self.waiting.values_mut().max_by_key(|line| line.len())?;
        let newest = fullest.pop_back()?;
        self.length -= 1;
        self.waiting.retain(|_, line| !line.is_empty());
        Some((newest, Dropped::Full))
    }

    /// The next one to publish.
    pub(super) fn take(&mut self) -> Option<T> {
        let behind = (Excluded(self.last.as_str()), Unbounded);
        let mut turns = self.waiting.range::<str, _>(behind).chain(&self.waiting);
        let namespace = turns.next()?.0.clone();
        let line = self.waiting.get_mut(&namespace)?;
        let event = line.pop_front();
        if line.is_empty() {
            self.waiting.remove(&namespace);
        }
        self.length -= usize::from(event.is_some());
        self.last = namespace;
        event
    }

    /// Forgets who has been quiet for so long that it starts anew.
    fn tidy(&mut self, now: Instant) {
        if now.saturating_duration_since(self.tidied) >= TIDY {
            self.tidied = now;
            self.paces.retain(|_, pace| !pace.is_full(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, name: usize) -> Key {
        Key {
            namespace: namespace.to_owned(),
            name: format!("q{name}"),
        }
    }

    #[test]
    fn a_redis_that_flaps_tells_a_few_a_minute_and_other_reasons_are_told_all_the_same() {
        let start = Instant::now();
        let mut outbox = Outbox::new(start);
        let mut taken = 0;
        // Twice a second, for ten minutes.
        for half in 0..1200 {
            let now = start + Duration::from_millis(500) * half;
            let dropped = outbox.put(key("shop", 0), "RedisUnreachable", "", now);
            taken += u32::from(dropped.is_none());
            assert!(dropped.is_none_or(|(_, why)| why == Dropped::TooMany));
            while outbox.take().is_some() {}
        }
        assert_eq!(taken, BURST + 59);
        let now = start + Duration::from_mins(10);
        assert_eq!(outbox.put(key("shop", 0), "TasksMissing", "", now), None);
        assert_eq!(
            outbox.put(key("shop", 1), "RedisUnreachable", "", now),
            None
        );
    }

    #[test]
    fn a_namespace_that_floods_loses_its_own_and_delays_the_others_by_one_event() {
        let now = Instant::now();
        let mut outbox = Outbox::new(now);
        let mut lost = 0;
        for one in 0..5000 {
            lost += usize::from(
                outbox
                    .put(key("flood", one), "ScaledUp", "flood", now)
                    .is_some(),
            );
        }
        assert_eq!(lost, 5000 - MOST);
        let dropped = outbox.put(key("shop", 0), "ScaledUp", "shop", now);
        assert_eq!(
            dropped,
            Some(("flood", Dropped::Full)),
            "not that of the shop"
        );
        outbox.take();
        assert_eq!(outbox.take(), Some("shop"));
        let rest = std::iter::from_fn(|| outbox.take()).count();
        assert_eq!(rest, MOST - 2);
        assert_eq!(outbox.length, 0);
    }

    #[test]
    fn who_is_quiet_again_is_forgotten() {
        let start = Instant::now();
        let mut outbox = Outbox::new(start);
        for one in 0..100 {
            outbox.put(key("shop", one), "ScaledUp", (), start);
        }
        assert_eq!(outbox.paces.len(), 100);
        outbox.put(key("shop", 0), "ScaledDown", (), start + TIDY);
        assert_eq!(outbox.paces.len(), 1);
    }
}
