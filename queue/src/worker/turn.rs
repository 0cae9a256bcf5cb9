//! The worker's loop: what is done when. The round trip itself is in `deliver`, the end in `drain`.
//!
//! One round trip carries the acks of what has ended and brings as many tasks as there are free
//! slots; while it is under way more attempts end, and so batches form by themselves, with no wait
//! built in. With many slots up to four are under way at a time, each for a part of them, so that
//! neither Redis nor the worker waits for the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::attempt::{Delivery, Shop};
use super::deliver::Flight;
use super::outbox::Outbox;
use super::session::{Session, Vitals};
use super::sleep::{LONGEST, Sleeper};
use super::{Handler, Report, Settings};
use crate::lease::Leased;
use crate::record::Site;
use crate::{Error, Queue, TaskId, WorkerId};

/// The loop turns at least this often, so that its turning shows that it is alive.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// The wait after a call that failed; it doubles up to the longest, so that work resumes within two
/// seconds of the return of Redis.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// With fewer slots than this, one round trip asks for all of them.
const LEAST_SHARED: usize = 16;
/// Most round trips under way at a time. With two, the answer to one must be worked off before Redis
/// is done with the other, or Redis has to wait.
const MOST_FLIGHTS: usize = 4;
/// More than two only while each is for so many tasks: smaller ones cost Redis more than the wait.
const FAIR_SHARE: usize = 25;

/// A running worker.
pub(super) struct Turner<H> {
    pub(super) queue: Queue,
    pub(super) settings: Settings,
    pub(super) vitals: Vitals,
    pub(super) stop: CancellationToken,
    /// `None` from the loss of one lease until the next registration.
    pub(super) session: Option<Session>,
    pub(super) outbox: Outbox,
    /// Attempts under the lease in force.
    pub(super) running: HashMap<TaskId, Running>,
    /// Tasks that run with nothing beside them.
    pub(super) apart: Apart,
    /// Attempts that outlived their lease. They fill slots, and nobody wants to know how they end.
    pub(super) strays: HashMap<(WorkerId, TaskId), JoinHandle<()>>,
    pub(super) report: Report,
    pub(super) shop: Arc<Shop<H>>,
    pub(super) flying: Flying,
    pub(super) ended: UnboundedReceiver<Delivery>,
    /// When slots were looked through last, see `slots`.
    pub(super) looked: Instant,
    sleeper: Sleeper,
    pub(super) mind: Mind,
    /// It drains: Redis gives it nothing, so it neither asks nor blocks.
    draining: bool,
    pause: Duration,
    /// No call before this time: the last one failed.
    not_before: Option<Instant>,
}

/// An attempt that runs.
pub(super) struct Running {
    pub(super) handle: JoinHandle<()>,
    /// Since when, by the clock of Redis.
    pub(super) since_ms: u64,
}

/// Tasks whose next loss would be the last. Whoever ran beside them when a worker died may have been
/// the cause: alone, a task that is harmless cannot be blamed for another.
#[derive(Default)]
pub(super) struct Apart {
    /// Leased, and waiting until nothing else runs. One only: what a worker holds when it dies has
    /// lost it, whether it ran or not.
    pub(super) waiting: Option<Leased>,
    /// One of them runs.
    pub(super) running: bool,
}

impl Apart {
    /// Whether one of them runs, or waits to.
    pub(super) fn taken(&self) -> bool {
        self.running || self.waiting.is_some()
    }
}

/// The round trips under way.
#[derive(Default)]
pub(super) struct Flying {
    pub(super) flights: FuturesUnordered<Flight>,
    /// How many tasks they ask for.
    pub(super) slots: usize,
    /// How many of them may make Redis count this worker among those that block.
    pub(super) listening: usize,
}

/// Whether a fetch may bring something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Supply {
    /// Something may have changed since the last fetch.
    #[default]
    Unknown,
    /// The last fetch brought fewer tasks than it asked for: the queue had no more, or is paused.
    Dry,
    /// It brought all that it asked for.
    Plenty,
}

/// What the worker believes of the queue, from the last answer.
#[derive(Debug, Default)]
pub(super) struct Mind {
    /// An answer was lost that may have leased tasks.
    pub(super) unsure: bool,
    pub(super) supply: Supply,
    /// Redis counts this worker among those that block.
    pub(super) listed: bool,
    /// The token that woke it, until an exchange has carried it.
    pub(super) token: Option<String>,
    /// When the next scheduled task is due.
    pub(super) next_due: Option<Instant>,
}

