//! The Deployment of a queue's workers, as far as anybody here reads it.
//!
//! With thousands of TaskQueues whole Deployments would be most of the operator's memory, so that
//! no more is kept of each than this. Pure.

use std::borrow::Cow;

use k8s_openapi::{
    NamespaceResourceScope,
    api::apps::v1::{Deployment, DeploymentCondition, DeploymentSpec, DeploymentStatus},
    apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry,
};
use kube::{Resource, core::ObjectMeta};
use serde::Deserialize;

use crate::{
    reconcile::apply::{MANAGER, SCALER},
    watch::fingerprint,
};

/// Annotation of a Deployment that is the only child: the fingerprint of what was applied. With it an
/// operator that starts need not apply anew what stands as it would apply it.
pub const APPLIED: &str = "taskqueue.dev/applied";

/// Who writes to a Deployment of ours without changing what we apply: us, and the controller of
/// Deployments, which notes its revision.
const HARMLESS: [&str; 3] = [MANAGER, SCALER, "kube-controller-manager"];

/// What is kept of a Deployment.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "Deployment")]
pub struct Workload {
    /// Its names, versions and owners alone.
    pub metadata: ObjectMeta,
    /// Replicas asked for, where anybody asked.
    pub replicas: Option<u32>,
    /// Who has set them, if that was not us.
    pub replicas_by: Option<String>,
    /// Pods that there are.
    pub existing: u32,
    /// Pods of the last template.
    pub updated: u32,
    /// Pods that are ready.
    pub ready: u32,
    /// Generation that its controller has seen.
    pub observed_generation: i64,
    /// Why it makes no progress, in its own words.
    pub stuck: Option<String>,
    /// What it is of what is applied; see [`shape`].
    pub shape: u64,
    /// The value of [`APPLIED`], unless somebody else may have changed the Deployment since.
    pub applied: Option<String>,
    /// Whether the autoscaler owns the replicas, so that an apply that leaves them out keeps them.
    pub scaler_owns_replicas: bool,
}

impl Workload {
    /// Whether there are pods of an older template.
    pub fn is_rolling(&self) -> bool {
        self.updated < self.existing
    }

    /// Whether its controller has yet to see its last edit.
    pub fn is_unobserved(&self) -> bool {
        self.observed_generation < self.metadata.generation.unwrap_or(0)
    }
}

impl From<Deployment> for Workload {
    fn from(deployment: Deployment) -> Self {
        let shape = shape(&deployment);
        let Deployment {
            metadata,
            spec,
            status,
        } = deployment;
        let status = status.unwrap_or_default();
        let count = |number: Option<i32>| u32::try_from(number.unwrap_or(0)).unwrap_or(0);
        let managed = metadata.managed_fields.as_deref().unwrap_or_default();
        let managers: Vec<&str> = managed.iter().filter_map(manager).collect();
        let annotations = metadata.annotations.as_ref();
        let applied = annotations
            .and_then(|annotations| annotations.get(APPLIED))
            .filter(|_| managers.iter().all(|by| HARMLESS.contains(by)));
        Self {
            replicas: spec.replicas.and_then(|replicas| replicas.try_into().ok()),
            replicas_by: replicas_by(managed).map(ToOwned::to_owned),
            existing: count(status.replicas),
            updated: count(status.updated_replicas),
            ready: count(status.ready_replicas),
            observed_generation: status.observed_generation.unwrap_or(0),
            stuck: stuck(&status),
            shape,
            applied: applied.cloned(),
            scaler_owns_replicas: managers.contains(&SCALER),
            metadata: ObjectMeta {
                name: metadata.name,
                namespace: metadata.namespace,
                uid: metadata.uid,
                resource_version: metadata.resource_version,
                generation: metadata.generation,
                deletion_timestamp: metadata.deletion_timestamp,
                owner_references: metadata.owner_references,
                ..ObjectMeta::default()
            },
        }
    }
}

/// Who has set the replicas of an object, by the name under which it manages that field; `None` if
/// that was us, also together with others, or nobody says so.
pub fn replicas_by(managed: &[ManagedFieldsEntry]) -> Option<&str> {
    let sets = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref();
        fields.is_some_and(|fields| !fields.0["f:spec"]["f:replicas"].is_null())
    };
    let mut all = managed.iter().filter(sets).filter_map(manager);
    let ours = all.clone().any(|by| [MANAGER, SCALER].contains(&by));
    all.next().filter(|_| !ours)
}

/// Who manages fields, other than those of the status.
fn manager(entry: &ManagedFieldsEntry) -> Option<&str> {
    match entry.subresource.as_deref() {
        Some("status") => None,
        _ => entry.manager.as_deref(),
    }
}

fn stuck(status: &DeploymentStatus) -> Option<String> {
    let is_bad = |condition: &&DeploymentCondition| {
        matches!(
            (condition.type_.as_deref(), condition.status.as_deref()),
            (Some("Progressing"), Some("False")) | (Some("ReplicaFailure"), Some("True"))
        )
    };
    let condition = status.conditions.iter().flatten().find(is_bad)?;
    let message = condition.message.as_deref();
    Some(message.unwrap_or("no progress").to_owned())
}

/// What a reconcile applies of a Deployment, as a number: two that differ in it differ in what is
/// applied. The replicas, which are the autoscaler's, are no part of it.
pub fn shape(deployment: &Deployment) -> u64 {
    let metadata = &deployment.metadata;
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

/// To the API server it is a Deployment.
impl Resource for Workload {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Deployment::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Deployment::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Deployment::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Deployment::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
