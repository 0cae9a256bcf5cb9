//! What is kept of the objects that are watched, and which of their changes a reconcile is for.
//!
//! With thousands of TaskQueues the caches are most of the operator's memory, and nearly every
//! event is a change of some status. So all that nobody reads is taken out before it is kept, and
//! a change that no reconcile would act on starts none. Pure, apart from the streams themselves.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    io,
};

use futures::{Stream, StreamExt, future};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentCondition, DeploymentSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ManagedFieldsEntry},
};
use kube::{Resource, core::ObjectMeta, runtime::watcher};
use serde::Serialize;

use crate::{
    key::Key,
    reconcile::{
        Guarded,
        apply::{MANAGER, SCALER},
    },
};

/// Prefix of the annotations that mean something to us.
const OURS: &str = "taskqueue.dev/";

/// In the cache alone: the [`shape`] that the Deployment had before it was stripped.
const SHAPE: &str = "taskqueue.dev/shape";

/// Annotation of a Deployment: the fingerprint of the children that were applied with it. With it
/// an operator that starts need not apply anew what stands as it would apply it.
pub const APPLIED: &str = "taskqueue.dev/applied";

/// Who writes to a Deployment of ours without changing what we apply: us, and the controller of
/// Deployments, which notes its revision.
const HARMLESS: [&str; 3] = [MANAGER, SCALER, "kube-controller-manager"];

/// Takes out of a TaskQueue what nobody here reads: who manages which field, and the annotations
/// of others, among them the whole manifest once more.
pub fn strip_resource(resource: &mut Guarded) {
    strip_meta(resource.meta_mut());
}

/// Takes out of a Deployment what nobody here reads, which is most of it. The replicas, who owns
/// them, the status and the [`shape`] stay.
pub fn strip_deployment(deployment: &mut Deployment) {
    let shape = shape(deployment);
    let managers = deployment.metadata.managed_fields.take();
    let managers: Vec<_> = managers
        .into_iter()
        .flatten()
        .filter(|entry| entry.subresource.as_deref() != Some("status"))
        .filter_map(|entry| entry.manager)
        .collect();
    let metadata = &mut deployment.metadata;
    let applied = metadata
        .annotations
        .as_mut()
        .and_then(|annotations| annotations.remove(APPLIED))
        // Whoever else wrote to it may have changed it, so that it says nothing any more.
        .filter(|_| managers.iter().all(|by| HARMLESS.contains(&by.as_str())));
    metadata.annotations = Some(
        [(SHAPE, Some(shape.to_string())), (APPLIED, applied)]
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect(),
    );
    let scaler = managers.into_iter().find(|manager| manager == SCALER);
    metadata.managed_fields = scaler.map(|manager| {
        vec![ManagedFieldsEntry {
            manager: Some(manager),
            ..ManagedFieldsEntry::default()
        }]
    });
    metadata.labels = None;
    deployment.spec = DeploymentSpec {
        replicas: deployment.spec.replicas,
        selector: LabelSelector::default(),
        template: PodTemplateSpec::default(),
        ..DeploymentSpec::default()
    };
    let conditions = deployment
        .status
        .iter_mut()
        .filter_map(|status| status.conditions.as_mut());
    conditions.flatten().for_each(strip_condition);
}

fn strip_meta(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.annotations = metadata.annotations.take().and_then(|mut annotations| {
        annotations.retain(|name, _| name.starts_with(OURS));
        (!annotations.is_empty()).then_some(annotations)
    });
}

/// The message of a condition in good order is never told.
fn strip_condition(condition: &mut DeploymentCondition) {
    let failing = match condition.type_.as_deref() {
        Some("ReplicaFailure") => condition.status.as_deref() == Some("True"),
        _ => condition.status.as_deref() != Some("True"),
    };
    if !failing {
        condition.message = None;
    }
    condition.last_update_time = None;
}

