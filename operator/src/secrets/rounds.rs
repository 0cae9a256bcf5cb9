//! Which Secret is asked for next. Pure.
//!
//! Each namespace has rounds of its own, in which each of its Secrets is asked for once, and which begin a second after each
//! other at the soonest. Namespaces that are in a round take turns, so that one with thousands of Secrets has long rounds
//! and delays the others by no more than a question for each of theirs.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound::{Excluded, Unbounded},
    time::Duration,
};

use tokio::time::Instant;

/// Least time between the beginnings of two rounds of a namespace.
const ROUND: Duration = Duration::from_secs(1);

/// What is next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// To ask for this Secret, by namespace and name.
    Ask((String, String)),
    /// Nothing before this time.
    Wait(Instant),
}

/// How far the rounds are.
#[derive(Default)]
pub(super) struct Rounds {
    /// The namespace that had the last turn.
    last: String,
    namespaces: HashMap<String, Round>,
}

struct Round {
    began: Instant,
    /// The Secret that was asked for last.
    last: String,
}

impl Rounds {
    /// Takes the next turn among these Secrets, by namespace and name; `None` when there are none.
    pub(super) fn next<T>(
        &mut self,
        secrets: &BTreeMap<String, BTreeMap<String, T>>,
        now: Instant,
    ) -> Option<Next> {
        let behind = (Excluded(self.last.as_str()), Unbounded);
        let behind = secrets.range::<str, _>(behind);
        let mut soonest: Option<Instant> = None;
        let mut turn = None;
        for (namespace, names) in behind.chain(secrets) {
            match self.turn(namespace, names, now) {
                Some(Next::Ask(secret)) => {
                    turn = Some(secret);
                    break;
                }
                Some(Next::Wait(until)) => {
                    soonest = Some(soonest.map_or(until, |before| before.min(until)));
                }
                None => {}
            }
        }
        let Some((namespace, name)) = turn else {
            self.namespaces
                .retain(|namespace, _| secrets.contains_key(namespace));
            return soonest.map(Next::Wait);
        };
        self.last.clone_from(&namespace);
        let round = self.namespaces.entry(namespace.clone());
        let round = round.or_insert_with(|| Round {
            began: now,
            last: name.clone(),
        });
        // The first of a round is not behind the last of the one before.
        if name <= round.last {
            round.began = now;
        }
        round.last.clone_from(&name);
        Some(Next::Ask((namespace, name)))
    }

    /// What would be next in one namespace.
    fn turn<T>(&self, namespace: &str, names: &BTreeMap<String, T>, now: Instant) -> Option<Next> {
        let ask = |name: &String| Next::Ask((namespace.to_owned(), name.clone()));
        let first = || names.keys().next().map(ask);
        let Some(round) = self.namespaces.get(namespace) else {
            return first();
        };
        let behind = (Excluded(round.last.as_str()), Unbounded);
        if let Some((name, _)) = names.range::<str, _>(behind).next() {
            return Some(ask(name));
        }
        let due = round.began + ROUND;
        if due <= now {
            first()
        } else {
            names.keys().next().map(|_| Next::Wait(due))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Time that a question takes.
    const QUESTION: Duration = Duration::from_millis(50);

    type Secrets = BTreeMap<String, BTreeMap<String, bool>>;

    fn secrets<const N: usize>(numbers: [(&str, u32); N]) -> Secrets {
        let named = |number| {
            (0..number)
                .map(|name| (format!("s{name:05}"), true))
                .collect()
        };
        let all = numbers.map(|(namespace, number)| (namespace.to_owned(), named(number)));
        all.into()
    }

    /// Asks for so long, and returns what was asked when, since the start.
    fn asked(secrets: &Secrets, for_: Duration) -> Vec<(Duration, String, String)> {
        let start = Instant::now();
        let mut now = start;
        let mut rounds = Rounds::default();
        let mut asked = Vec::new();
        while now < start + for_ {
            match rounds.next(secrets, now) {
                Some(Next::Ask((namespace, name))) => {
                    asked.push((now - start, namespace, name));
                    now += QUESTION;
                }
                Some(Next::Wait(until)) => {
                    assert!(until > now, "it waits for something");
                    now = until;
                }
                None => break,
            }
        }
        asked
    }

    /// The longest time between two questions for the same Secret of a namespace.
    fn longest_round(asked: &[(Duration, String, String)], namespace: &str) -> Duration {
        let mut last: HashMap<&str, Duration> = HashMap::new();
        let of = asked.iter().filter(|(_, of, _)| of == namespace);
        let gaps = of.filter_map(|(at, _, name)| at.checked_sub(last.insert(name, *at)?));
        gaps.max().expect("two rounds")
    }

    #[test]
    fn a_namespace_with_ten_thousand_secrets_delays_the_others_by_nothing() {
        let crowd = secrets([("flood", 10_000), ("shop", 4), ("zoo", 1)]);
        let asked = asked(&crowd, Duration::from_secs(20));
        // As long as without the flood.
        for namespace in ["shop", "zoo"] {
            let round = longest_round(&asked, namespace);
            assert!(round <= ROUND + 4 * QUESTION, "{namespace}: {round:?}");
        }
        assert_eq!(asked.len(), 400, "no turn is left unused");
    }

    #[test]
    fn every_secret_has_its_turn_and_a_short_round_waits_for_the_next() {
        let asked = asked(&secrets([("shop", 3)]), Duration::from_secs(2));
        let turns = asked
            .iter()
            .map(|(at, _, name)| (at.as_millis(), name.as_str()));
        let turns: Vec<_> = turns.collect();
        assert_eq!(
            turns,
            [
                (0, "s00000"),
                (50, "s00001"),
                (100, "s00002"),
                (1000, "s00000"),
                (1050, "s00001"),
                (1100, "s00002")
            ]
        );
    }

    #[test]
    fn one_that_has_gone_meanwhile_holds_up_nothing() {
        let mut crowd = secrets([("shop", 3)]);
        let mut rounds = Rounds::default();
        let now = Instant::now();
        let name = |next: Option<Next>| match next {
            Some(Next::Ask((_, name))) => name,
            other => format!("{other:?}"),
        };
        assert_eq!(name(rounds.next(&crowd, now)), "s00000");
        let shop = crowd.get_mut("shop").expect("it is there");
        shop.remove("s00000");
        shop.remove("s00001");
        assert_eq!(name(rounds.next(&crowd, now)), "s00002");
        assert_eq!(rounds.next(&crowd, now), Some(Next::Wait(now + ROUND)));
        crowd.remove("shop");
        assert_eq!(rounds.next(&crowd, now), None);
        assert!(rounds.namespaces.is_empty());
    }
}
