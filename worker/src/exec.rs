//! The `exec` handler: a command started anew for every task. The payload goes to its standard input, its standard
//! output is the result, its standard error goes to the log, and its exit status decides (the table is in [`verdict`]).
//!
//! The command is the leader of a process group of its own. When an attempt is cut off (time-out, shutdown, lost
//! lease) the whole group gets SIGTERM and, after a grace of two seconds, SIGKILL. When the command has ended, what it
//! left may write for one more second and is then killed, in its group or not: a task is over when its command is.

mod batch;
mod verdict;

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use taskqueue_queue::worker::{Handler, LeasedTask, Outcome};
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;

use crate::control::{Control, Controls};
use crate::fault::Fault;
use crate::output::{self, Output};
use crate::process::{Complaint, Ending, Launcher, Running, Streams, drain};
use verdict::Verdict;

/// How long the processes that a command left behind may go on writing.
const LINGER: Duration = Duration::from_secs(1);

/// How long a task is held when its command cannot be started, before it is handed back: nothing spins.
const PAUSE: Duration = Duration::from_secs(1);

/// The `exec` handler.
#[derive(Clone, Debug)]
pub struct Exec {
    launcher: Launcher,
    controls: Controls,
    fault: Fault,
}

/// What one attempt has written so far.
struct Transcript {
    output: Output,
    complaint: Complaint,
}

impl Exec {
    /// A handler that runs the launcher's command for each task.
    pub(crate) fn new(launcher: Launcher, controls: Controls, fault: Fault) -> Self {
        Self {
            launcher,
            controls,
            fault,
        }
    }

    fn start(&self, task: &LeasedTask, control: &Control) -> io::Result<(Running, Streams)> {
        let trace = task.trace_parent.clone();
        let variables = [
            ("TASK_ID", task.id.to_string()),
            ("TASK_TYPE", task.kind.clone()),
            ("TASK_QUEUE", task.queue.to_string()),
            ("TASK_ATTEMPT", task.attempt.to_string()),
            ("TASK_LOSSES", task.losses.to_string()),
            ("TASK_PRIORITY", task.priority.clone()),
            ("TASK_CONTROL", control.url()),
        ];
        let trace = trace.map(|header| ("TRACEPARENT", header));
        self.launcher.start(variables.into_iter().chain(trace))
    }

    /// The command could not be started. That is no fault of the task, which is handed back without an attempt spent.
    async fn refuse(&self, task: &LeasedTask, error: io::Error) -> Outcome {
        if error.kind() == io::ErrorKind::InvalidInput {
            return Outcome::Dead {
                error: format!("the command cannot be started for this task: {error}"),
            };
        }
        let program = self.launcher.program().display();
        tracing::warn!(id = %task.id, r#type = task.kind, "the command does not start: handing the task back");
        self.fault.set(format!(
            "the handler's command {program} cannot be started: {error}"
        ));
        tokio::time::sleep(PAUSE).await;
        Outcome::Released
    }
}

impl Handler for Exec {
    async fn handle(&self, task: LeasedTask) -> Outcome {
        let control = self.controls.open(&task);
        let (running, streams) = match self.start(&task, &control) {
            Ok(started) => started,
            Err(error) => return self.refuse(&task, error).await,
        };
        self.fault.clear();
        let mut transcript = Transcript {
            output: Output::default(),
            complaint: Complaint::new(Instant::now()),
        };
        let Transcript { output, complaint } = &mut transcript;
        let dialogue = async {
            tokio::join!(
                feed(streams.stdin, task.payload.as_bytes()),
                drain(streams.stdout, |piece| output.push(piece)),
                drain(streams.stderr, |piece| complaint.push(
                    piece,
                    Instant::now(),
                    |line| log_line(&task, line)
                )),
            );
        };
        let ended = tokio::select! {
            ended = attend(running, dialogue, task.cancelled()) => ended,
            // The task may be running elsewhere by now; no need to do it twice to the end.
            () = task.lease_lost() => {
                tracing::warn!(id = %task.id, r#type = task.kind, "the lease is lost: ending the command");
                return Outcome::Released;
            }
        };
        let suppressed = {
            let log = |line: &str| log_line(&task, line);
            transcript.complaint.finish(Instant::now(), log)
        };
        if suppressed > 0 {
            tracing::warn!(id = %task.id, r#type = task.kind, lines = suppressed, "lines of stderr not logged");
        }
        match ended {
            Ok(ending) => {
                let verdict = verdict::judge(ending, &transcript.complaint.last_words());
                let outcome = conclude(verdict, &task, transcript.output);
                control.outcome(outcome)
            }
            Err(error) => Outcome::Retry {
                error: format!("cannot wait for the command: {error}"),
                after: None,
            },
        }
    }
}

/// Attends to a running command until it has ended and its streams are read by `dialogue`, and clears what it left. It is
/// asked to end once `cancelled` resolves.
async fn attend(
    mut running: Running,
    dialogue: impl Future<Output = ()>,
    cancelled: impl Future<Output = ()>,
) -> io::Result<Ending> {
    let mut dialogue = std::pin::pin!(dialogue);
    let mut cancelled = std::pin::pin!(cancelled);
    let (mut talked, mut asked) = (false, false);
    let status = loop {
        tokio::select! {
            biased;
            () = &mut dialogue, if !talked => talked = true,
            status = running.exited() => {
                if !talked && tokio::time::timeout(LINGER, &mut dialogue).await.is_err() {
                    tracing::debug!("a command has ended, but not what it started");
                }
                break status?;
            }
            // It has some seconds to end by itself, and is killed with its attempt after that.
            () = &mut cancelled, if !asked => {
                asked = true;
                running.ask_to_end();
            }
        }
    };
    let ending = running.ending(status);
    running.clear().await;
    Ok(ending)
}

/// Writes the payload. A command need not read it: a closed pipe is no error.
async fn feed(stdin: Option<ChildStdin>, payload: &[u8]) {
    if let Some(mut stdin) = stdin
        && let Err(error) = stdin.write_all(payload).await
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        tracing::warn!(%error, "cannot write a payload to a command");
    }
}

fn conclude(verdict: Verdict, task: &LeasedTask, output: Output) -> Outcome {
    match verdict {
        Verdict::Retry { error } => Outcome::Retry { error, after: None },
        Verdict::Dead { error } => Outcome::Dead { error },
        Verdict::Done => output::completed(output, task),
    }
}

fn log_line(task: &LeasedTask, line: &str) {
    tracing::info!(target: "handler", queue = %task.queue, id = %task.id, r#type = task.kind, attempt = task.attempt, "{line}");
}