/// What a reconcile applies of a Deployment, as a number: two that differ in it differ in what is
/// applied. The replicas, which are the autoscaler's, are no part of it.
pub fn shape(deployment: &Deployment) -> u64 {
    let metadata = &deployment.metadata;
    let kept = metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(SHAPE)?.parse().ok());
    if let Some(shape) = kept {
        return shape;
    }
    // Without `..`, so that a new field does not compile until someone says what it is.
    let DeploymentSpec {
        replicas: _,
        min_ready_seconds,
        paused,
        progress_deadline_seconds,
        revision_history_limit,
        selector,
        strategy,
        template,
    } = &deployment.spec;
    fingerprint(&(
        (
            &metadata.uid,
            metadata.deletion_timestamp.is_some(),
            &metadata.labels,
            &metadata.owner_references,
        ),
        (
            min_ready_seconds,
            paused,
            progress_deadline_seconds,
            revision_history_limit,
        ),
        (selector, strategy, template),
    ))
}

/// What starts a reconcile when it changes: anything but the status.
pub fn meaning(resource: &Guarded) -> u64 {
    let metadata = resource.meta();
    let mut hasher = DefaultHasher::new();
    metadata.uid.hash(&mut hasher);
    metadata.generation.hash(&mut hasher);
    metadata.deletion_timestamp.is_some().hash(&mut hasher);
    for annotation in metadata.annotations.iter().flatten() {
        annotation.hash(&mut hasher);
    }
    hasher.finish()
}

/// A number for what `value` is as JSON. The same in every run of one build, which
/// is all that may be relied on.
pub fn fingerprint(value: &impl Serialize) -> u64 {
    let mut sink = Sink(DefaultHasher::new());
    // Neither the sink nor the types that are printed here can fail; one that did would be printed
    // up to the same place the next time.
    let _ = serde_json::to_writer(&mut sink, value);
    sink.0.finish()
}

/// The value of [`APPLIED`] for children of this fingerprint.
pub fn mark(fingerprint: u64) -> String {
    format!("{fingerprint:016x}")
}

/// Hashes what is written to it.
struct Sink(DefaultHasher);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Of a watch the objects that came, went, or changed in what `print` looks at.
pub fn news<K: Resource>(
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
    print: impl Fn(&K) -> u64,
) -> impl Stream<Item = watcher::Result<K>> {
    let mut seen = Seen::default();
    events.filter_map(move |event| {
        future::ready(match event {
            Ok(event) => seen.take(event, &print).map(Ok),
            Err(error) => Some(Err(error)),
        })
    })
}

/// The prints of the objects that there are, by the hash of their keys.
#[derive(Default)]
struct Seen {
    prints: HashMap<u64, u64>,
    /// Those of a list that is under way: who is not in it is gone.
    listed: HashMap<u64, u64>,
}

impl Seen {
    fn take<K: Resource>(
        &mut self,
        event: watcher::Event<K>,
        print: impl Fn(&K) -> u64,
    ) -> Option<K> {
        match event {
            watcher::Event::Init => {
                self.listed.clear();
                None
            }
            watcher::Event::InitApply(object) => {
                let (key, print) = (key_hash(&object), print(&object));
                self.listed.insert(key, print);
                (self.prints.insert(key, print) != Some(print)).then_some(object)
            }
            watcher::Event::InitDone => {
                self.prints = std::mem::take(&mut self.listed);
                None
            }
            watcher::Event::Apply(object) => {
                let (key, print) = (key_hash(&object), print(&object));
                (self.prints.insert(key, print) != Some(print)).then_some(object)
            }
            watcher::Event::Delete(object) => {
                self.prints.remove(&key_hash(&object));
                Some(object)
            }
        }
    }
}

fn key_hash(object: &impl Resource) -> u64 {
    let mut hasher = DefaultHasher::new();
    Key::of(object).hash(&mut hasher);
    hasher.finish()
}
