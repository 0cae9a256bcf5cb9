//! Ids of tasks and workers: twenty characters whose order is the order of creation. Pure: the time
//! and the process' random part are arguments; the clock is read in `client`.
//!
//! Seven characters Unix seconds (35 bits), four characters sequence inside that second (20 bits),
//! nine characters random per process (45 bits), in lowercase base32hex, whose digits sort as their
//! values.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::Error;

const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
const LENGTH: usize = 20;
const SEQUENCE_BITS: u32 = 20;
const RANDOM_BITS: u32 = 45;
/// Characters of an id that name its bucket: the second, and a slice of 1024 tasks in it.
const BUCKET: usize = 9;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Id([u8; LENGTH]);

impl Id {
    fn as_str(&self) -> &str {
        // Only digits of the alphabet ever get in, so this is always text.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    fn parse(field: &'static str, text: &str) -> Result<Self, Error> {
        match <[u8; LENGTH]>::try_from(text.as_bytes()) {
            Ok(bytes) if bytes.iter().copied().all(is_digit) => Ok(Self(bytes)),
            _ => Err(Error::invalid(
                field,
                text,
                "20 characters of 0-9 and a-v, as enqueue returns it",
            )),
        }
    }

    fn second(&self) -> u64 {
        self.0[..7].iter().fold(0, |sum, &byte| {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                _ => byte - b'a' + 10,
            };
            sum << 5 | u64::from(digit)
        })
    }
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'v')
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Id);

        impl $name {
            /// The twenty characters.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            /// When it was made, to the second, by the clock of the process that made it.
            pub fn created_at(&self) -> Timestamp {
                let seconds = i64::try_from(self.0.second()).unwrap_or(i64::MAX);
                Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                Id::parse($field, text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id_type!(
    /// The id of a task. Ids that one process makes sort in the order of their making.
    TaskId,
    "task id"
);
id_type!(
    /// The id of a worker instance, and so the fencing token of its leases: no other instance ever
    /// has it.
    WorkerId,
    "worker id"
);

impl TaskId {
    /// The part of the id that names the hash in which the task's done record is kept, and the shelf on
    /// which its record lies before that, if it came with many others.
    pub(crate) fn bucket(&self) -> &str {
        &self.as_str()[..BUCKET]
    }

    /// Whether its process had made fewer than 1024 ids in that second before.
    pub(crate) fn is_in_first_slice(&self) -> bool {
        self.as_str().get(7..BUCKET) == Some("00")
    }
}

/// Makes ids for one process, never the same twice and never a smaller one after a greater.
#[derive(Debug)]
pub(crate) struct Sequence {
    random: u64,
    second: u64,
    next: u64,
}

impl Sequence {
    /// A sequence whose ids end in the low 45 bits of `random`, which no other process may share.
    pub(crate) fn new(random: u64) -> Self {
        Self {
            random: random & ((1 << RANDOM_BITS) - 1),
            second: 0,
            next: 0,
        }
    }

    pub(crate) fn task(&mut self, unix_seconds: u64) -> TaskId {
        TaskId(self.next(unix_seconds))
    }

    pub(crate) fn worker(&mut self, unix_seconds: u64) -> WorkerId {
        WorkerId(self.next(unix_seconds))
    }

    /// A clock that went back does not take the ids back: the logical second stays until the clock
    /// has caught up, and advances by itself when a second's 2^20 numbers are used up.
    fn next(&mut self, unix_seconds: u64) -> Id {
        if unix_seconds > self.second {
            self.second = unix_seconds;
            self.next = 0;
        } else if self.next >> SEQUENCE_BITS != 0 {
            self.second += 1;
            self.next = 0;
        }
        let id = encode(self.second, self.next, self.random);
        self.next += 1;
        id
    }
}

fn encode(second: u64, sequence: u64, random: u64) -> Id {
    let bits = u128::from(second) << (SEQUENCE_BITS + RANDOM_BITS)
        | u128::from(sequence) << RANDOM_BITS
        | u128::from(random);
    let mut text = [0; LENGTH];
    for (place, byte) in text.iter_mut().rev().enumerate() {
        *byte = DIGITS[(bits >> (5 * place)) as usize & 31];
    }
    Id(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_second_borrows_the_next_one() {
        let mut sequence = Sequence::new(7);
        let mut last = sequence.task(1_000);
        for _ in 0..(1 << SEQUENCE_BITS) {
            let id = sequence.task(1_000);
            assert!(id > last);
            last = id;
        }
        assert_eq!(last.created_at().as_second(), 1_001);
    }

    #[test]
    fn a_bucket_holds_1024_ids_of_one_second() {
        let mut sequence = Sequence::new(7);
        let ids: Vec<_> = (0..1025).map(|_| sequence.task(1_000)).collect();
        assert_eq!(ids[0].bucket(), ids[1023].bucket());
        assert_ne!(ids[0].bucket(), ids[1024].bucket());
        assert!(ids[1023].is_in_first_slice() && !ids[1024].is_in_first_slice());
    }

    #[test]
    fn a_wrong_id_is_refused_with_its_form() {
        for text in [
            "",
            "0",
            "0123456789abcdefghiw",
            "0123456789ABCDEFGHIJ",
            "0123456789abcdefghijk",
        ] {
            let refusal = text.parse::<TaskId>().unwrap_err().to_string();
            assert!(
                refusal.contains("20 characters of 0-9 and a-v"),
                "{refusal}"
            );
        }
    }

    proptest! {
        #[test]
        fn ids_only_grow_whatever_the_clock_does(random in any::<u64>(), clock in prop::collection::vec(0..(1_u64 << 34), 1..200)) {
            let mut sequence = Sequence::new(random);
            let ids: Vec<_> = clock.iter().map(|&second| sequence.task(second)).collect();
            prop_assert!(ids.windows(2).all(|pair| pair[0] < pair[1] && pair[0].as_str() < pair[1].as_str()));
        }

        #[test]
        fn an_id_survives_printing_and_parsing(random in any::<u64>(), second in 0..(1_u64 << 34)) {
            let id = Sequence::new(random).task(second);
            prop_assert_eq!(id.to_string().parse::<TaskId>().unwrap(), id);
            prop_assert_eq!(id.created_at().as_second(), i64::try_from(second).unwrap());
        }

        #[test]
        fn any_text_is_an_id_or_a_refusal(text in ".{0,24}") {
            if let Ok(id) = text.parse::<TaskId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
