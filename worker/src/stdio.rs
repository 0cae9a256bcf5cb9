//! The `stdio` handler: long-lived children that get tasks as JSON lines on standard input, several at once, and answer
//! with JSON lines on standard output (the messages are in [`message`]). What they write to standard error goes to the
//! log.
//!
//! A child that ends loses the tasks that it had: they are handed back, which costs no attempt, and each that it had read
//! counts a loss. It is started again after a pause that grows. A child that goes on with a task that it was told to drop,
//! or that closes its standard input, finishes its others, and is killed then, while another takes its place. A line that
//! is no message costs the task that it names, or nobody.

mod batch;
mod child;
pub(crate) mod heed;
mod input;
mod jobs;
pub(crate) mod lines;
pub(crate) mod message;
pub(crate) mod named;
pub(crate) mod reading;
mod repair;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use taskqueue_queue::TaskId;
use taskqueue_queue::worker::{Handler, LeasedTask, Outcome};
use tokio::sync::{mpsc, oneshot};

use crate::fault::Fault;
use crate::process::Launcher;
use child::{Child, End, Order};
use jobs::Job;

/// How long a child may take until it is ready.
const READY_BOUND: Duration = Duration::from_mins(1);
/// The pause before a child is started again; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A child that was ready for this long starts the pauses anew.
const PROVEN: Duration = Duration::from_secs(10);

/// The `stdio` handler.
#[derive(Clone, Debug)]
pub struct Stdio {
    places: Arc<[Place]>,
    launcher: Launcher,
    fault: Fault,
}

/// Where one child runs at a time.
#[derive(Debug, Default)]
struct Place {
    /// To the child, while there is one that takes tasks.
    orders: Mutex<Option<mpsc::UnboundedSender<Order>>>,
    ready: AtomicBool,
    /// Tasks that it has.
    load: AtomicUsize,
}

impl Stdio {
    /// A handler with so many children at a time. None is started before [`run`](Self::run).
    pub(crate) fn new(launcher: Launcher, processes: usize, fault: Fault) -> Self {
        Self {
            places: (0..processes).map(|_| Place::default()).collect(),
            launcher,
            fault,
        }
    }

    /// Whether any child takes tasks.
    pub(crate) fn is_ready(&self) -> bool {
        let mut places = self.places.iter();
        places.any(|place| place.ready.load(Ordering::Relaxed))
    }

    /// Keeps the children running, for as long as this future is polled.
    pub(crate) async fn run(&self) {
        let places = self.places.iter().map(|place| self.keep(place));
        futures::future::join_all(places).await;
    }

