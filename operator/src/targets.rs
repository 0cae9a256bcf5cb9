//! The workers that are not ours: what is known of the Deployments and StatefulSets that sources
//! name. They carry no label of ours, so that all of them are watched, but only once a source
//! exists, and of each no more is kept than a few numbers.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::{
    Api, Client, ResourceExt,
    api::ApiResource,
    core::Object,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::{Deserialize, Serialize};
use taskqueue_api::spec::TargetKind;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{rights, workload::replicas_by};

/// Objects in one page of the first list.
const PAGE: u32 = 100;

/// A Deployment or StatefulSet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its namespace, that of the TaskQueue.
    pub namespace: String,
    /// Its kind.
    pub kind: TargetKind,
    /// Its name.
    pub name: String,
}

/// As a person would name it, within its namespace.
impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} {}", self.kind, self.name)
    }
}

/// What is known of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetView {
    /// Replicas asked for.
    pub replicas: u32,
    /// Who has set them, if that was not us.
    pub replicas_by: Option<String>,
    /// Pods that exist.
    pub existing: u32,
    /// Pods that are ready.
    pub ready: u32,
    /// A rollout is under way.
    pub rolling: bool,
    /// Why it makes no progress, in its own words.
    pub stuck: Option<String>,
    /// Of a StatefulSet: the pods that it would stop and does not, since one below them is not ready.
    pub held_back: u32,
}

/// Whether a target is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Not all objects of its kind have been listed yet.
    Unknown,
    /// There is no such object.
    Missing,
    /// The operator may not read objects of its kind; in the API server's words.
    Refused(String),
    /// It is there.
    There(TargetView),
}

/// Every object that can be a target.
pub struct Targets {
    state: Mutex<HashMap<TargetKind, Known>>,
    wanted: watch::Sender<bool>,
}

#[derive(Default)]
struct Known {
    listed: bool,
    /// Why they cannot be read any more, or never could.
    refused: Option<String>,
    views: HashMap<(String, String), TargetView>,
    /// While a list is under way, what it has brought so far.
    listing: HashMap<(String, String), TargetView>,
}

impl Default for Targets {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            wanted: watch::Sender::new(false),
        }
    }
}

impl Targets {
    /// What is known of a target. The first question begins the watch.
    pub fn of(&self, target: &Target) -> Found {
        self.wanted
            .send_if_modified(|wanted| !std::mem::replace(wanted, true));
        let state = self.lock();
        let Some(known) = state.get(&target.kind) else {
            return Found::Unknown;
        };
        if let Some(words) = &known.refused {
            return Found::Refused(words.clone());
        }
        let name = (target.namespace.clone(), target.name.clone());
        match known.views.get(&name) {
            Some(view) => Found::There(view.clone()),
            None if known.listed => Found::Missing,
            None => Found::Unknown,
        }
    }

    /// Takes in what the watch of a kind tells.
    pub fn take(&self, kind: TargetKind, event: Event<Scalable>) {
        let name = |object: &Scalable| {
            let namespace = object.namespace().unwrap_or_default();
            (namespace, object.name_any())
        };
        let mut state = self.lock();
        let known = state.entry(kind).or_default();
        match event {
            Event::Apply(object) => {
                known.views.insert(name(&object), view(kind, &object));
            }
            Event::Delete(object) => {
                known.views.remove(&name(&object));
            }
            Event::Init => known.listing.clear(),
            Event::InitApply(object) => {
                known.listing.insert(name(&object), view(kind, &object));
            }
            Event::InitDone => {
                known.views = std::mem::take(&mut known.listing);
                known.listed = true;
                known.refused = None;
            }
        }
    }

