//! One attempt: a leased record becomes a task, the handler runs it under its timeout, and its
//! outcome becomes what Redis is to be told. What its end means is decided in `verdict`; nothing but
//! its last notes is sent from here.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::sync::mpsc::UnboundedSender;

use super::course::Course;
use super::lease::Lease;
use super::verdict::{Over, Verdict, verdict};
use super::{Ended, Finished, Handler, LeasedTask, Observer};
use crate::clock::timestamp;
use crate::groups::Group;
use crate::lease::{Ack, End, Leased, Ran, Settlement, millis};
use crate::queue::Known;
use crate::record::{Done, Ending, Record, Site};
use crate::{Payload, Queue, QueueName, TaskId, WorkerId};

/// How long an attempt may go on once it is to be cancelled.
const CANCEL_GRACE: Duration = Duration::from_secs(5);
/// Largest result that is kept, in bytes.
const MOST_RESULT_BYTES: usize = 64 * 1024;

/// What all attempts of a worker share.
pub(super) struct Shop<H> {
    pub(super) queue: Queue,
    pub(super) handler: H,
    pub(super) observer: Arc<dyn Observer>,
    /// Where it is.
    pub(super) site: Site,
    pub(super) ended: UnboundedSender<Delivery>,
}

/// An attempt that ended, and what Redis is to be told of it.
pub(super) struct Delivery {
    pub(super) worker: WorkerId,
    pub(super) message: Message,
}

/// What Redis is to be told.
pub(super) enum Message {
    Done(Ack),
    Other(Settlement),
}

impl Message {
    pub(super) fn id(&self) -> TaskId {
        match self {
            Self::Done(ack) => ack.id,
            Self::Other(settlement) => settlement.id,
        }
    }
}

/// Runs one attempt and reports how it ended, whatever ended it: without a report its slot would never
/// be free again, and its task leased for as long as the worker lives.
pub(super) async fn run<H: Handler>(
    shop: Arc<Shop<H>>,
    known: Arc<Known>,
    lease: Lease,
    leased: Leased,
) {
    let attempt = AssertUnwindSafe(attempt(&shop, &known, &lease, &leased)).catch_unwind();
    let message = match attempt.await {
        Ok(message) => message,
        Err(panic) => break_off(&shop, &known, &lease, leased, text_of(panic.as_ref())),
    };
    let worker = lease.worker();
    // The receiver is gone only when the worker has given up on its attempts.
    let _ = shop.ended.send(Delivery { worker, message });
}

async fn attempt<H: Handler>(
    shop: &Shop<H>,
    known: &Known,
    lease: &Lease,
    leased: &Leased,
) -> Message {
    let mut record = match Record::unpack(&leased.record) {
        Ok(record) => record,
        Err(fault) => {
            tracing::error!(task = %leased.id, %fault, "a task cannot be read");
            let now_ms = shop.queue.link().clock().now_ms();
            return dead_as_it_is(leased.id, leased.record.clone(), now_ms);
        }
    };
    let started_ms = shop.queue.link().clock().now_ms();
    let begun = Instant::now();
    tell(|| shop.observer.started(&record.kind));

    let over = if record.expires_ms().is_some_and(|at| at <= started_ms) {
        Over::Late
    } else {
        let task = lease_task(shop, known, lease.clone(), leased, &mut record);
        handle(shop, lease, task).await
    };
    let run = begun.elapsed();
    say_last_words(&shop.queue, lease, leased.id).await;
    let span = lease.take_span(leased.id);
    if let Some(span) = &span {
        record.note_span(span);
    }
    let course = Course {
        started_ms,
        run,
        span,
    };
    conclude(shop, known, lease.worker(), leased, record, over, &course)
}