    /// Keeps the child of a place running.
    async fn keep(&self, place: &Place) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let proven = match self.start(place).await {
                Ok(ready) => ready.elapsed() >= PROVEN,
                Err(reason) => {
                    self.takes_none(&reason);
                    false
                }
            };
            if proven {
                pause = FIRST_PAUSE;
            }
            tracing::info!(after = ?began.elapsed(), ?pause, "starting the handler's process again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Runs one child, until it takes no more tasks. Returns since when it was ready if that was no fault of its own.
    async fn start(&self, place: &Place) -> Result<Instant, String> {
        let (running, streams) = self.launcher.start([]).map_err(|error| {
            format!(
                "{} cannot be started: {error}",
                self.launcher.program().display()
            )
        })?;
        let mut child = Child::new(running, streams).ok_or("it has no streams")?;
        let ready = child.ready(|why| self.takes_none(why));
        let ready = tokio::time::timeout(READY_BOUND, ready).await;
        match ready {
            Ok(Ok(())) => {}
            Ok(Err(end)) => return Err(child.explain(end).await),
            Err(_) => {
                let seconds = READY_BOUND.as_secs();
                return Err(format!(
                    "it has not written {{\"ready\":{{}}}} within {seconds} s"
                ));
            }
        }
        let since = Instant::now();
        let (sender, mut orders) = mpsc::unbounded_channel();
        place.open(sender);
        self.fault.clear();
        let end = child.serve(&mut orders).await;
        place.close();
        match end {
            End::Broken(_) | End::Over => {
                let why = child.explain(end).await;
                child.lose(&why).await;
                hand_back(orders);
                self.gone(since, why)
            }
            End::Deaf(why) => {
                tokio::spawn(async move { child.finish(&mut orders).await });
                self.gone(since, why.to_owned())
            }
            End::Disobedient => {
                tracing::warn!(
                    "the handler's process goes on with a task that it was told to drop: it gets no more, and is killed when its others are done"
                );
                tokio::spawn(async move { child.finish(&mut orders).await });
                Ok(since)
            }
            End::Dismissed => Ok(since),
        }
    }

    /// A child that was ready takes no more tasks.
    fn gone(&self, since: Instant, why: String) -> Result<Instant, String> {
        if since.elapsed() < PROVEN {
            return Err(why);
        }
        let why = format!("the handler's process went away: {why}");
        // Perhaps it is what was told last.
        tracing::error!("{why}");
        self.fault.set(why);
        Ok(since)
    }

    fn takes_none(&self, reason: &str) {
        self.fault
            .set(format!("the handler's process takes no tasks: {reason}"));
    }

    /// The child that takes tasks and has the fewest, and where its orders go.
    fn least_busy(&self) -> Option<(&Place, mpsc::UnboundedSender<Order>)> {
        let ready = |place: &&Place| place.ready.load(Ordering::Relaxed);
        let places = self.places.iter().filter(ready);
        let place = places.min_by_key(|place| place.load.load(Ordering::Relaxed))?;
        Some((place, place.sender()?))
    }
}

/// What was ordered of a child that is gone.
fn hand_back(mut orders: mpsc::UnboundedReceiver<Order>) {
    orders.close();
    while let Ok(order) = orders.try_recv() {
        order.refuse();
    }
}

impl Place {
    fn open(&self, sender: mpsc::UnboundedSender<Order>) {
        *self.lock() = Some(sender);
        self.ready.store(true, Ordering::Relaxed);
    }

    fn close(&self) {
        self.ready.store(false, Ordering::Relaxed);
        *self.lock() = None;
    }

    fn sender(&self) -> Option<mpsc::UnboundedSender<Order>> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<mpsc::UnboundedSender<Order>>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for Stdio {
    async fn handle(&self, task: LeasedTask) -> Outcome {
        let Some((place, orders)) = self.least_busy() else {
            return Outcome::Released;
        };
        let (sender, outcome) = oneshot::channel();
        let mut waiting = Waiting::new(task.id, orders.clone(), place);
        let job = Box::new(Job {
            task: task.clone(),
            outcome: sender,
        });
        if orders.send(Order::Run(job)).is_err() {
            waiting.over = true;
            return Outcome::Released;
        }
        waiting.outcome(&task, outcome).await
    }

    fn available(&self) -> bool {
        self.is_ready()
    }
}

/// Somebody waits for the outcome of a task. Dropped before it came, it has the child drop the task.
struct Waiting<'a> {
    id: TaskId,
    orders: mpsc::UnboundedSender<Order>,
    place: &'a Place,
    over: bool,
}

impl<'a> Waiting<'a> {
    fn new(id: TaskId, orders: mpsc::UnboundedSender<Order>, place: &'a Place) -> Self {
        place.load.fetch_add(1, Ordering::Relaxed);
        Self {
            id,
            orders,
            place,
            over: false,
        }
    }

    /// Waits until the child is through with the task.
    async fn outcome(
        mut self,
        task: &LeasedTask,
        mut outcome: oneshot::Receiver<Outcome>,
    ) -> Outcome {
        let mut cancelled = false;
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut outcome => break outcome,
                // The task may be running elsewhere by now.
                () = task.lease_lost() => return Outcome::Released,
                // It has some seconds to end by itself.
                () = task.cancelled(), if !cancelled => {
                    cancelled = true;
                    let _ = self.orders.send(Order::Cancel(task.id));
                }
            }
        };
        self.over = true;
        outcome.unwrap_or(Outcome::Released)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.place.load.fetch_sub(1, Ordering::Relaxed);
        if !self.over {
            let _ = self.orders.send(Order::Drop(self.id));
        }
    }
}
