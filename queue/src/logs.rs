//! Reading the log lines of a task.

use crate::queue::Queue;
use crate::{Error, TaskId};

impl Queue {
    /// The log lines of a task, oldest first: the last 100 that its attempts wrote.
    pub async fn logs(&self, id: &TaskId) -> Result<Vec<String>, Error> {
        let mut command = redis::cmd("LRANGE");
        command.arg(self.keys().log(id.as_str())).arg(0).arg(-1);
        let lines: Vec<Vec<u8>> = self.ask(&command, "LRANGE").await?;
        let text = |line: Vec<u8>| String::from_utf8_lossy(&line).into_owned();
        Ok(lines.into_iter().map(text).collect())
    }
}
