//! One child: told its tasks and heard, from its start until it ends or is given up.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use futures::StreamExt;
use taskqueue_queue::TaskId;
use taskqueue_queue::worker::Outcome;
use tokio::process::{ChildStderr, ChildStdout};
use tokio::sync::mpsc;
use tokio_util::codec::FramedRead;

use super::input::{Input, Unread};
use super::jobs::{Job, Jobs};
use super::lines::{ENDLESS_BYTES, Line, Lines};
use super::message::{self, Message};
use super::reading::{Odd, Reading, Said};
use crate::process::{Allowance, Complaint, Running, Streams, drain};

/// How long a child may take to end by itself once it can write no more, and how long its last lines are read: what it
/// has started may keep its standard output open.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A child that ends closes its standard input a little before.
const DYING: Duration = Duration::from_millis(250);
/// How much is logged of one odd line.
const MOST_TOLD_BYTES: usize = 2048;
/// How long a child that has written something else may take until it is ready, before that is told.
const WONDER: Duration = Duration::from_secs(2);

/// What a child is told.
pub(super) enum Order {
    /// To run a task.
    Run(Box<Job>),
    /// To run many, which it is told in one line.
    RunTogether(Vec<Job>),
    /// To end a task soon.
    Cancel(TaskId),
    /// Nobody waits for this task any more.
    Drop(TaskId),
}

impl Order {
    /// It is not heard any more: what was to run is handed back.
    pub(super) fn refuse(self) {
        match self {
            Self::Run(job) => job.end(Outcome::Released),
            Self::RunTogether(jobs) => {
                for job in jobs {
                    job.end(Outcome::Released);
                }
            }
            Self::Cancel(_) | Self::Drop(_) => {}
        }
    }
}

/// How a child came to its end.
#[derive(Debug)]
pub(super) enum End {
    /// It wrote what cannot be read.
    Broken(String),
    /// It has ended, or closed its standard output.
    Over,
    /// It takes no more tasks, for this reason, and may finish those that it has.
    Deaf(&'static str),
    /// It goes on with a task that it was told to drop, and is to get no more.
    Disobedient,
    /// Nobody gives it tasks any more.
    Dismissed,
}

/// A running child.
pub(super) struct Child {
    running: Running,
    pid: i32,
    lines: FramedRead<ChildStdout, Lines>,
    input: Input,
    complaining: tokio::task::JoinHandle<String>,
    pub(super) jobs: Jobs,
    unread: Unread,
    /// What it has said in its last line and is not heeded yet.
    said: Said,
    /// How it ended, and until when its last lines are read; once it has.
    ended: Option<(ExitStatus, Instant)>,
    /// When it is told that it closed its standard input, unless it ends before; once it has.
    closing: Option<Instant>,
    /// It was told.
    deaf: bool,
    /// It is told its tasks in batches, also one that comes by itself.
    together: bool,
    /// How many odd lines of it are logged.
    allowance: Allowance,
    suppressed: u64,
}

impl Child {
    /// Attends to a child that has just started; `None` if it lacks one of its streams.
    pub(super) fn new(running: Running, streams: Streams) -> Option<Self> {
        let pid = running.pid().unwrap_or_default();
        Some(Self {
            running,
            pid,
            lines: FramedRead::with_capacity(streams.stdout?, Lines::default(), 64 * 1024),
            input: Input::new(streams.stdin?).ok()?,
            complaining: tokio::spawn(complain(streams.stderr, pid)),
            jobs: Jobs::default(),
            unread: Unread::default(),
            said: Said::default(),
            ended: None,
            closing: None,
            deaf: false,
            together: false,
            allowance: Allowance::new(Instant::now()),
            suppressed: 0,
        })
    }

