//! Step 4: makes the cluster hold the children. Server-side apply, in order.
//!
//! What was seen to be ours is applied under its uid, with force: one that has come into its place
//! since is refused by the API server and looked at anew. Where nothing was seen there is no force,
//! so that what somebody else has made since, and says otherwise, is refused as well.

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    autoscaling::v1::Scale,
    core::v1::Secret,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use taskqueue_api::spec::TargetKind;

use super::{
    build::{Children, pod},
    credentials,
    observe::Observed,
    validate::ValidQueue,
};
use crate::{
    key::Key,
    targets::Target,
    watch,
    workload::{self, Workload},
};

/// Field manager of everything but the replicas.
pub const MANAGER: &str = "taskqueue-operator";
/// Field manager of the replicas. Another one, so that an apply that leaves the replicas out does
/// not take them away.
pub const SCALER: &str = "taskqueue-autoscaler";

/// Why the children could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// An object of that name belongs to somebody else.
    #[error("{what} {name} exists and does not belong to this TaskQueue: rename one of the two")]
    NotOurs {
        /// Kind of the object.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The API server refused or did not answer.
    #[error("cannot apply {what} {name}")]
    Api {
        /// Kind of the object.
        what: &'static str,
        /// Its name.
        name: String,
        /// The cause.
        #[source]
        source: kube::Error,
    },
}

/// The children as the API server returned them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The Deployment, as [`workload::shape`] tells it.
    pub shape: u64,
    /// Generation of the budget; `None` where there is none.
    pub budget: Option<i64>,
}

impl Applied {
    /// The children as they stand; `None` without workers.
    pub fn of(observed: &Observed) -> Option<Self> {
        let budget = observed.budget.as_deref();
        Some(Self {
            shape: observed.workload.as_deref()?.shape,
            budget: budget.and_then(|budget| budget.metadata.generation),
        })
    }
}

/// Applies every child, or none when one of their names is taken.
pub async fn apply(
    client: &Client,
    valid: &ValidQueue,
    observed: &Observed,
    children: &Children,
) -> Result<Applied, ApplyError> {
    let Children {
        deployment,
        redis_secret,
        budget,
    } = children;
    let mut deployment = deployment.clone();
    // Of nothing else it is ever read; and it must not be known of a Secret, since many may read it,
    // and try passwords against it.
    if children.is_deployment_alone() {
        let annotations = deployment.metadata.annotations.get_or_insert_default();
        annotations.insert(
            workload::APPLIED.to_owned(),
            watch::mark(watch::fingerprint(children)),
        );
    }
    if let Some(existing) = &observed.workload {
        check_owner("Deployment", existing.as_ref(), valid)?;
    }
    if let (Some(existing), Some(_)) = (&observed.budget, &budget) {
        check_owner("PodDisruptionBudget", existing.as_ref(), valid)?;
    }
    if let Some(secret) = redis_secret {
        let mark = apply_secret(client, valid, secret).await?;
        pod::mark_credentials(&mut deployment.spec.template, &mark);
    }
    let shape = apply_deployment(client, valid, observed.workload.as_deref(), deployment).await?;
    let budget = if let Some(budget) = budget {
        apply_budget(client, valid, observed.budget.as_deref(), budget.clone()).await?
    } else {
        prune_budget(client, valid, observed.budget.as_deref()).await?;
        None
    };
    Ok(Applied { shape, budget })
}

/// Returns its generation.
async fn apply_budget(
    client: &Client,
    valid: &ValidQueue,
    existing: Option<&PodDisruptionBudget>,
    mut budget: PodDisruptionBudget,
) -> Result<Option<i64>, ApplyError> {
    let api: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), &valid.key.namespace);
    let params = in_place_of(existing, &mut budget);
    let applied = api
        .patch(&budget.name_any(), &params, &Patch::Apply(&budget))
        .await;
    let failed = |source| ApplyError::Api {
        what: "PodDisruptionBudget",
        name: budget.name_any(),
        source,
    };
    Ok(applied.map_err(failed)?.metadata.generation)
}

/// Deletes the budget that was asked for once and is no more.
async fn prune_budget(
    client: &Client,
    valid: &ValidQueue,
    existing: Option<&PodDisruptionBudget>,
) -> Result<(), ApplyError> {
    let Some(existing) = existing else {
        return Ok(());
    };
    let api: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), &valid.key.namespace);
    let this_one = DeleteParams::default().preconditions(Preconditions {
        uid: existing.uid(),
        resource_version: None,
    });
    match api.delete(&existing.name_any(), &this_one).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(ApplyError::Api {
            what: "PodDisruptionBudget",
            name: existing.name_any(),
            source,
        }),
    }
}