impl<H: Handler> Turner<H> {
    /// Registers the worker, waiting for Redis if need be. `None` if it was stopped meanwhile; an
    /// error is one that waiting cannot heal.
    pub(super) async fn start(
        queue: Queue,
        handler: H,
        settings: Settings,
        vitals: Vitals,
        stop: CancellationToken,
    ) -> Result<Option<Self>, Error> {
        let mut pause = FIRST_PAUSE;
        let session = loop {
            let opened = Session::open(&queue, &settings, &vitals)
                .await
                .map_err(Error::from);
            vitals.note(&opened);
            vitals.probe.turned(0);
            match opened {
                Ok(session) => break session,
                Err(error) if !error.is_final() => {
                    tracing::warn!(queue = %queue.name(), %error, "waiting for Redis");
                    tokio::select! {
                        () = stop.cancelled() => return Ok(None),
                        () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                    }
                }
                Err(error) => return Err(error),
            }
        };
        let (sender, ended) = unbounded_channel();
        let workshop = Shop {
            queue: queue.clone(),
            handler,
            observer: Arc::clone(&vitals.observer),
            site: Site::of(&settings.info.pod, &settings.info.node),
            ended: sender,
        };
        Ok(Some(Self {
            sleeper: Sleeper::new(&queue),
            queue,
            settings,
            vitals,
            stop,
            session: Some(session),
            outbox: Outbox::default(),
            running: HashMap::new(),
            apart: Apart::default(),
            strays: HashMap::new(),
            report: Report::default(),
            shop: Arc::new(workshop),
            flying: Flying::default(),
            ended,
            looked: Instant::now(),
            mind: Mind::default(),
            draining: false,
            pause: FIRST_PAUSE,
            not_before: None,
        }))
    }

