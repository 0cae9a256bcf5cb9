//! One child and the tasks it has: from its start until it ends, or is given up.

use std::collections::HashMap;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use futures::StreamExt;
use taskqueue_queue::worker::{LeasedTask, Outcome};
use taskqueue_queue::{Payload, TaskId};
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::task::AbortOnDropHandle;

use super::message::{self, Message};
use crate::process::{Complaint, Running, Streams, drain};

/// Longest line of a child. A result is at most 64 KiB, and its JSON may be several times as long.
const MOST_LINE_BYTES: usize = 1024 * 1024;
/// How long a child may go on with a task that it was told to drop.
const OBEY: Duration = Duration::from_secs(5);
/// How long a child may take to end by itself once it can write no more.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a child is told.
pub(super) enum Order {
    /// To run a task.
    Run(Box<Job>),
    /// To end a task soon.
    Cancel(TaskId),
    /// Nobody waits for this task any more.
    Drop(TaskId),
}

/// A task, and who waits for its outcome.
pub(super) struct Job {
    pub(super) task: LeasedTask,
    pub(super) outcome: oneshot::Sender<Outcome>,
}

/// How a child came to its end.
#[derive(Debug)]
pub(super) enum End {
    /// It ended by itself, or of what it wrote.
    Broken(String),
    /// It goes on with a task that it was told to drop, and is to get no more.
    Disobedient,
    /// Nobody gives it tasks any more.
    Dismissed,
}

/// A running child.
pub(super) struct Child {
    running: Running,
    lines: FramedRead<ChildStdout, LinesCodec>,
    writer: mpsc::UnboundedSender<Vec<u8>>,
    /// Ends with the child.
    _writing: AbortOnDropHandle<()>,
    complaining: tokio::task::JoinHandle<String>,
    jobs: HashMap<TaskId, Job>,
    /// Tasks that it was told to drop, and until when it may take to do so.
    dropped: HashMap<TaskId, Instant>,
    /// Tasks that came back before it has dropped them.
    held: Vec<Job>,
}

impl Child {
    /// Attends to a child that has just started; `None` if it lacks one of its streams.
    pub(super) fn new(running: Running, streams: Streams) -> Option<Self> {
        let (writer, receiver) = mpsc::unbounded_channel();
        let lines = LinesCodec::new_with_max_length(MOST_LINE_BYTES);
        let pid = running.pid().unwrap_or_default();
        Some(Self {
            running,
            lines: FramedRead::with_capacity(streams.stdout?, lines, 64 * 1024),
            writer,
            _writing: AbortOnDropHandle::new(tokio::spawn(write(streams.stdin?, receiver))),
            complaining: tokio::spawn(complain(streams.stderr, pid)),
            jobs: HashMap::new(),
            dropped: HashMap::new(),
            held: Vec::new(),
        })
    }

    /// Waits until it says that it is ready.
    pub(super) async fn ready(&mut self) -> Result<(), End> {
        match self.next().await? {
            Message::Ready {} => Ok(()),
            other => Err(End::Broken(format!(
                "it wrote {other:?} before it was ready"
            ))),
        }
    }

    /// Gives it the tasks that are ordered, until it ends.
    pub(super) async fn serve(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) -> End {
        loop {
            let overdue = self.dropped.values().min().copied();
            tokio::select! {
                biased;
                message = self.next() => match message {
                    Ok(message) => self.heed(message),
                    Err(end) => return end,
                },
                order = orders.recv() => match order {
                    Some(Order::Run(job)) => self.run(*job),
                    Some(Order::Cancel(id)) => self.cancel(id),
                    Some(Order::Drop(id)) => self.drop_task(id),
                    None => return End::Dismissed,
                },
                () = until(overdue) => return End::Disobedient,
            }
        }
    }

    /// Lets it finish what it has, without any more; until it ends by itself or has nothing left but what it does not
    /// drop.
    pub(super) async fn finish(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) {
        for job in self.held.drain(..) {
            let _ = job.outcome.send(Outcome::Released);
        }
        while !self.jobs.is_empty() {
            tokio::select! {
                message = self.next() => match message {
                    Ok(message) => self.heed(message),
                    Err(End::Broken(why)) => return self.lose(&why),
                    Err(_) => return,
                },
                order = orders.recv() => match order {
                    Some(Order::Run(job)) => {
                        let _ = job.outcome.send(Outcome::Released);
                    }
                    Some(Order::Cancel(id)) => self.cancel(id),
                    Some(Order::Drop(id)) => {
                        self.jobs.remove(&id);
                    }
                    None => return,
                },
            }
        }
    }

    /// It is gone, and with it what it worked on.
    pub(super) fn lose(&mut self, why: &str) {
        for (_, job) in self.jobs.drain() {
            let error = format!("the handler's process went away: {why}");
            let _ = job.outcome.send(Outcome::Lost { error });
        }
        for job in self.held.drain(..) {
            let _ = job.outcome.send(Outcome::Released);
        }
    }

