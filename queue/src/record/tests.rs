//! Records packed and read back, by this version and beside another. Pure.

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use std::time::Duration;

use super::done::MOST_RETAINED_PAYLOAD_BYTES;
use super::*;
use crate::{BackoffKind, Cause, Failure};

/// Up to three values of a later version.
fn any_more_of(number: u32) -> More {
    More::of(&vec![u64::from(number); number as usize % 4])
}

fn any_overrides_of(number: u64) -> Overrides {
    Overrides {
        max_attempts: u32::try_from(number % 3).ok().filter(|most| *most > 0),
        timeout: (!number.is_multiple_of(5)).then(|| Duration::from_millis(number % 5)),
        backoff: (number % 7 > 3).then_some(OwnBackoff {
            kind: BackoffKind::Linear,
            initial: Duration::from_millis(number % 7),
            max: Duration::from_millis(number % 7 * 2),
        }),
    }
}

fn any_site_of(number: u32) -> Site {
    if number.is_multiple_of(3) {
        return Site::default();
    }
    Site {
        started_ms: u64::from(number) * 70_000,
        worker: "w".repeat(number as usize % 5),
        pod: "pod".into(),
        node: String::new(),
        span: "span".into(),
        more: any_more_of(number + 1),
    }
}

fn any_failure() -> impl Strategy<Value = Noted> {
    let causes = prop_oneof![
        Just(Cause::Error),
        Just(Cause::Timeout),
        Just(Cause::WorkerLost)
    ];
    (1..100_u32, 0..4_000_000_000_000_u64, causes, ".{0,40}").prop_map(
        |(attempt, at, cause, message)| Noted {
            failure: Failure {
                attempt,
                at: timestamp(at),
                cause,
                message,
            },
            site: any_site_of(attempt),
            more: any_more_of(attempt),
        },
    )
}

fn any_record() -> impl Strategy<Value = Record> {
    (
        "[a-z0-9-]{1,32}",
        0..4_000_000_000_000_u64,
        0..4_000_000_000_000_u64,
        ".{1,40}",
        any::<u32>(),
        prop::collection::vec(any_failure(), 0..10),
        prop::option::of(any_extras()),
        prop::collection::vec(any::<u8>(), 0..200),
    )
        .prop_map(
            |(level, created_ms, due_ms, kind, attempts, errors, extras, payload)| Record {
                level,
                created_ms,
                due_ms,
                kind,
                attempts,
                errors,
                extras,
                more: any_more_of(attempts),
                payload,
            },
        )
}

fn any_extras() -> impl Strategy<Value = Box<Extras>> {
    (
        any::<u64>(),
        ".{0,20}",
        ".{0,20}",
        any::<u64>(),
        ".{0,20}",
        any::<u64>(),
    )
        .prop_map(
            |(expires_ms, unique, concurrency_key, first_failed_ms, trace_parent, last_span)| {
                Box::new(Extras {
                    expires_ms,
                    unique,
                    concurrency_key,
                    first_failed_ms,
                    trace_parent,
                    last_span,
                    overrides: any_overrides_of(last_span),
                    more_overrides: any_more_of(u32::try_from(last_span % 8 / 2).unwrap()),
                    idempotency_key: "k".repeat(usize::try_from(last_span % 3).unwrap()),
                    more: any_more_of(u32::try_from(last_span % 4).unwrap()),
                })
            },
        )
}

/// Reads failures as the version before did, which kept what stood behind the message as it was, and writes them
/// again.
fn by_the_version_before(noted: &[Noted]) -> Vec<Noted> {
    let mut writer = Writer::after(&[], 0);
    failures::pack(&mut writer, noted);
    let bytes = writer.finish(&[]);
    let mut reader = Reader::new(&bytes);
    let count = reader.array().unwrap();
    let mut writer = Writer::after(&[], 0);
    writer.array(count as usize);
    for _ in 0..count {
        let more = reader.array_of(4).unwrap();
        let numbers: [u64; 3] = std::array::from_fn(|_| reader.uint().unwrap());
        let message = reader.text().unwrap();
        let more = reader.more(more).unwrap();
        writer.array(4 + more.count());
        for number in numbers {
            writer.uint(number);
        }
        writer.text(message);
        writer.more(&more);
    }
    failures::unpack(&mut Reader::new(&writer.finish(&[]))).unwrap()
}

