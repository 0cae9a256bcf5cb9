//! When the shields of a queue's pods are looked after. Pure: time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use crate::fleet::shield::Shield;

/// Time between two looks. A shield is there at most twice that after it is due.
const EVERY: Duration = Duration::from_secs(5);

/// What is known of the tasks that a queue's workers hold.
pub(super) struct Shields {
    /// `None` while a look is under way.
    shield: Option<Shield>,
    looked: Option<Instant>,
}

impl Default for Shields {
    fn default() -> Self {
        Self {
            shield: Some(Shield::default()),
            looked: None,
        }
    }
}

impl Shields {
    /// What a look needs, if one is due: while tasks are held in a queue that asks for shields, and
    /// as long as a pod has one.
    pub(super) fn due(
        &mut self,
        asked_for: bool,
        active: u64,
        shielded: bool,
        now: Instant,
    ) -> Option<Shield> {
        if !shielded && (!asked_for || active == 0) {
            // What is held later is held anew.
            self.shield = self.shield.take().map(|_| Shield::default());
            return None;
        }
        if self.looked.is_some_and(|looked| now - looked < EVERY) {
            return None;
        }
        let shield = self.shield.take()?;
        self.looked = Some(now);
        Some(shield)
    }

    /// A look is over.
    pub(super) fn back(&mut self, shield: Shield) {
        self.shield = Some(shield);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shields_are_looked_after_while_tasks_are_held_or_a_pod_has_one() {
        let table = [
            // Asked for, active, a pod has one; due.
            (true, 1, false, true),
            (true, 0, false, false),
            (true, 0, true, true),
            (false, 1, false, false),
            (false, 1, true, true),
        ];
        for (asked_for, active, shielded, due) in table {
            let mut shields = Shields::default();
            let shield = shields.due(asked_for, active, shielded, Instant::now());
            assert_eq!(shield.is_some(), due, "{asked_for}, {active}, {shielded}");
        }
    }

    #[test]
    fn one_look_is_under_way_and_the_next_comes_after_a_while() {
        let (mut shields, now) = (Shields::default(), Instant::now());
        let mut due = |after, back: Option<Shield>| {
            if let Some(shield) = back {
                shields.back(shield);
            }
            shields.due(true, 1, false, now + after)
        };
        let shield = due(Duration::ZERO, None);
        assert!(shield.is_some());
        assert!(due(2 * EVERY, None).is_none());
        assert!(due(EVERY / 2, shield).is_none());
        assert!(due(EVERY, None).is_some());
    }
}
