//! The scaling decision and the changes it led to, as the status tells them. Pure.

use taskqueue_api::{
    TaskQueueStatus,
    status::{MAX_DECISIONS, ScalingChange, ScalingClamp, ScalingDecision, ScalingInput},
};
use taskqueue_scaling::Decision;

use super::whole_seconds;
use crate::index::{Change, Sight};

/// Bounds of the schema, in bytes: less than the characters that it counts.
const MAX_EQUATION: usize = 1024;
const MAX_PAST_EQUATION: usize = 512;
const MAX_WAIT: usize = 512;
const MAX_VALUE: usize = 256;
const MAX_ITEMS: usize = 32;

/// Tells what was decided. The time stays where number and reason do, and changes that an operator
/// before this one made stay in the list.
pub(super) fn tell(status: &mut TaskQueueStatus, sight: &Sight) {
    let Decision {
        replicas,
        wanted,
        reason,
        limit: _,
        inputs,
        clamps,
        equation,
    } = &sight.decision;
    let (replicas, reason) = (int(*replicas), reason.to_string());
    let unchanged = status
        .last_decision
        .as_ref()
        .filter(|before| before.replicas == replicas && before.reason == reason);
    let inputs = inputs.iter().take(MAX_ITEMS).map(|input| ScalingInput {
        name: input.name.to_owned(),
        value: cut(&input.value, MAX_VALUE),
    });
    let clamps = clamps.iter().take(MAX_ITEMS).map(|clamp| ScalingClamp {
        what: clamp.what.to_owned(),
        from: int(clamp.from),
        to: int(clamp.to),
    });
    status.last_decision = Some(ScalingDecision {
        time: unchanged.map_or_else(
            || whole_seconds(sight.decided_at),
            |before| before.time.clone(),
        ),
        replicas,
        wanted: int(*wanted),
        reason,
        equation: cut(equation, MAX_EQUATION),
        waits_for: sight.waits_for.as_ref().map(|wait| cut(wait, MAX_WAIT)),
        inputs: inputs.collect(),
        clamps: clamps.collect(),
    });
    status.desired_replicas = Some(replicas);
    status.decisions = changes(sight, &status.decisions);
}

/// The changes that this operator knows of, then those before its time.
fn changes(sight: &Sight, told: &[ScalingChange]) -> Vec<ScalingChange> {
    let mut changes: Vec<_> = sight.changes.iter().map(change).collect();
    let oldest = changes.last().map(|change| change.time.0);
    let before = told
        .iter()
        .filter(|past| oldest.is_none_or(|oldest| past.time.0 < oldest));
    changes.extend(before.cloned());
    changes.truncate(MAX_DECISIONS);
    changes
}

fn change(change: &Change) -> ScalingChange {
    ScalingChange {
        time: whole_seconds(change.time),
        from: int(change.from),
        to: int(change.to),
        wanted: int(change.wanted),
        reason: change.reason.to_string(),
        equation: cut(&change.equation, MAX_PAST_EQUATION),
    }
}

fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most - '…'.len_utf8());
    format!("{}…", &text[..end])
}

fn int(replicas: u32) -> i32 {
    i32::try_from(replicas).unwrap_or(i32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jiff::Timestamp;
    use taskqueue_scaling::Reason;

    use super::*;
    use crate::index::Changes;

    fn sight(seconds: std::ops::Range<i64>) -> Sight {
        let mut changes = Changes::default();
        for second in seconds {
            changes.push(Change {
                time: Timestamp::from_millisecond(second * 1000 + 700).unwrap(),
                from: 0,
                to: 1,
                wanted: 1,
                reason: Reason::Backlog,
                equation: "1 = 1".to_owned(),
            });
        }
        Sight {
            queue: Err("away".to_owned()),
            decision: Decision {
                replicas: 1,
                wanted: 1,
                reason: Reason::Backlog,
                limit: None,
                inputs: Vec::new(),
                clamps: Vec::new(),
                equation: "ä".repeat(1000),
            },
            decided_at: Timestamp::UNIX_EPOCH,
            waits_for: None,
            refused: None,
            another_writer: None,
            obstacle: None,
            changes,
            missing: 0,
            source: None,
        }
    }

    fn seconds(status: &TaskQueueStatus) -> Vec<i64> {
        let times = status
            .decisions
            .iter()
            .map(|change| change.time.0.as_second());
        times.collect()
    }

    #[test]
    fn changes_are_told_once_newest_first_and_those_of_a_former_operator_stay() {
        let mut status = TaskQueueStatus::default();
        tell(&mut status, &sight(1..4));
        tell(&mut status, &sight(1..4));
        assert_eq!(seconds(&status), [3, 2, 1]);
        // Another operator that has made none yet, and then some.
        tell(&mut status, &sight(0..0));
        assert_eq!(seconds(&status), [3, 2, 1]);
        tell(&mut status, &sight(8..10));
        assert_eq!(seconds(&status), [9, 8, 3, 2, 1]);
        tell(&mut status, &sight(8..40));
        assert_eq!(status.decisions.len(), MAX_DECISIONS);
        assert_eq!(seconds(&status)[0], 39);
    }

    #[test]
    fn what_is_too_long_for_the_schema_is_cut() {
        let mut status = TaskQueueStatus::default();
        tell(&mut status, &sight(0..1));
        let equation = status.last_decision.unwrap().equation;
        assert!(equation.len() <= MAX_EQUATION && equation.ends_with("ä…"));
    }
}
