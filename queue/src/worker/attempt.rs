//! One attempt: a leased record becomes a task, the handler runs it under its timeout, and its
//! outcome becomes what Redis is to be told. Nothing is sent from here.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::{Ended, Finished, Handler, LeasedTask, Observer, Outcome};
use crate::clock::timestamp;
use crate::lease::{Ack, End, Leased, Settlement};
use crate::queue::Known;
use crate::record::{Done, Record};
use crate::retry::{self, Next};
use crate::{Cause, Payload, Queue, TaskId, WorkerId};

/// Largest result that is kept, in bytes.
const MOST_RESULT_BYTES: usize = 64 * 1024;

/// What all attempts of a worker share.
pub(super) struct Shop<H> {
    pub(super) queue: Queue,
    pub(super) handler: H,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) ended: UnboundedSender<Delivery>,
}

/// The lease under which an attempt runs.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) worker: WorkerId,
    /// Cancelled when it is lost.
    pub(super) lost: CancellationToken,
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

/// Runs one attempt and reports how it ended.
pub(super) async fn run<H: Handler>(
    shop: Arc<Shop<H>>,
    known: Arc<Known>,
    lease: Lease,
    leased: Leased,
) {
    let worker = lease.worker;
    let message = match Record::unpack(&leased.record) {
        Ok(record) => attempt(&shop, &known, lease, &leased, record).await,
        Err(fault) => {
            // It stays as it is among the dead letters, for whoever can read it.
            tracing::error!(task = %leased.id, %fault, "a task cannot be read");
            Message::Other(Settlement {
                id: leased.id,
                end: End::Dead {
                    record: leased.record,
                },
            })
        }
    };
    // The receiver is gone only when the worker has given up on its attempts.
    let _ = shop.ended.send(Delivery { worker, message });
}

async fn attempt<H: Handler>(
    shop: &Shop<H>,
    known: &Known,
    lease: Lease,
    leased: &Leased,
    mut record: Record,
) -> Message {
    let clock = shop.queue.link().clock();
    let started_ms = clock.now_ms();
    let begun = Instant::now();
    let wait = Duration::from_millis(started_ms.saturating_sub(record.runnable_since_ms()));
    let worker = lease.worker;
    shop.observer.started(&record.kind);
    let task = lease_task(shop, known, lease, leased, &record);
    // The call itself may panic too, not only the future it returns.
    let handling = AssertUnwindSafe(async { shop.handler.handle(task).await }).catch_unwind();
    let outcome = tokio::time::timeout(known.policy.timeout, handling).await;
    let run = begun.elapsed();

    let (ended, end) = match outcome {
        Ok(Ok(Outcome::Completed(result))) => {
            let done = Done {
                record: &record,
                losses: leased.losses,
                started_ms,
                run_ms: millis(run),
                worker,
                result: bounded(leased.id, result.as_ref()),
            };
            let ack = Ack {
                id: leased.id,
                done: done.pack(),
                run_ms: millis(run),
            };
            (Ended::Completed, Message::Done(ack))
        }
        Ok(Ok(Outcome::Released)) => (Ended::Released, settle(leased.id, End::Release)),
        Ok(Ok(Outcome::Dead { error })) => {
            record.fail(timestamp(clock.now_ms()), Cause::Error, &error);
            (
                Ended::Dead,
                settle(
                    leased.id,
                    End::Dead {
                        record: record.pack(),
                    },
                ),
            )
        }
        Ok(Ok(Outcome::Retry { error, after })) => fail(
            shop,
            known,
            leased.id,
            &mut record,
            Cause::Error,
            &error,
            after,
        ),
        Ok(Err(panic)) => {
            let error = format!("panicked: {}", text_of(panic.as_ref()));
            fail(
                shop,
                known,
                leased.id,
                &mut record,
                Cause::Error,
                &error,
                None,
            )
        }
        Err(_) => {
            let error = format!("ran longer than {} ms", known.policy.timeout.as_millis());
            fail(
                shop,
                known,
                leased.id,
                &mut record,
                Cause::Timeout,
                &error,
                None,
            )
        }
    };
    shop.observer.finished(&Finished {
        kind: &record.kind,
        ended,
        wait,
        run,
    });
    end
}

fn lease_task<H>(
    shop: &Shop<H>,
    known: &Known,
    lease: Lease,
    leased: &Leased,
    record: &Record,
) -> LeasedTask {
    LeasedTask {
        id: leased.id,
        queue: shop.queue.name().clone(),
        kind: record.kind.clone(),
        priority: record.level.clone(),
        attempt: record.attempts.saturating_add(1),
        losses: leased.losses,
        created: timestamp(record.created_ms),
        payload: Payload::trusted(record.payload.clone()),
        timeout: known.policy.timeout,
        worker: lease.worker,
        lease: lease.lost,
    }
}

/// A failed attempt: to be tried again, or dead.
fn fail<H>(
    shop: &Shop<H>,
    known: &Known,
    id: TaskId,
    record: &mut Record,
    cause: Cause,
    error: &str,
    requested: Option<Duration>,
) -> (Ended, Message) {
    let now_ms = shop.queue.link().clock().now_ms();
    record.fail(timestamp(now_ms), cause, error);
    match retry::decide(
        &known.policy.retry,
        record.attempts,
        requested,
        rand::random(),
    ) {
        Next::Retry { after } => {
            record.due_ms = now_ms.saturating_add(millis(after));
            let ended = if cause == Cause::Timeout {
                Ended::TimedOut
            } else {
                Ended::Retried
            };
            let record = record.pack();
            (ended, settle(id, End::Retry { record, after }))
        }
        Next::Dead => (
            Ended::Dead,
            settle(
                id,
                End::Dead {
                    record: record.pack(),
                },
            ),
        ),
    }
}

fn settle(id: TaskId, end: End) -> Message {
    Message::Other(Settlement { id, end })
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

fn text_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("with a value that is no text")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