proptest! {
    #[test]
    fn where_attempts_ran_goes_through_the_hands_of_the_version_before(noted in prop::collection::vec(any_failure(), 0..10)) {
        prop_assert_eq!(by_the_version_before(&noted), noted);
    }

    #[test]
    fn a_record_survives_packing_and_its_head_tells_its_age(record in any_record()) {
        let packed = record.pack();
        prop_assert_eq!(runnable_since_ms(&packed[..packed.len().min(64)]), Some(record.runnable_since_ms()));
        prop_assert_eq!(Record::unpack(&packed).unwrap(), record);
    }

    #[test]
    fn a_done_record_survives_packing(record in any_record(), losses in any::<u32>(), wait in 0..1_u64 << 40, run in 0..1_u64 << 40) {
        let id = crate::id::Sequence::new(1).task(1);
        let worker = crate::id::Sequence::new(2).worker(2);
        let done = Done { what: Ending::Completed.into(), record: &record, losses, started_ms: record.created_ms + wait, run_ms: run, worker: Some(worker), result: Some(b"1"), logged: false, site: None };
        let queue = QueueName::new("n", "q").unwrap();
        let task = unpack_done(id, queue, &done.pack()).unwrap();
        prop_assert_eq!(task.finished.unwrap(), timestamp(record.created_ms + wait + run));
        prop_assert_eq!(task.payload.map(Payload::into_bytes), Some(record.payload.clone()));
        let errors: Vec<_> = record.errors.into_iter().map(|noted| noted.failure).collect();
        prop_assert_eq!((task.attempts, task.losses, task.errors), (record.attempts, losses, errors));
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Record::unpack(&bytes);
        let _ = runnable_since_ms(&bytes);
        let _ = unpack_done(crate::id::Sequence::new(1).task(1), QueueName::new("n", "q").unwrap(), &bytes);
    }

    #[test]
    fn the_history_keeps_the_last_ten_failures_and_the_first_kib_of_each(failures in 0..25_u32, message in "[aü]{0,2000}") {
        let mut record = Record { level: "a".into(), created_ms: 0, due_ms: 0, kind: "k".into(), attempts: 0, errors: vec![], extras: None, more: More::default(), payload: vec![] };
        for _ in 0..failures {
            let before = record.errors.len();
            prop_assert_eq!(record.close(before, 10, Site::default), None);
            record.fail(timestamp(1), Cause::Error, &message, true);
            prop_assert!(record.close(before, 10, || any_site_of(1)).is_some());
        }
        prop_assert_eq!(record.errors.len(), failures.min(10) as usize);
        prop_assert!(record.errors.iter().all(|noted| noted.site == any_site_of(1)));
        prop_assert_eq!(record.errors.last().map_or(0, |last| last.failure.attempt), failures);
        prop_assert!(record.errors.iter().all(|e| e.failure.message.len() <= 1_024 && message.starts_with(&e.failure.message)));
    }
}

#[test]
fn a_done_record_of_a_later_version_is_read_as_far_as_it_is_known() {
    let record = any_record()
        .new_tree(&mut proptest::test_runner::TestRunner::deterministic())
        .unwrap()
        .current();
    let done = Done {
        what: Ending::Completed.into(),
        record: &record,
        losses: 0,
        started_ms: record.created_ms,
        run_ms: 1,
        worker: None,
        result: None,
        logged: false,
        site: None,
    };
    let mut packed = done.pack();
    let id = crate::id::Sequence::new(1).task(1);
    let queue = || QueueName::new("n", "q").unwrap();
    let known = unpack_done(id, queue(), &packed).unwrap();
    // An array of eleven is one of thirteen, with a text and a map behind.
    assert_eq!(packed[0], 0x9b);
    packed[0] = 0x9d;
    packed.extend_from_slice(b"\xa2ab\x81\x01\x92\xc0\xc3");
    assert_eq!(unpack_done(id, queue(), &packed).unwrap(), known);
    // One that lacks what is known is none.
    packed[0] = 0x9a;
    assert!(unpack_done(id, queue(), &packed).is_err());
}