    /// Waits until it says that it is ready. If it has said something else and is not ready soon, `told` is told.
    pub(super) async fn ready(&mut self, mut told: impl FnMut(&str)) -> Result<(), End> {
        let mut wonder: Option<(Instant, String)> = None;
        loop {
            let reading = tokio::select! {
                reading = self.next() => reading?,
                () = until(wonder.as_ref().map(|(at, _)| *at)) => {
                    if let Some((_, why)) = wonder.take() {
                        told(&why);
                    }
                    continue;
                }
            };
            let why = match reading {
                Reading::Message(Message::Ready {}) | Reading::Mended(Message::Ready {}, _) => {
                    return Ok(());
                }
                Reading::Message(_) | Reading::Mended(..) => {
                    "it wrote of a task before it was ready".to_owned()
                }
                Reading::Odd(Odd { why, .. }) | Reading::Stray(why) => why,
            };
            self.tell(&why);
            wonder.get_or_insert((Instant::now() + WONDER, why));
        }
    }

    /// Gives it the tasks that are ordered, until it ends.
    pub(super) async fn serve(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) -> End {
        let mut looked = Instant::now();
        loop {
            let overdue = self.jobs.overdue();
            let look = looked + self.jobs.pace();
            // In no order: a child that never stops writing must not keep the others from being looked at.
            tokio::select! {
                reading = self.next() => match reading {
                    Ok(reading) => self.heed(reading),
                    Err(end) => return end,
                },
                order = orders.recv() => match order {
                    Some(Order::Run(job)) => self.run(*job),
                    Some(Order::RunTogether(jobs)) => self.run_together(jobs),
                    Some(Order::Cancel(id)) => self.cancel(id),
                    Some(Order::Drop(id)) => drop(self.drop_task(id)),
                    None => return End::Dismissed,
                },
                () = until(overdue) => return End::Disobedient,
                () = until(Some(look)), if self.jobs.any() => {
                    looked = Instant::now();
                    if self.look(looked) {
                        self.deaf = true;
                        return End::Deaf("it does not read its standard input");
                    }
                }
            }
        }
    }

    /// Looks what it has read: the time of what it has not does not run. Tells whether it reads nothing for too long.
    fn look(&mut self, now: Instant) -> bool {
        let read = self.input.read();
        self.jobs.put_off(read, now);
        let idle = self.jobs.all_unread(read);
        self.unread.look(read, idle, now)
    }

    /// Lets it finish what it has, without any more; until it ends by itself or has nothing left but what it does not
    /// drop.
    pub(super) async fn finish(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) {
        if self.deaf {
            let read = self.input.stop().await;
            self.jobs.hand_back(read);
        } else {
            self.jobs.hand_back(u64::MAX);
        }
        let mut looked = Instant::now();
        while !self.jobs.is_empty() {
            let look = looked + self.jobs.pace();
            tokio::select! {
                reading = self.next() => match reading {
                    Ok(reading) => self.heed(reading),
                    Err(End::Deaf(_)) => {}
                    Err(end) => {
                        let why = self.explain(end).await;
                        return self.lose(&why).await;
                    }
                },
                order = orders.recv() => match order {
                    Some(order @ (Order::Run(_) | Order::RunTogether(_))) => order.refuse(),
                    Some(Order::Cancel(id)) => self.cancel(id),
                    Some(Order::Drop(id)) => self.jobs.forget(id),
                    None => return,
                },
                () = until(Some(look)) => {
                    looked = Instant::now();
                    if self.look(looked) {
                        let read = self.input.stop().await;
                        self.jobs.hand_back(read);
                    }
                }
            }
        }
    }

    /// It is gone, and with it what it worked on. What it has not read was never given to it.
    pub(super) async fn lose(&mut self, why: &str) {
        let read = self.input.stop().await;
        self.jobs.lose(read, why);
    }

    /// Why it takes no more tasks.
    pub(super) async fn explain(&mut self, end: End) -> String {
        match end {
            End::Broken(why) => why,
            End::Over => self.last_words().await,
            End::Deaf(why) => why.to_owned(),
            End::Disobedient | End::Dismissed => "it is not needed any more".to_owned(),
        }
    }

