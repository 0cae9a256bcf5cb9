//! How far a listener is in the stream of one queue. Pure.

use super::event::{EntryId, LiveBatch, LiveEvent, LiveId, VALUES};
use crate::QueueName;

/// How far it is. Each event has a number; where one is passed over, something was missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Track {
    /// Behind which entry to read.
    pub(super) at: EntryId,
    /// The latest entry that was read.
    seen: EntryId,
    /// The number of the event that comes next.
    next: u64,
    /// Redis was found to have lost what it had told.
    lost: bool,
}

impl Track {
    /// To begin with what happens from now on: `last` is the last entry, `told` the number of the last event.
    pub(super) fn from_now(last: EntryId, told: u64) -> Self {
        Self {
            at: last,
            seen: last,
            next: told.saturating_add(1),
            lost: false,
        }
    }

    /// To go on behind an event. Its entry may hold further ones.
    pub(super) fn behind(id: LiveId) -> Self {
        Self {
            at: id.entry.before(),
            seen: id.entry,
            next: id.number.saturating_add(1),
            lost: false,
        }
    }

    /// Redis says what it told last. If its numbers lie behind, it has lost events, as a replica that takes over
    /// may. If its entries alone do, its clock went back: numbers tell which of them are new.
    pub(super) fn heard(&mut self, last: EntryId, told: u64) {
        if told.saturating_add(1) < self.next {
            *self = Self {
                lost: true,
                ..Self::from_now(last, told)
            };
        } else if last < self.at {
            self.at = EntryId::default();
        }
    }

    /// Whether it was found that something was missed, each time once.
    pub(super) fn take_lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }

    /// Takes in an entry. What is none of ours in it is passed over.
    pub(super) fn take(
        &mut self,
        queue: &QueueName,
        entry: &str,
        fields: &[Vec<u8>],
        batch: &mut LiveBatch,
    ) {
        let Some(entry) = EntryId::parse(entry) else {
            return;
        };
        self.at = entry;
        let Some(([name, number], values)) = fields.split_first_chunk::<2>() else {
            return;
        };
        let number = std::str::from_utf8(number).ok();
        let Some(first) = number.and_then(|number| number.parse::<u64>().ok()) else {
            return;
        };
        if name != b"n" {
            return;
        }
        // A new entry whose numbers were given before: what had them is lost.
        let again = entry > self.seen && first < self.next;
        if again || first > self.next {
            batch.miss(queue);
        }
        if again {
            self.next = first;
        }
        self.seen = self.seen.max(entry);
        let mut number = first;
        for values in values.chunks_exact(VALUES) {
            if number >= self.next {
                let id = LiveId { entry, number };
                batch.events.extend(LiveEvent::read(queue, id, values));
            }
            number = number.saturating_add(1);
        }
        self.next = self.next.max(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry with so many events, and what a listener takes of it.
    fn take(track: &mut Track, entry: &str, first: u64, count: u64) -> (Vec<u64>, bool) {
        let mut fields = vec![b"n".to_vec(), first.to_string().into_bytes()];
        for _ in 0..count {
            let values = ["due", "", "", "", "", ""];
            fields.extend(values.map(|value| value.as_bytes().to_vec()));
        }
        let queue = QueueName::new("a", "b").unwrap();
        let mut batch = LiveBatch::default();
        track.take(&queue, entry, &fields, &mut batch);
        let numbers = batch.events.iter().map(|event| event.id.number);
        (numbers.collect(), !batch.missed.is_empty())
    }

    fn entry(text: &str) -> EntryId {
        EntryId::parse(text).unwrap()
    }

    #[test]
    fn each_event_comes_once_and_a_number_that_is_passed_over_is_a_gap() {
        let mut track = Track::from_now(entry("5-0"), 7);
        assert_eq!(take(&mut track, "5-1", 8, 2), (vec![8, 9], false));
        assert_eq!(take(&mut track, "6-0", 10, 0), (vec![], false));
        assert_eq!(take(&mut track, "7-0", 12, 1), (vec![12], true));
        assert_eq!(take(&mut track, "7-1", 13, 1), (vec![13], false));
        assert_eq!(track.at, entry("7-1"));
    }

    #[test]
    fn one_goes_on_inside_of_an_entry() {
        let mut track = Track::behind("5-0-8".parse().unwrap());
        assert_eq!(track.at, entry("4-18446744073709551615"));
        assert_eq!(take(&mut track, "5-0", 7, 3), (vec![9], false));
        // The first that is left is of later.
        let mut late = Track::behind("5-0-8".parse().unwrap());
        assert_eq!(take(&mut late, "6-0", 20, 1), (vec![20], true));
    }

    #[test]
    fn where_the_clock_went_back_numbers_tell_what_is_new() {
        let mut track = Track::from_now(entry("5-0"), 7);
        let before = track.clone();
        track.heard(entry("5-0"), 7);
        track.heard(entry("9-0"), 9);
        assert_eq!(track, before);
        track.heard(entry("3-0"), 8);
        assert_eq!(track.at, EntryId::default());
        assert_eq!(take(&mut track, "2-0", 7, 1), (vec![], false));
        assert_eq!(take(&mut track, "3-0", 8, 1), (vec![8], false));
        assert!(!track.take_lost());
    }

    #[test]
    fn what_redis_lost_is_said() {
        let mut track = Track::from_now(entry("5-0"), 7);
        track.heard(entry("6-0"), 1);
        assert!(track.take_lost() && !track.take_lost());
        assert_eq!(take(&mut track, "6-1", 2, 1), (vec![2], false));
        assert_eq!(take(&mut track, "7-0", 3, 2), (vec![3, 4], false));
        // Its numbers have caught up before it was asked: the entry is new all the same.
        track.heard(entry("8-0"), 4);
        assert_eq!(take(&mut track, "8-0", 3, 1), (vec![3], true));
        assert_eq!(take(&mut track, "8-1", 4, 1), (vec![4], false));
    }

    #[test]
    fn what_others_wrote_is_passed_over() {
        let mut track = Track::from_now(entry("5-0"), 7);
        let before = track.clone();
        let queue = QueueName::new("a", "b").unwrap();
        let mut batch = LiveBatch::default();
        for fields in [
            vec!["n"],
            vec!["x", "8"],
            vec!["n", "-1"],
            vec!["n", "8", "due", "1"],
        ] {
            let fields: Vec<Vec<u8>> = fields.iter().map(|it| it.as_bytes().to_vec()).collect();
            track.take(&queue, "5-0", &fields, &mut batch);
        }
        assert_eq!((track, batch), (before, LiveBatch::default()));
    }
}