/// A program before idempotency keys takes what it knows of the extras, and writes the rest as it was.
#[test]
fn a_key_is_the_eighth_of_the_extras_and_without_it_they_are_as_they_were() {
    let array_of = |extras: &Extras| {
        let mut writer = Writer::after(&[], 0);
        extras.pack(&mut writer);
        let bytes = writer.finish(&[]);
        let mut reader = Reader::new(&bytes);
        let length = reader.array().unwrap();
        let mut before = Vec::new();
        for _ in 0..7.min(length) {
            before.push(reader.more(1).unwrap());
        }
        (length, before, reader.rest().to_vec())
    };
    let mut extras = Extras {
        unique: "u".to_owned(),
        ..Extras::default()
    };
    let (length, known, _) = array_of(&extras);
    assert_eq!(length, 6);
    extras.overrides = any_overrides_of(2);
    assert_eq!(array_of(&extras).0, 7);
    extras.idempotency_key = "k".to_owned();
    let (length, before, rest) = array_of(&extras);
    assert_eq!((length, &before[..6]), (8, known.as_slice()));
    assert_eq!(rest, b"\xa1k");
    extras.overrides = Overrides::default();
    assert_eq!(array_of(&extras).0, 8);
}

#[test]
fn where_the_last_attempt_ran_is_told_of_a_done_record_whether_it_is_logged_or_not() {
    let record = any_record()
        .new_tree(&mut proptest::test_runner::TestRunner::deterministic())
        .unwrap()
        .current();
    let site = Site {
        pod: "pod".into(),
        node: "node".into(),
        ..Site::default()
    };
    let worker = crate::id::Sequence::new(2).worker(2);
    for logged in [true, false] {
        let done = Done {
            what: Ending::Completed.into(),
            record: &record,
            losses: 0,
            started_ms: record.created_ms + 1,
            run_ms: 2,
            worker: Some(worker),
            result: None,
            logged,
            site: Some(&site),
        };
        let id = crate::id::Sequence::new(1).task(1);
        let task = unpack_done(id, QueueName::new("n", "q").unwrap(), &done.pack()).unwrap();
        assert_eq!(task.priority.is_some(), logged);
        let last = task.history.last().unwrap();
        assert_eq!(last.outcome, crate::AttemptOutcome::Completed);
        assert_eq!((last.started, last.ended), (task.started, task.finished));
        assert_eq!(last.worker, Some(worker));
        assert_eq!(
            (last.pod.as_deref(), last.node.as_deref()),
            (Some("pod"), Some("node"))
        );
        assert_eq!(task.history.len(), record.errors.len() + 1);
    }
}

#[test]
fn a_large_payload_is_not_retained_with_the_result() {
    let mut record = Record {
        level: "a".into(),
        created_ms: 0,
        due_ms: 0,
        kind: "k".into(),
        attempts: 0,
        errors: vec![],
        extras: None,
        more: More::default(),
        payload: vec![b'1'; MOST_RETAINED_PAYLOAD_BYTES],
    };
    for kept in [true, false] {
        let worker = crate::id::Sequence::new(2).worker(2);
        let done = Done {
            what: Ending::Completed.into(),
            record: &record,
            losses: 0,
            started_ms: 0,
            run_ms: 0,
            worker: Some(worker),
            result: None,
            logged: false,
            site: None,
        };
        let id = crate::id::Sequence::new(1).task(1);
        let task = unpack_done(id, QueueName::new("n", "q").unwrap(), &done.pack()).unwrap();
        assert_eq!(task.payload.is_some(), kept);
        record.payload.push(b'1');
    }
}
