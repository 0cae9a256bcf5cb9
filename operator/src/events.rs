//! Kubernetes Events: what happened, with the numbers in it.
//!
//! Published by a task of its own, so that nobody waits for an Event and a flood drops some
//! ([`outbox`]) instead of holding up the autoscaler.

mod outbox;

use std::{
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource,
    runtime::{
        events::{Event, EventType, Recorder, Reporter},
        reflector::Store,
    },
};
use taskqueue_queue::{Cause, Reclaimed};
use tokio::{
    sync::mpsc,
    time::{Duration, Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    key::Key,
    reconcile::{Guarded, error::Error},
};
use outbox::{Dropped, Outbox};

/// The API server's bound on a note.
const MAX_NOTE: usize = 1024;

/// How long Events may keep an operator that stops: the Lease is given up after them, and others wait for it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Takes Events.
#[derive(Clone)]
pub struct Events {
    waiting: Arc<Mutex<Outbox<Told>>>,
    /// Wakes the publisher, which ends when the last of these is dropped.
    wake: mpsc::Sender<()>,
    resources: Store<Guarded>,
}

/// An Event and what it is about.
type Told = (Event, ObjectReference);

/// Publishes the Events that were taken.
pub struct Publisher {
    recorder: Recorder,
    waiting: Arc<Mutex<Outbox<Told>>>,
    woken: mpsc::Receiver<()>,
}

/// A taker and its publisher. `identity` is the pod of this operator.
pub fn channel(client: Client, identity: &str, resources: Store<Guarded>) -> (Events, Publisher) {
    let (wake, woken) = mpsc::channel(1);
    let waiting = Arc::new(Mutex::new(Outbox::new(Instant::now())));
    let reporter = Reporter {
        controller: "taskqueue-operator".to_owned(),
        instance: Some(identity.to_owned()),
    };
    let recorder = Recorder::new(client, reporter);
    let events = Events {
        waiting: Arc::clone(&waiting),
        wake,
        resources,
    };
    let publisher = Publisher {
        recorder,
        waiting,
        woken,
    };
    (events, publisher)
}

impl Events {
    /// A reconcile failed.
    pub fn reconcile_failed(&self, resource: &Guarded, error: &Error) {
        self.take(
            resource.object_ref(&()),
            event(
                EventType::Warning,
                error.reason(),
                "Reconcile",
                error.chain(),
            ),
        );
    }

    /// The replicas were written.
    pub fn scaled(&self, key: &Key, from: u32, to: u32, equation: &str) {
        let reason = if to > from { "ScaledUp" } else { "ScaledDown" };
        // Events that share reason and action are counted as one that keeps its first note, so
        // the numbers are part of the action.
        let action = format!("ScaleFrom{from}To{to}");
        let note = format!("{from} → {to}: {equation}");
        self.about(key, event(EventType::Normal, reason, &action, note));
    }

    /// The replicas could not be written.
    pub fn scale_failed(&self, key: &Key, from: u32, to: u32, cause: &str) {
        let note = format!("{from} → {to}: {cause}");
        self.about(key, event(EventType::Warning, "ScaleFailed", "Scale", note));
    }

    /// Somebody else has set another number of replicas than ours, `again` and again or for the
    /// first time.
    pub fn overwritten(&self, key: &Key, by: &str, (ours, theirs): (u32, u32), again: bool) {
        let event = if again {
            // Told once as one that goes on: the numbers are those of the first note.
            let note = format!(
                "{by} sets the replicas too, {theirs} over {ours}, again and again: they are left to it for minutes at a time until one of the two is removed"
            );
            event(EventType::Warning, "AnotherWriter", "ShareReplicas", note)
        } else {
            let note = format!("{by} has set {theirs} over {ours}: it is set right");
            let action = format!("Set{theirs}Over{ours}");
            event(EventType::Normal, "ReplicasOverwritten", &action, note)
        };
        self.about(key, event);
    }

    /// In mode Recommend another number is recommended.
    pub fn recommended(&self, key: &Key, from: u32, to: u32, equation: &str) {
        let action = format!("RecommendFrom{from}To{to}");
        let note = format!("{from} → {to}: {equation}");
        self.about(key, event(EventType::Normal, "Recommended", &action, note));
    }

    /// The tasks of a pod that ended were taken back.
    pub fn released(&self, key: &Key, cause: Cause, detail: &str, reclaimed: &Reclaimed) {
        let Reclaimed {
            released,
            quarantined,
            workers: _,
        } = reclaimed;
        let mut note = format!("{detail}; {released} of its tasks will run again");
        if *quarantined > 0 {
            let _ = write!(note, ", {quarantined} have lost too many workers");
        }
        let action = format!("{cause:?}");
        self.about(
            key,
            event(EventType::Warning, "TasksReleased", &action, note),
        );
    }

    /// Something keeps the worker pods from working, as reason and message, or does so no more.
    pub fn blocked(&self, key: &Key, obstacle: Option<(String, String)>) {
        let event = if let Some((reason, message)) = obstacle {
            let note = format!("no further workers: {message}");
            event(EventType::Warning, "WorkersFailing", &reason, note)
        } else {
            let note = "nothing keeps the workers from working any more".to_owned();
            event(EventType::Normal, "WorkersWorking", "StartWorkers", note)
        };
        self.about(key, event);
    }

    /// The queue's Redis has become unreachable, with the cause, or reachable again.
    pub fn redis_turned(&self, key: &Key, cause: Option<String>) {
        let event = if let Some(cause) = cause {
            let note = format!("the replicas are held: {cause}");
            event(EventType::Warning, "RedisUnreachable", "ReadQueue", note)
        } else {
            let note = "the queue can be read again".to_owned();
            event(EventType::Normal, "RedisReachable", "ReadQueue", note)
        };
        self.about(key, event);
    }

    /// A setting of the queue's Redis puts its tasks at risk, or did so otherwise before.
    pub fn redis_unsafe(&self, key: &Key, risk: &str, message: String) {
        let event = event(EventType::Warning, "RedisUnsafe", risk, message);
        self.about(key, event);
    }

    /// Tasks were found gone from Redis though nobody ended them.
    pub fn tasks_missing(&self, key: &Key, count: u64) {
        let note = format!(
            "{count} tasks or more are gone from Redis though nobody ended them: evicted, or deleted by \
             somebody; see the condition RedisUnsafe"
        );
        tracing::warn!(queue = %key, count, "tasks are gone from Redis though nobody ended them");
        self.about(
            key,
            event(EventType::Warning, "TasksMissing", "ReadQueue", note),
        );
    }

    fn about(&self, key: &Key, event: Event) {
        if let Some(resource) = self.resources.get(&key.object_ref()) {
            self.take(resource.object_ref(&()), event);
        }
    }

    fn take(&self, about: ObjectReference, event: Event) {
        let key = Key {
            namespace: about.namespace.clone().unwrap_or_default(),
            name: about.name.clone().unwrap_or_default(),
        };
        let reason = event.reason.clone();
        let dropped = lock(&self.waiting).put(key, &reason, (event, about), Instant::now());
        match dropped {
            Some(((event, about), Dropped::TooMany)) => {
                tracing::debug!(reason = event.reason, namespace = ?about.namespace, about = ?about.name, "dropped an Event: there were many like it");
            }
            Some(((event, about), Dropped::Full)) => {
                tracing::warn!(reason = event.reason, namespace = ?about.namespace, about = ?about.name, "dropped an Event: too many wait");
            }
            None => {}
        }
        // Woken already, or gone.
        let _ = self.wake.try_send(());
    }
}

impl Publisher {
    /// Publishes until every taker is gone, and then what is left; after `stop` no longer than `LAST_WORDS`.
    pub async fn run(mut self, stop: CancellationToken) {
        let late = async {
            stop.cancelled().await;
            sleep(LAST_WORDS).await;
        };
        let all = async {
            while self.woken.recv().await.is_some() {
                self.publish().await;
            }
            self.publish().await;
        };
        tokio::select! {
            () = all => {}
            () = late => tracing::warn!("stopped before all Events were published"),
        }
    }

    /// Publishes what waits.
    async fn publish(&self) {
        loop {
            let next = lock(&self.waiting).take();
            let Some((event, about)) = next else { return };
            match self.recorder.publish(&event, &about).await {
                Ok(()) => {}
                Err(error) if is_going(&error) => {
                    tracing::debug!(reason = event.reason, about = ?about.name, %error, "no Event in a namespace that is being deleted");
                }
                Err(error) => {
                    tracing::warn!(reason = event.reason, about = ?about.name, %error, "cannot publish an Event");
                }
            }
        }
    }
}

fn lock(waiting: &Mutex<Outbox<Told>>) -> std::sync::MutexGuard<'_, Outbox<Told>> {
    // What a panic elsewhere leaves behind is at worst an Event too many or too few.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the namespace is being deleted, or is gone: nothing is made in it any more, and nobody is
/// left to read an Event there.
pub fn is_going(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let ends = |cause: &kube::core::response::StatusCause| cause.reason == "NamespaceTerminating";
    let gone = status.code == 404
        && status
            .details
            .as_ref()
            .is_some_and(|details| details.kind == "namespaces");
    gone || causes.into_iter().any(ends)
}

fn event(type_: EventType, reason: &str, action: &str, mut note: String) -> Event {
    if note.len() > MAX_NOTE {
        note.truncate(note.floor_char_boundary(MAX_NOTE - '…'.len_utf8()));
        note.push('…');
    }
    Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note),
        action: action.to_owned(),
        secondary: None,
    }
}
