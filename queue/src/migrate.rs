//! Bringing in what earlier versions keep apart: tasks that are due far ahead. They may still be at work,
//! and write more of it.

use crate::fault::Fault;
use crate::queue::Queue;
use crate::script::args;

/// Most calls of one migration, of up to a hundred thousand tasks each.
const MOST_CALLS: usize = 1_024;

impl Queue {
    /// Brings all of it in, a bounded part at a time.
    pub(crate) async fn migrate(&self) -> Result<(), Fault> {
        let known = self.known().await?;
        let mut keys: Vec<String> = Vec::new();
        for _ in 0..MOST_CALLS {
            let call = self.call(&known, &keys, &args::Migrate);
            let value = self.link().call(&call).await?;
            let (_, mut reply) = self.open(call.script, value, None)?;
            let spans: Vec<u64> = reply.next()?;
            if spans.is_empty() {
                break;
            }
            keys = spans
                .into_iter()
                .map(|span| self.keys().later(span))
                .collect();
        }
        tracing::info!(queue = %self.name(), "what an earlier version kept apart is brought in");
        Ok(())
    }
}