/// Decides what becomes of the task, and tells of it.
fn conclude<H>(
    shop: &Shop<H>,
    known: &Known,
    worker: WorkerId,
    leased: &Leased,
    mut record: Record,
    over: Over,
    course: &Course,
) -> Message {
    let Course {
        started_ms, run, ..
    } = *course;
    let number = record.attempts + 1;
    let wait = Duration::from_millis(started_ms.saturating_sub(record.runnable_since_ms()));
    let (policy, patterns) = known.of(&record);
    let before = record.errors.len();
    let verdict = verdict(
        over,
        &mut record,
        leased.losses,
        (&policy, patterns),
        shop.queue.link().clock().now_ms(),
        rand::random(),
    );
    let failure = record.close(before, policy.attempts_kept, || course.site(shop, worker));
    let ran = Ran {
        started_ms,
        run_ms: millis(run),
        losses: leased.losses,
        worker: Some(worker),
    };
    // Most attempts complete at once and in no span: nothing more is kept of these.
    let place = failure.is_none() && (!record.errors.is_empty() || course.span.is_some());
    let place = place.then(|| course.place(shop));
    let settle = |end| settle(leased.id, end, ran, failure);
    let (ended, message) = match verdict {
        Verdict::End { ending, result } => {
            let done = Done {
                what: ending.into(),
                record: &record,
                losses: leased.losses,
                started_ms,
                run_ms: millis(run),
                worker: Some(worker),
                result: bounded(leased.id, result.as_ref()),
                logged: known.policy.events.is_some(),
                site: place.as_ref(),
            };
            let done = done.pack();
            let run_ms = millis(run);
            let message = if ending == Ending::Completed && !record.needs_settling() {
                Message::Done(Ack {
                    id: leased.id,
                    done,
                    run_ms,
                })
            } else {
                settle(End::Done {
                    ending,
                    done,
                    run_ms,
                })
            };
            (ended_as(ending), message)
        }
        Verdict::Again { after, ended } => {
            let record = record.pack();
            let end = if ended == Ended::Snoozed {
                End::Snooze { record, after }
            } else {
                End::Retry { record, after }
            };
            (ended, settle(end))
        }
        Verdict::Dead => {
            let record = record.pack();
            (Ended::Dead, settle(End::Dead { record }))
        }
        Verdict::Quarantined => {
            let record = record.pack();
            (Ended::Dead, settle(End::Quarantined { record }))
        }
        Verdict::Release => (Ended::Released, settle(End::Release)),
        Verdict::Lost { after } => {
            let record = Some(record.pack());
            (Ended::Lost, settle(End::Lost { record, after }))
        }
    };
    tell(|| {
        log_failure(shop.queue.name(), leased.id, number, &record, ended);
        shop.observer.finished(&Finished {
            kind: &record.kind,
            ended,
            wait,
            run,
        });
    });
    message
}

/// What becomes of a task whose attempt panicked outside of its handler: the same as if the handler had. If that cannot
/// be told either, the task is a dead letter as it is: it must not come back to do this again and again.
fn break_off<H>(
    shop: &Shop<H>,
    known: &Known,
    lease: &Lease,
    leased: Leased,
    panic: &str,
) -> Message {
    let concluded = std::panic::catch_unwind(AssertUnwindSafe(|| {
        lease.take_notes_of(leased.id);
        lease.forget(leased.id);
        let record = Record::unpack(&leased.record).ok()?;
        let now_ms = shop.queue.link().clock().now_ms();
        let over = Over::Panicked(panic.to_owned());
        let course = Course {
            started_ms: now_ms,
            run: Duration::ZERO,
            span: None,
        };
        let worker = lease.worker();
        Some(conclude(
            shop, known, worker, &leased, record, over, &course,
        ))
    }));
    if let Ok(Some(message)) = concluded {
        return message;
    }
    let now_ms = shop.queue.link().clock().now_ms();
    dead_as_it_is(leased.id, leased.record, now_ms)
}

/// A dead letter with this record, for whoever can read it.
fn dead_as_it_is(id: TaskId, record: Vec<u8>, now_ms: u64) -> Message {
    let ran = Ran {
        started_ms: now_ms,
        ..Ran::default()
    };
    settle(id, End::Dead { record }, ran, None)
}

/// Tells whoever watches. Their panics are their own: the attempt has ended as it has.
fn tell(tell: impl FnOnce()) {
    let _ = std::panic::catch_unwind(AssertUnwindSafe(tell));
}