    fn run(&mut self, job: Job) {
        if self.dropped.contains_key(&job.task.id) {
            // Its answer would be taken for that of the attempt before.
            self.held.push(job);
            return;
        }
        // Fails only when the child is gone, which is told where it is read.
        let _ = self.writer.send(message::task(&job.task));
        self.jobs.insert(job.task.id, job);
    }

    fn cancel(&self, id: TaskId) {
        if self.jobs.contains_key(&id) {
            let _ = self.writer.send(message::cancel(id));
        }
    }

    fn drop_task(&mut self, id: TaskId) {
        self.held.retain(|job| job.task.id != id);
        self.cancel(id);
        if self.jobs.remove(&id).is_some() {
            self.dropped.insert(id, Instant::now() + OBEY);
        }
    }

    fn heed(&mut self, message: Message) {
        match message {
            Message::Ready {} => {}
            Message::Done { id, result } => {
                let result = result.map(|result| Payload::json(result.get()));
                let outcome = match result.transpose() {
                    Ok(result) => Outcome::Completed(result),
                    Err(error) => Outcome::Dead {
                        error: format!("the result cannot be stored: {error}"),
                    },
                };
                self.end(id, outcome);
            }
            Message::Retry { id, error, seconds } => {
                let after = seconds.map(message::span);
                self.end(id, Outcome::Retry { error, after });
            }
            Message::Dead { id, error } => self.end(id, Outcome::Dead { error }),
            Message::Snooze { id, seconds } => {
                let after = message::span(seconds);
                self.end(id, Outcome::Snoozed { after });
            }
            Message::Progress { id, progress } => {
                if let Some(job) = self.jobs.get(&id)
                    && let Err(error) = job.task.progress(&progress)
                {
                    tracing::warn!(id = %id, %error, "progress not taken");
                }
            }
            Message::Log { id, line } => {
                if let Some(job) = self.jobs.get(&id) {
                    job.task.log(&line);
                }
            }
            Message::Extend { id, seconds } => {
                if let Some(job) = self.jobs.get(&id) {
                    job.task.extend(message::span(seconds));
                }
            }
        }
    }

    /// The child is through with a task.
    fn end(&mut self, id: TaskId, outcome: Outcome) {
        if let Some(job) = self.jobs.remove(&id) {
            // Nobody waits for it any more if its attempt has just been cut off.
            let _ = job.outcome.send(outcome);
        } else if self.dropped.remove(&id).is_some()
            && let Some(place) = self.held.iter().position(|job| job.task.id == id)
        {
            let job = self.held.swap_remove(place);
            self.run(job);
        }
    }

    /// The next message, or why there are no more.
    async fn next(&mut self) -> Result<Message, End> {
        match self.lines.next().await {
            Some(Ok(line)) => Message::parse(&line).map_err(|error| End::Broken(error.to_string())),
            Some(Err(LinesCodecError::MaxLineLengthExceeded)) => Err(End::Broken(format!(
                "it wrote a line of more than {MOST_LINE_BYTES} bytes"
            ))),
            Some(Err(LinesCodecError::Io(error))) => Err(End::Broken(format!(
                "its standard output cannot be read: {error}"
            ))),
            None => Err(End::Broken(self.last_words().await)),
        }
    }

    /// It has closed its standard output: how it ended, and what it said last.
    async fn last_words(&mut self) -> String {
        let exited = tokio::time::timeout(LAST_WORDS, self.running.exited()).await;
        let how = match exited {
            Ok(Ok(status)) => describe(status),
            Ok(Err(error)) => format!("it cannot be waited for: {error}"),
            Err(_) => "it closed its standard output".to_owned(),
        };
        let said = tokio::time::timeout(LAST_WORDS, &mut self.complaining).await;
        match said {
            Ok(Ok(words)) if !words.is_empty() => format!("{how}: {words}"),
            _ => how,
        }
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with exit status {code}"),
        (None, Some(signal)) => format!(
            "it was killed by {}",
            nix::sys::signal::Signal::try_from(signal)
                .map_or_else(|_| format!("signal {signal}"), |signal| signal.to_string())
        ),
        (None, None) => format!("it ended ({status})"),
    }
}

/// Writes what there is to write, many lines at once where there are many.
async fn write(mut stdin: ChildStdin, mut lines: mpsc::UnboundedReceiver<Vec<u8>>) {
    let mut waiting = Vec::new();
    while lines.recv_many(&mut waiting, 256).await > 0 {
        let bytes = waiting.concat();
        waiting.clear();
        if let Err(error) = stdin.write_all(&bytes).await {
            // The child has closed its input, so it has ended, or will never answer: the attempts run into their time.
            tracing::debug!(%error, "cannot write to a handler's process");
            return;
        }
    }
}

/// Logs what a child writes to standard error, and returns its last words.
async fn complain(stderr: Option<ChildStderr>, pid: i32) -> String {
    let mut complaint = Complaint::new(Instant::now());
    let log = |line: &str| tracing::info!(target: "handler", pid, "{line}");
    drain(stderr, |piece| complaint.push(piece, Instant::now(), log)).await;
    let suppressed = complaint.finish(Instant::now(), log);
    if suppressed > 0 {
        tracing::warn!(pid, lines = suppressed, "lines of stderr not logged");
    }
    complaint.last_words()
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}
