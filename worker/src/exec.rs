//! The `exec` handler: a command started anew for every task. The payload goes to its standard input, its standard
//! output is the result, its standard error goes to the log, and its exit status decides (the table is in [`verdict`]).
//!
//! The command is the leader of a process group of its own. When an attempt is cut off (time-out, shutdown, lost
//! lease) the whole group gets SIGTERM and, after a grace of two seconds, SIGKILL. When the command has ended, what it
//! left of its group may write for one more second and is then killed: a task is over when its command is.

mod children;
mod complaint;
mod group;
mod output;
mod program;
mod verdict;

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use taskqueue_queue::Payload;
use taskqueue_queue::worker::{Handler, LeasedTask, Outcome};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, Command};
use tokio_util::task::TaskTracker;

use children::Children;
use complaint::Complaint;
use group::{Running, Streams};
use output::Output;
use verdict::Verdict;

pub use program::ProgramError;

/// How long the processes that a command left behind may go on writing.
const LINGER: Duration = Duration::from_secs(1);

/// How long a task is held when its command cannot be started, before it is handed back: nothing spins.
const PAUSE: Duration = Duration::from_secs(1);

/// How much is read from a stream at once.
const PIECE: usize = 16 * 1024;

/// Variables with this prefix configure the worker, with secrets among them, and are not passed to commands.
const OWN_VARIABLES: &str = "TASKQUEUE_";

/// The `exec` handler.
#[derive(Clone, Debug)]
pub struct Exec {
    program: PathBuf,
    arguments: Arc<[String]>,
    children: Children,
    endings: TaskTracker,
    /// Why the command could not be started the last time, if it could not.
    fault: Arc<Mutex<Option<String>>>,
}

/// What one attempt has written so far.
struct Transcript {
    output: Output,
    complaint: Complaint,
}

impl Exec {
    /// A handler that runs `command`: the program, found now, and its arguments.
    pub fn new(command: &[String]) -> Result<Self, ProgramError> {
        let (program, arguments) = command
            .split_first()
            .map_or(("", [].as_slice()), |(first, rest)| (first, rest));
        Ok(Self {
            program: program::find(program, std::env::var_os("PATH").as_deref())?,
            arguments: arguments.into(),
            children: Children::default(),
            endings: TaskTracker::new(),
            fault: Arc::default(),
        })
    }

    /// Reaps what commands leave behind, for as long as this future is polled.
    pub async fn reap_orphans(&self) -> io::Result<()> {
        self.children.clone().reap().await
    }

    /// Waits until every command that was cut off has ended; takes hardly longer than the grace before SIGKILL.
    pub async fn settle(&self) {
        self.endings.close();
        self.endings.wait().await;
    }

    /// Why the command cannot be started, for the readiness probe.
    pub fn fault(&self) -> Option<String> {
        self.fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_fault(&self, fault: Option<String>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn start(&self, task: &LeasedTask) -> io::Result<(Running, Streams)> {
        let mut command = Command::new(&self.program);
        command
            .args(&*self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            if name
                .as_encoded_bytes()
                .starts_with(OWN_VARIABLES.as_bytes())
            {
                command.env_remove(name);
            }
        }
        command
            .env("TASK_ID", task.id.to_string())
            .env("TASK_TYPE", &task.kind)
            .env("TASK_QUEUE", task.queue.to_string())
            .env("TASK_ATTEMPT", task.attempt.to_string())
            .env("TASK_PRIORITY", &task.priority);
        Running::start(&mut command, &self.children, &self.endings)
    }

    /// The command could not be started. That is no fault of the task, which is handed back without an attempt spent.
    async fn refuse(&self, task: &LeasedTask, error: io::Error) -> Outcome {
        if error.kind() == io::ErrorKind::InvalidInput {
            return Outcome::Dead {
                error: format!("the command cannot be started for this task: {error}"),
            };
        }
        let fault = format!(
            "the handler's command {} cannot be started: {error}",
            self.program.display()
        );
        tracing::error!(id = %task.id, r#type = task.kind, "{fault}; handing the task back");
        self.set_fault(Some(fault));
        tokio::time::sleep(PAUSE).await;
        Outcome::Released
    }
}

impl Handler for Exec {
    async fn handle(&self, task: LeasedTask) -> Outcome {
        let (running, streams) = match self.start(&task) {
            Ok(started) => started,
            Err(error) => return self.refuse(&task, error).await,
        };
        self.set_fault(None);
        let mut transcript = Transcript {
            output: Output::default(),
            complaint: Complaint::new(Instant::now()),
        };
        let ended = tokio::select! {
            ended = attend(running, streams, &task, &mut transcript) => ended,
            // The task may be running elsewhere by now; no need to do it twice to the end.
            () = task.lease_lost() => {
                tracing::warn!(id = %task.id, r#type = task.kind, "the lease is lost: ending the command");
                return Outcome::Released;
            }
        };
        let suppressed = transcript.complaint.finish(|line| log_line(&task, line));
        if suppressed > 0 {
            tracing::warn!(id = %task.id, r#type = task.kind, lines = suppressed, "lines of stderr not logged");
        }
        match ended {
            Ok(status) => conclude(
                verdict::judge(status, &transcript.complaint.last_words()),
                &task,
                transcript.output,
            ),
            Err(error) => Outcome::Retry {
                error: format!("cannot wait for the command: {error}"),
                after: None,
            },
        }
    }
}

/// Attends to a running command until it has ended and its streams are read, and clears what it left.
async fn attend(
    mut running: Running,
    streams: Streams,
    task: &LeasedTask,
    transcript: &mut Transcript,
) -> io::Result<std::process::ExitStatus> {
    let Transcript { output, complaint } = transcript;
    let mut dialogue = std::pin::pin!(async {
        tokio::join!(
            feed(streams.stdin, task.payload.as_bytes()),
            drain(streams.stdout, |piece| output.push(piece)),
            drain(streams.stderr, |piece| complaint.push(
                piece,
                Instant::now(),
                |line| log_line(task, line)
            )),
        );
    });
    let status = tokio::select! {
        biased;
        () = &mut dialogue => running.exited().await?,
        status = running.exited() => {
            let status = status?;
            if tokio::time::timeout(LINGER, dialogue).await.is_err() {
                tracing::debug!(id = %task.id, "the command has ended, but not what it started");
            }
            status
        }
    };
    running.clear();
    Ok(status)
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

/// Reads a stream to its end, piece by piece.
async fn drain(stream: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8])) {
    let Some(mut stream) = stream else { return };
    let mut piece = vec![0; PIECE];
    loop {
        match stream.read(&mut piece).await {
            Ok(0) => return,
            Ok(length) => take(&piece[..length]),
            Err(error) => return tracing::warn!(%error, "cannot read what a command writes"),
        }
    }
}

fn conclude(verdict: Verdict, task: &LeasedTask, output: Output) -> Outcome {
    match verdict {
        Verdict::Retry { error } => Outcome::Retry { error, after: None },
        Verdict::Dead { error } => Outcome::Dead { error },
        Verdict::Done => {
            let written = output.total();
            if written > output::RESULT_LIMIT as u64 {
                tracing::warn!(id = %task.id, r#type = task.kind, bytes = written, "result truncated");
            }
            match output.into_result().map(Payload::json).transpose() {
                Ok(result) => Outcome::Completed(result),
                Err(error) => Outcome::Dead {
                    error: format!("the result cannot be stored: {error}"),
                },
            }
        }
    }
}

fn log_line(task: &LeasedTask, line: &str) {
    tracing::info!(target: "handler", id = %task.id, r#type = task.kind, attempt = task.attempt, "{line}");
}