/// Logs an attempt that failed, with what is kept of it.
fn log_failure(queue: &QueueName, id: TaskId, attempt: u32, record: &Record, ended: Ended) {
    let error = || {
        record
            .errors
            .last()
            .map_or("", |noted| &noted.failure.message)
    };
    let kind = &record.kind;
    match ended {
        Ended::Dead => {
            tracing::error!(%queue, %id, r#type = kind, attempt, error = error(), "dead-lettered");
        }
        Ended::Retried | Ended::TimedOut | Ended::Lost | Ended::Dropped => {
            tracing::warn!(%queue, %id, r#type = kind, attempt, error = error(), "attempt failed");
        }
        Ended::Completed | Ended::Snoozed | Ended::Released | Ended::Cancelled | Ended::Expired => {
        }
    }
}

/// Runs the handler until it ends, its time is over, or it is to be cancelled.
async fn handle<H: Handler>(shop: &Shop<H>, lease: &Lease, task: LeasedTask) -> Over {
    let (id, limit) = (task.id, task.timeout);
    let begun = Instant::now();
    // The call itself may panic too, not only the future it returns.
    let handling = AssertUnwindSafe(async { shop.handler.handle(task).await }).catch_unwind();
    let mut handling = std::pin::pin!(handling);
    let over = tokio::select! {
        biased;
        over = &mut handling => Ok(over),
        granted = time_out(begun, limit, lease, id) => Err(granted),
        () = lease.cancelled(id) => {
            // It knows as well, and may end by itself.
            match tokio::time::timeout(CANCEL_GRACE, handling).await {
                Ok(Ok(outcome)) => return Over::Cancelled(Some(outcome)),
                _ => return Over::Cancelled(None),
            }
        }
    };
    match over {
        // It may have learnt of it first, and ended because of it.
        Ok(Ok(outcome)) if lease.is_cancelled(id) => Over::Cancelled(Some(outcome)),
        Ok(Ok(outcome)) => Over::Outcome(outcome),
        Ok(Err(panic)) => Over::Panicked(text_of(panic.as_ref()).to_owned()),
        Err(granted) => Over::TimedOut(granted),
    }
}

/// Resolves when the attempt's time is over, and what it asked for besides; with how long that was.
async fn time_out(begun: Instant, limit: Duration, lease: &Lease, id: TaskId) -> Duration {
    let mut end = begun + limit;
    loop {
        tokio::time::sleep_until(end.into()).await;
        match lease.extension_of(id) {
            Some(later) if later > end => end = later,
            _ if lease.handler_keeps_time(id) => std::future::pending().await,
            _ => return end - begun,
        }
    }
}

/// Delivers what the attempt said of itself and is not delivered yet: once it is acked, nobody would
/// take it any more.
async fn say_last_words(queue: &Queue, lease: &Lease, id: TaskId) {
    if let Some(note) = lease.take_notes_of(id)
        && let Err(fault) = queue.note(lease.worker(), &[(id, note)]).await
    {
        tracing::debug!(task = %id, error = %fault.error, "notes were not delivered");
    }
    lease.forget(id);
}

fn lease_task<H>(
    shop: &Shop<H>,
    known: &Known,
    lease: Lease,
    leased: &Leased,
    record: &mut Record,
) -> LeasedTask {
    let extras = record.extras.as_deref();
    let trace_parent = extras.map(|extras| extras.trace_parent.clone());
    let last_span = extras.map(|extras| extras.last_span);
    LeasedTask {
        id: leased.id,
        queue: shop.queue.name().clone(),
        kind: record.kind.clone(),
        priority: record.level.clone(),
        attempt: record.attempts.saturating_add(1),
        losses: leased.losses,
        created: timestamp(record.created_ms),
        runnable: timestamp(record.runnable_since_ms()),
        payload: Payload::trusted(record.payload.clone()),
        timeout: known.of(record).0.timeout,
        worker: lease.worker(),
        trace_parent: trace_parent.filter(|header| !header.is_empty()),
        last_span: last_span.filter(|span| *span > 0),
        lease,
    }
}

fn ended_as(ending: Ending) -> Ended {
    match ending {
        Ending::Completed => Ended::Completed,
        Ending::Cancelled => Ended::Cancelled,
        Ending::Expired => Ended::Expired,
        Ending::Dropped => Ended::Dropped,
    }
}

fn settle(id: TaskId, end: End, ran: Ran, failure: Option<Group>) -> Message {
    Message::Other(Settlement {
        id,
        end,
        ran,
        failure,
    })
}

/// The result, unless it is too large to keep: the work is done, and doing it again would not make
/// it smaller.
fn bounded(id: TaskId, result: Option<&Payload>) -> Option<&[u8]> {
    let bytes = result?.as_bytes();
    if bytes.len() > MOST_RESULT_BYTES {
        tracing::warn!(task = %id, size = bytes.len(), limit = MOST_RESULT_BYTES, "result too large, dropped");
        return None;
    }
    Some(bytes)
}

pub(super) fn text_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with a value that is no text")
}
