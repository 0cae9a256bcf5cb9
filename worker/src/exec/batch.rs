//! Many tasks in one run of the command: a line of JSON for each on its standard input, and on its standard output the
//! messages of `stdio`, a line each. Its exit status is that of the tasks of which it has not said how they end.

use std::time::Instant;

use futures::StreamExt;
use taskqueue_queue::worker::{Batch, BatchHandler, LeasedTask, Member, Outcome};
use tokio::process::ChildStdout;
use tokio_util::codec::FramedRead;

use super::verdict::{self, Verdict};
use super::{Exec, attend, feed};
use crate::answers::Answers;
use crate::process::{Complaint, drain};
use crate::stdio::lines::{ENDLESS_BYTES, Line, Lines};
use crate::stdio::message;
use crate::stdio::reading::Said;

impl BatchHandler for Exec {
    async fn handle_batch(&self, batch: &Batch) {
        let Some(first) = batch.members().first().map(Member::task) else {
            return;
        };
        let mut answers = Answers::new(batch, &self.controls);
        let size = batch.members().len();
        let variables = [
            ("TASK_TYPE", first.kind.clone()),
            ("TASK_QUEUE", first.queue.to_string()),
            ("TASK_BATCH", size.to_string()),
        ];
        let (running, streams) = match self.launcher.start(variables) {
            Ok(started) => started,
            Err(error) => {
                let outcome = self.refuse(first, error).await;
                return answers.conclude(|_| outcome.clone());
            }
        };
        self.fault.clear();
        let input = input(batch, &answers);
        let mut complaint = Complaint::new(Instant::now());
        let log = |line: &str| log_line(first, size, line);
        let dialogue = async {
            tokio::join!(
                feed(streams.stdin, &input),
                listen(streams.stdout, &mut answers),
                drain(streams.stderr, |piece| complaint.push(
                    piece,
                    Instant::now(),
                    log
                )),
            );
        };
        // One of many that is cancelled is no reason for the command to end.
        let ended = attend(running, dialogue, std::future::pending()).await;
        let suppressed = complaint.finish(Instant::now(), log);
        if suppressed > 0 {
            tracing::warn!(
                r#type = first.kind,
                tasks = size,
                lines = suppressed,
                "lines of stderr not logged"
            );
        }
        let verdict = match ended {
            Ok(ending) => verdict::judge(ending, &complaint.last_words()),
            Err(error) => Verdict::Retry {
                error: format!("cannot wait for the command: {error}"),
            },
        };
        answers.conclude(|_| match &verdict {
            Verdict::Done => Outcome::Completed(None),
            Verdict::Retry { error } => Outcome::Retry {
                error: error.clone(),
                after: None,
            },
            Verdict::Dead { error } => Outcome::Dead {
                error: error.clone(),
            },
        });
    }
}

/// A line for each task.
fn input(batch: &Batch, answers: &Answers<'_>) -> Vec<u8> {
    let mut lines = Vec::new();
    for member in batch.members() {
        let control = answers.url(member.task());
        lines.extend(message::json(member.task(), Some(&control)));
        lines.push(b'\n');
    }
    lines
}

/// Hears what the command says, until it says no more.
async fn listen(stdout: Option<ChildStdout>, answers: &mut Answers<'_>) {
    let Some(stdout) = stdout else { return };
    let mut lines = FramedRead::new(stdout, Lines::default());
    while let Some(line) = lines.next().await {
        match line {
            Ok(Line::Endless) => {
                return answers.tell(&format!(
                    "it wrote a line of more than {ENDLESS_BYTES} bytes: no more of it is read"
                ));
            }
            Ok(line) => Said::by(&line).for_each(|reading| answers.take(reading)),
            Err(error) => {
                return answers.tell(&format!("its standard output cannot be read: {error}"));
            }
        }
    }
}

fn log_line(first: &LeasedTask, tasks: usize, line: &str) {
    tracing::info!(target: "handler", queue = %first.queue, r#type = first.kind, tasks, "{line}");
}