    /// Takes in that the watch of a kind failed. Without the right to it, it will go on to.
    pub fn failed(&self, kind: TargetKind, error: &watcher::Error) {
        let (watcher::Error::InitialListFailed(cause) | watcher::Error::WatchStartFailed(cause)) =
            error
        else {
            return;
        };
        if let Some(words) = rights::missing(cause) {
            self.lock().entry(kind).or_default().refused = Some(words.to_owned());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TargetKind, Known>> {
        // The maps are consistent after every statement, so a panic elsewhere spoils nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A Deployment or StatefulSet as far as it matters here.
pub type Scalable = Object<Spec, Status>;

/// Its spec.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Spec {
    replicas: Option<i32>,
}

/// Its status.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    replicas: i32,
    ready_replicas: i32,
    updated_replicas: i32,
    observed_generation: i64,
    conditions: Vec<Progress>,
    /// Of a StatefulSet, as the two below.
    current_replicas: i32,
    current_revision: String,
    update_revision: String,
}

/// A condition of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Progress {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(default)]
    message: String,
}

fn view(kind: TargetKind, object: &Scalable) -> TargetView {
    let count = |number: i32| u32::try_from(number).unwrap_or(0);
    let status = object.status.clone().unwrap_or_default();
    let stuck = status.conditions.iter().find(|condition| {
        matches!(
            (condition.kind.as_str(), condition.status.as_str()),
            ("Progressing", "False") | ("ReplicaFailure", "True")
        )
    });
    let managed = object.metadata.managed_fields.as_deref();
    TargetView {
        replicas: count(object.spec.replicas.unwrap_or(1)),
        replicas_by: replicas_by(managed.unwrap_or_default()).map(ToOwned::to_owned),
        existing: count(status.replicas),
        ready: count(status.ready_replicas),
        // A StatefulSet takes the pods with the highest numbers whatever it rolls out, and with a
        // partition it never ends.
        rolling: kind == TargetKind::Deployment && status.updated_replicas < status.replicas,
        stuck: stuck.map(|condition| condition.message.clone()),
        held_back: match kind {
            TargetKind::Deployment => 0,
            TargetKind::StatefulSet => held_back(object, &status),
        },
    }
}

/// The pods that a StatefulSet would stop and does not. It stops its highest pods only while all
/// below them are ready, however long that takes. Those that are being stopped are ready or not, and
/// count in none of the two revisions.
fn held_back(object: &Scalable, status: &Status) -> u32 {
    let standing = if status.current_revision == status.update_revision {
        status.updated_replicas
    } else {
        status
            .current_replicas
            .saturating_add(status.updated_replicas)
    };
    let observed = status.observed_generation >= object.metadata.generation.unwrap_or(0);
    let surplus = standing.saturating_sub(object.spec.replicas.unwrap_or(1));
    let waits = observed && status.ready_replicas < standing;
    u32::try_from(surplus).unwrap_or(0) * u32::from(waits)
}

/// Watches until `stop`, from the first question on.
pub async fn watch(
    client: Client,
    namespace: Option<String>,
    targets: Arc<Targets>,
    stop: CancellationToken,
) {
    let mut wanted = targets.wanted.subscribe();
    let begun = tokio::select! {
        () = stop.cancelled() => return,
        begun = wanted.wait_for(|wanted| *wanted) => begun.is_ok(),
    };
    if !begun {
        return;
    }
    let kinds = [
        (
            TargetKind::Deployment,
            ApiResource::erase::<Deployment>(&()),
        ),
        (
            TargetKind::StatefulSet,
            ApiResource::erase::<StatefulSet>(&()),
        ),
    ];
    let each = kinds.map(|(kind, resource)| {
        let api: Api<Scalable> = match &namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let events = watcher(api, watcher::Config::default().page_size(PAGE)).default_backoff();
        let targets = Arc::clone(&targets);
        events.for_each(move |event| {
            match event {
                Ok(event) => targets.take(kind, event),
                Err(error) => {
                    tracing::warn!(%error, ?kind, "the watch of targets failed, trying again");
                    targets.failed(kind, &error);
                }
            }
            std::future::ready(())
        })
    });
    tokio::select! {
        () = stop.cancelled() => {}
        _ = futures::future::join_all(each) => {}
    }
}
