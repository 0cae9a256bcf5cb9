//! What is told of the replicas beside the status: logs, Events and metrics, on change only.

use jiff::Timestamp;
use taskqueue_queue::Queue;
use tokio::time::Instant;

use super::{
    Shared,
    contention::Overwritten,
    replicas::{News, Replicas, Step},
    write::WriteError,
};
use crate::key::Key;

/// Tells a change of the replicas in the queue itself, to who listens to it and to its log of ends.
pub(super) async fn tell_scaled(key: &Key, queue: &Queue, step: &Step) {
    let replicas = taskqueue_queue::Replicas {
        from: step.from,
        to: step.to,
    };
    let told = queue.tell_scaled(replicas, &step.decision.equation).await;
    if let Err(error) = told {
        tracing::debug!(queue = %key, %error, "the queue was not told of a change of its replicas");
    }
}

impl Shared {
    /// Tells what is news of a look.
    pub(super) fn tell(&self, key: &Key, news: News) {
        let News {
            turned,
            held,
            recommended,
            overwritten,
        } = news;
        if let Some(turned) = turned {
            self.events.redis_turned(key, turned.err());
        }
        if let Some(reason) = held {
            self.metrics.held(reason);
        }
        if let Some(step) = recommended {
            let equation = &step.decision.equation;
            self.events.recommended(key, step.from, step.to, equation);
        }
        if let Some(Overwritten {
            by,
            ours,
            theirs,
            times,
        }) = overwritten
        {
            tracing::warn!(queue = %key, by, ours, theirs, times, "the replicas were written over");
            self.metrics.overwritten(key);
            self.events.overwritten(key, &by, (ours, theirs), times > 1);
        }
    }

    /// Takes in and tells what a write of replicas came to. `announced` is when a task was that
    /// they were written for.
    pub(super) fn wrote(
        &self,
        key: &Key,
        replicas: &mut Replicas,
        step: &Step,
        announced: Option<Instant>,
        outcome: Result<(), WriteError>,
    ) {
        let (from, to, equation) = (step.from, step.to, &step.decision.equation);
        match outcome {
            Ok(()) => {
                if let Some(announced) = announced.filter(|_| from == 0) {
                    self.metrics.woke(announced.elapsed());
                }
                tracing::info!(queue = %key, from, to, equation, "scaled");
                replicas.wrote(step, Timestamp::now());
                self.events.scaled(key, from, to, equation);
            }
            // What was scaled went between the look and the write: the next look says so.
            Err(error) if error.is_gone() => {}
            Err(error) => {
                let told = error.to_string();
                tracing::warn!(queue = %key, from, to, error = told, "cannot scale");
                if replicas.not_written(told.clone()) {
                    self.events.scale_failed(key, from, to, &told);
                }
            }
        }
    }
}