    /// Fetches and runs tasks until told to stop.
    pub(super) async fn work(&mut self) {
        while !self.stop.is_cancelled() {
            self.turned();
            self.collect().await;
            self.notice_loss();
            self.notice_draining();
            self.run_apart();
            if self.may_call() {
                if self.session.is_none() {
                    self.register_anew().await;
                    continue;
                }
                if self.mind.unsure {
                    // What is under way may bring what is asked for.
                    self.land_all().await;
                    if self.may_call() {
                        self.make_sure().await;
                    }
                    continue;
                }
                if self.should_launch() {
                    self.launch(self.slots());
                    continue;
                }
                if self.flying.flights.is_empty()
                    && self.mind.supply == Supply::Dry
                    && self.slots() > 0
                {
                    let due = self.mind.next_due;
                    let until_due = due.map(|due| due.saturating_duration_since(Instant::now()));
                    self.sleeper.begin(until_due.unwrap_or(LONGEST));
                }
            }
            let stop = self.stop.clone();
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                Some(landing) = self.flying.flights.next() => {
                    self.land(landing);
                    // Short attempts end before anything else is looked at, and so are acked
                    // together.
                    tokio::task::yield_now().await;
                }
                woken = self.sleeper.woken() => self.woken(woken),
                () = told(self.session.as_ref(), !self.draining) => {}
                delivery = next(&mut self.ended, self.session.as_ref(), self.not_before) => {
                    self.put_any(delivery);
                }
            }
        }
    }

    /// Whether to make a round trip now. A further one only for a good part of the slots, for small
    /// ones are better off together with the next; and not to ask a queue that has no more.
    fn should_launch(&self) -> bool {
        let wanted = if self.hungry() && self.slots() > 0 {
            self.free()
        } else {
            0
        };
        match self.flying.flights.len() {
            0 => !self.outbox.is_empty() || wanted > 0 || self.mind.token.is_some(),
            1..MOST_FLIGHTS => {
                let plenty = self.mind.supply == Supply::Plenty;
                let wanted = if plenty { wanted } else { 0 };
                self.share() < self.settings.concurrency
                    && wanted.max(self.outbox.len()) >= self.share()
            }
            _ => false,
        }
    }

    /// How many tasks the next round trip asks for.
    fn slots(&self) -> usize {
        let alone = self.apart.taken();
        if self.draining || alone || !self.shop.handler.available() {
            return 0;
        }
        self.free().min(self.share())
    }

    /// Most tasks that one round trip asks for.
    fn share(&self) -> usize {
        share_of(self.settings.concurrency)
    }

    pub(super) fn turned(&mut self) {
        self.free_silent_slots();
        self.vitals
            .probe
            .turned(self.running.len() + self.strays.len());
        self.vitals.observer.loop_turned();
    }

    /// Waits until there may be something to do: an attempt has ended, the lease is lost, a call
    /// may be tried again, or a second is over.
    pub(super) async fn wait(&mut self) {
        let delivery = next(&mut self.ended, self.session.as_ref(), self.not_before).await;
        self.put_any(delivery);
    }

    /// Takes in every attempt that has ended, and those that end meanwhile.
    pub(super) async fn collect(&mut self) {
        loop {
            let before = self.running.len();
            while let Ok(delivery) = self.ended.try_recv() {
                self.put(delivery);
            }
            if self.running.is_empty() || self.running.len() == before {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Whether the last call did not just fail.
    pub(super) fn may_call(&mut self) -> bool {
        if self.not_before.is_some_and(|at| at > Instant::now()) {
            return false;
        }
        self.not_before = None;
        true
    }

    /// A call failed: the next one waits a little.
    pub(super) fn back_off(&mut self) {
        self.not_before = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// A call got through.
    pub(super) fn recovered(&mut self) {
        self.pause = FIRST_PAUSE;
        self.not_before = None;
    }

    /// If the heartbeat has found the lease lost, so has the worker.
    pub(super) fn notice_loss(&mut self) {
        if self
            .session
            .as_ref()
            .is_some_and(|session| session.lease.lost().is_cancelled())
        {
            self.lose(0);
        }
    }

    /// What the worker was told of draining, with its heartbeat or by an exchange.
    fn notice_draining(&mut self) {
        let draining = self
            .session
            .as_ref()
            .is_some_and(|session| session.lease.is_draining());
        if self.draining != draining {
            self.shop.handler.draining(draining);
        }
        if self.draining && !draining {
            // Meanwhile nobody told it of anything.
            self.mind.supply = Supply::Unknown;
        }
        self.draining = draining;
    }

    /// The lease is lost. What ran under it will be refused, so Redis is told none of it; `refused`
    /// acks are known to be lost already.
    pub(super) fn lose(&mut self, refused: usize) {
        let Some(session) = self.session.take() else {
            return;
        };
        session.lease.lost().cancel();
        let worker = session.lease.worker();
        let waiting = usize::from(std::mem::take(&mut self.apart).waiting.is_some());
        let dropped = refused + self.running.len() + self.outbox.len() + waiting;
        let running = self.running.drain();
        self.strays
            .extend(running.map(|(task, running)| ((worker, task), running.handle)));
        self.outbox.clear();
        self.mind = Mind::default();
        self.note_lost(dropped);
        tracing::warn!(queue = %self.queue.name(), %worker, dropped, "lease lost");
    }

    async fn register_anew(&mut self) {
        match Session::open(&self.queue, &self.settings, &self.vitals).await {
            Ok(session) => self.session = Some(session),
            Err(fault) => self.note_fault(fault),
        }
    }

    fn put_any(&mut self, delivery: Option<Delivery>) {
        if let Some(delivery) = delivery {
            self.put(delivery);
        }
    }

    pub(super) fn put(&mut self, delivery: Delivery) {
        let id = delivery.message.id();
        if self.worker_id() == Some(delivery.worker) {
            self.running.remove(&id);
            self.outbox.put(delivery.message);
        } else {
            self.strays.remove(&(delivery.worker, id));
        }
    }

    fn woken(&mut self, woken: Result<Option<String>, Error>) {
        self.mind.supply = Supply::Unknown;
        match woken {
            Ok(token) => self.mind.token = token,
            Err(error) => {
                tracing::debug!(%error, "blocking for work failed");
                self.back_off();
            }
        }
    }

    /// Slots in which nothing runs, and for which nothing was asked.
    pub(super) fn free(&self) -> usize {
        let taken = self.running.len() + self.strays.len() + self.flying.slots;
        self.settings.concurrency.saturating_sub(taken)
    }

    /// Whether a fetch may bring something.
    fn hungry(&self) -> bool {
        !self.draining && (self.mind.token.is_some() || self.mind.supply != Supply::Dry)
    }
}

/// Most tasks that one round trip of a worker with so many slots asks for.
fn share_of(slots: usize) -> usize {
    if slots < LEAST_SHARED {
        return slots;
    }
    let half = slots.div_ceil(2);
    (slots / MOST_FLIGHTS).max(half.min(FAIR_SHARE))
}

/// Resolves when this is what the worker was told of draining.
async fn told(session: Option<&Session>, draining: bool) {
    match session {
        Some(session) => session.lease.draining_is(draining).await,
        None => std::future::pending().await,
    }
}

/// The next attempt to end; or `None` when the lease is lost, a call may be tried again, or a
/// second is over. A function of parts of the worker, so that another part can be waited on beside
/// it.
async fn next(
    ended: &mut UnboundedReceiver<Delivery>,
    session: Option<&Session>,
    not_before: Option<Instant>,
) -> Option<Delivery> {
    let until = not_before.unwrap_or_else(|| Instant::now() + TICK);
    let lost = async {
        match session {
            Some(session) => session.lease.is_lost().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        delivery = ended.recv() => delivery,
        () = lost => None,
        () = tokio::time::sleep_until(until.into()) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_slots_are_asked_for_at_once_and_many_in_parts_that_are_worth_a_round_trip() {
        let shares = [1, 15, 16, 20, 49, 50, 64, 100, 1_000].map(share_of);
        assert_eq!(shares, [1, 15, 8, 10, 25, 25, 25, 25, 250]);
    }
}