    /// Gives it a task.
    pub(super) fn run(&mut self, job: Job) {
        if self.jobs.is_dropped(job.task.id) {
            self.jobs.hold(job);
            return;
        }
        let line = if self.together {
            message::batch(&[&job.task])
        } else {
            message::task(&job.task)
        };
        let at = self.input.send(line);
        self.jobs.give(job, at, Instant::now());
    }

    /// Gives it many tasks in one line, without those that it has not dropped yet.
    fn run_together(&mut self, jobs: Vec<Job>) {
        self.together = true;
        let mut given = Vec::new();
        for job in jobs {
            if self.jobs.is_dropped(job.task.id) {
                self.jobs.hold(job);
            } else {
                given.push(job);
            }
        }
        if given.is_empty() {
            return;
        }
        let tasks: Vec<_> = given.iter().map(|job| &job.task).collect();
        let at = self.input.send(message::batch(&tasks));
        let now = Instant::now();
        for job in given {
            self.jobs.give(job, at, now);
        }
    }

    fn cancel(&mut self, id: TaskId) {
        if self.jobs.get(id).is_some() {
            self.input.send(message::cancel(id));
        }
    }

    /// Takes a task from it.
    pub(super) fn drop_task(&mut self, id: TaskId) -> Option<Job> {
        self.cancel(id);
        self.jobs.drop_task(id, Instant::now())
    }

    /// Logs what is odd about what it writes; a bounded share of it.
    pub(super) fn tell(&mut self, what: &str) {
        if self.allowance.take(Instant::now()) {
            let suppressed = std::mem::take(&mut self.suppressed);
            let what = &what[..what.floor_char_boundary(MOST_TOLD_BYTES)];
            tracing::warn!(pid = self.pid, suppressed, "the handler's process: {what}");
        } else {
            self.suppressed += 1;
        }
    }

    /// The next that it says, or why there is no more.
    async fn next(&mut self) -> Result<Reading, End> {
        loop {
            if let Some(reading) = self.said.next() {
                return Ok(reading);
            }
            let ended = self.ended.map(|(_, until)| until);
            let closing = self.closing.filter(|_| !self.deaf);
            tokio::select! {
                line = self.lines.next() => match line {
                    Some(Ok(Line::Endless)) => return Err(End::Broken(format!(
                        "it wrote a line of more than {ENDLESS_BYTES} bytes"
                    ))),
                    Some(Ok(line)) => self.said = Said::by(&line),
                    Some(Err(error)) => return Err(End::Broken(format!(
                        "its standard output cannot be read: {error}"
                    ))),
                    None => return Err(End::Over),
                },
                () = until(ended) => return Err(End::Over),
                status = self.running.exited(), if ended.is_none() => match status {
                    Ok(status) => self.ended = Some((status, Instant::now() + LAST_WORDS)),
                    Err(error) => return Err(End::Broken(format!("it cannot be waited for: {error}"))),
                },
                () = until(closing), if ended.is_none() => {
                    self.deaf = true;
                    return Err(End::Deaf("it has closed its standard input"));
                }
                () = self.input.closed(), if self.closing.is_none() => {
                    self.closing = Some(Instant::now() + DYING);
                }
            }
        }
    }

    /// It has ended or closed its standard output: how it ended, and what it said last.
    async fn last_words(&mut self) -> String {
        if self.ended.is_none()
            && let Ok(Ok(status)) = tokio::time::timeout(LAST_WORDS, self.running.exited()).await
        {
            self.ended = Some((status, Instant::now()));
        }
        let how = match self.ended {
            Some((status, _)) => format!("it {}", self.running.ending(status)),
            None => "it closed its standard output".to_owned(),
        };
        let said = tokio::time::timeout(LAST_WORDS, &mut self.complaining).await;
        match said {
            Ok(Ok(words)) if !words.is_empty() => format!("{how}: {words}"),
            _ => how,
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
