//! What a task asks for, as a short text: it is by this that a repeated call is told from another one with the
//! same idempotency key. Pure.

use sha2::{Digest, Sha256};

use crate::NewTask;
use crate::lease::millis;
use crate::pack::{More, Writer};
use crate::task::Start;

/// How many bytes of the digest are kept.
const BYTES: usize = 8;

/// The fingerprint of type, payload, and the options that say what is to be done, and when. Where a task comes
/// from and how long its keys are kept are none. Programs of all versions make the same: what a later one adds must
/// leave it as it is where it is not used.
pub(super) fn of(task: &NewTask) -> String {
    let payload = task.payload.as_bytes();
    let mut writer = Writer::after(&[], 64 + task.kind.len() + payload.len());
    writer.text(&task.kind);
    writer.maybe_bytes(Some(payload));
    writer.text(task.priority.as_deref().unwrap_or_default());
    let (from_now, at) = match task.start {
        Start::After(delay) => (millis(delay), 0),
        Start::At(at) => (0, u64::try_from(at.as_millisecond()).unwrap_or(0)),
    };
    writer.uint(from_now);
    writer.uint(at);
    writer.uint(task.expires_in.map_or(0, millis));
    let unique = task.unique.as_ref();
    writer.text(unique.map_or("", |unique| unique.key.as_str()));
    writer.text(task.concurrency_key.as_deref().unwrap_or_default());
    task.overrides.pack(&More::default(), &mut writer);
    let digest = Sha256::digest(writer.finish(&[]));
    let digits = digest.iter().take(BYTES).map(|byte| format!("{byte:02x}"));
    digits.collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::{Overrides, Payload};

    const HOUR: Duration = Duration::from_hours(1);

    fn task() -> NewTask {
        NewTask::new("t", Payload::null())
    }

    #[test]
    fn it_is_the_same_in_all_versions() {
        assert_eq!(of(&task()), "7e5f9bdc6296e9be");
        let full = task()
            .priority("high")
            .delay(HOUR)
            .expires_in(HOUR)
            .unique("u", HOUR)
            .concurrency_key("c")
            .overrides(Overrides {
                max_attempts: Some(3),
                ..Overrides::default()
            });
        assert_eq!(of(&full), "4fb7c60c98f0363c");
    }

    #[test]
    fn each_thing_asked_for_makes_another_one_and_nothing_else_does() {
        let payload = |text: &str| Payload::json(text).unwrap();
        let overrides = |most| Overrides {
            max_attempts: Some(most),
            ..Overrides::default()
        };
        let all = [
            task(),
            NewTask::new("u", Payload::null()),
            NewTask::new("t", payload("1")),
            NewTask::new("t", payload("1 ")),
            task().priority("high"),
            task().delay(HOUR),
            task().run_at(Timestamp::from_second(3_600).unwrap()),
            task().expires_in(HOUR),
            task().unique("a", HOUR),
            task().concurrency_key("a"),
            task().overrides(overrides(1)),
            task().overrides(overrides(2)),
        ];
        let mut prints: Vec<String> = all.iter().map(of).collect();
        assert!(prints.iter().all(|print| print.len() == 2 * BYTES));
        prints.sort_unstable();
        prints.dedup();
        assert_eq!(prints.len(), all.len());
        for same in [
            task().trace_parent("00-1-2-01"),
            task().idempotency_key("k", HOUR),
            task().delay(Duration::ZERO),
        ] {
            assert_eq!(of(&same), of(&task()));
        }
        let longer = task().unique("a", 2 * HOUR);
        assert_eq!(of(&longer), of(&task().unique("a", HOUR)));
    }
}
