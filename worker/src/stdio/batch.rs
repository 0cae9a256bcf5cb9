//! Many tasks in one line to a child. From then on each is as if it had come by itself: it is answered, cancelled and
//! dropped by its own id.

use futures::future::join_all;
use taskqueue_queue::worker::{Batch, BatchHandler, Outcome};
use tokio::sync::oneshot;

use super::child::Order;
use super::jobs::Job;
use super::{Stdio, Waiting};

impl BatchHandler for Stdio {
    async fn handle_batch(&self, batch: &Batch) {
        let Some((place, orders)) = self.least_busy() else {
            return batch.end_rest(|_| Outcome::Released);
        };
        let (mut jobs, mut waiting) = (Vec::new(), Vec::new());
        for member in batch.members() {
            let (sender, outcome) = oneshot::channel();
            let task = member.task().clone();
            let waits = Waiting::new(task.id, orders.clone(), place);
            waiting.push(async move {
                tokio::select! {
                    biased;
                    outcome = waits.outcome(member.task(), outcome) => {
                        member.end(outcome);
                    }
                    // Whoever waited is dropped with this, and has the child drop the task.
                    () = member.abandoned() => {}
                }
            });
            let outcome = sender;
            jobs.push(Job { task, outcome });
        }
        if let Err(refused) = orders.send(Order::RunTogether(jobs)) {
            // Ends each, as a child does that is gone.
            refused.0.refuse();
        }
        join_all(waiting).await;
    }

    fn available(&self) -> bool {
        self.is_ready()
    }
}