/// Returns the mark of what is in it.
async fn apply_secret(
    client: &Client,
    valid: &ValidQueue,
    secret: &Secret,
) -> Result<String, ApplyError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &valid.key.namespace);
    let name = secret.name_any();
    let failed = |source| ApplyError::Api {
        what: "Secret",
        name: name.clone(),
        source,
    };
    let existing = api.get_opt(&name).await.map_err(failed)?;
    if let Some(existing) = &existing {
        check_owner("Secret", existing, valid)?;
    }
    let mut secret = secret.clone();
    let params = in_place_of(existing.as_ref(), &mut secret);
    let applied = api
        .patch(&name, &params, &Patch::Apply(&secret))
        .await
        .map_err(failed)?;
    Ok(credentials::mark(&applied, &secret))
}

/// Applies the Deployment without touching its replicas, and returns its shape.
///
/// A Deployment that nobody gave replicas gets one by default. So as long as the autoscaler does
/// not own the field, it is part of the apply, and then handed over to the autoscaler, which
/// keeps it from there on.
async fn apply_deployment(
    client: &Client,
    valid: &ValidQueue,
    existing: Option<&Workload>,
    mut deployment: Deployment,
) -> Result<u64, ApplyError> {
    let name = deployment.name_any();
    let handed_over = existing.is_some_and(|existing| existing.scaler_owns_replicas);
    let standing = existing.and_then(|existing| existing.replicas);
    let replicas = standing.unwrap_or(valid.scaling.min);
    if !handed_over {
        deployment.spec.replicas = Some(i32::try_from(replicas).unwrap_or(i32::MAX));
    }
    let params = in_place_of(existing, &mut deployment);
    let api: Api<Deployment> = Api::namespaced(client.clone(), &valid.key.namespace);
    let applied = api
        .patch(&name, &params, &Patch::Apply(&deployment))
        .await
        .map_err(|source| ApplyError::Api {
            what: "Deployment",
            name: name.clone(),
            source,
        })?;
    if !handed_over {
        scale(client, &valid.key, replicas)
            .await
            .map_err(|source| ApplyError::Api {
                what: "scale of Deployment",
                name,
                source,
            })?;
    }
    Ok(workload::shape(&applied))
}

/// Writes the replicas of a TaskQueue's Deployment, as the autoscaler.
pub async fn scale(client: &Client, key: &Key, replicas: u32) -> Result<Scale, kube::Error> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), &key.namespace);
    write_scale(&api, &key.name, replicas).await
}

/// Writes the replicas of workers that are not ours, as the autoscaler.
pub async fn scale_target(
    client: &Client,
    target: &Target,
    replicas: u32,
) -> Result<Scale, kube::Error> {
    let Target {
        namespace,
        kind,
        name,
    } = target;
    match kind {
        TargetKind::Deployment => {
            let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
            write_scale(&api, name, replicas).await
        }
        TargetKind::StatefulSet => {
            let api: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
            write_scale(&api, name, replicas).await
        }
    }
}

/// What is applied to the subresource scale. It never lacks the number: there, that means zero. And it
/// is for the kinds of `apps` alone: of a custom resource the API server answers an apply of it with
/// 500, and only a merge patch works.
pub fn scale_patch(replicas: u32) -> serde_json::Value {
    json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "spec": { "replicas": replicas }
    })
}

async fn write_scale<K: Clone + DeserializeOwned>(
    api: &Api<K>,
    name: &str,
    replicas: u32,
) -> Result<Scale, kube::Error> {
    let params = PatchParams::apply(SCALER).force();
    let patch = Patch::Apply(scale_patch(replicas));
    api.patch_scale(name, &params, &patch).await
}

/// How an object is applied in place of the one that was seen to be ours, and of no other.
fn in_place_of(seen: Option<&impl Resource>, object: &mut impl Resource) -> PatchParams {
    let params = PatchParams::apply(MANAGER);
    let Some(seen) = seen else {
        return params;
    };
    object.meta_mut().uid = seen.uid();
    params.force()
}

fn check_owner(
    what: &'static str,
    existing: &impl Resource,
    valid: &ValidQueue,
) -> Result<(), ApplyError> {
    if is_owned(existing, valid) {
        return Ok(());
    }
    Err(ApplyError::NotOurs {
        what,
        name: existing.name_any(),
    })
}

/// Whether an object belongs to this TaskQueue.
pub(super) fn is_owned(existing: &impl Resource, valid: &ValidQueue) -> bool {
    let owners = existing.owner_references();
    owners.iter().any(|owner| owner.uid == valid.owner.uid)
}
