//! Step 4: makes the cluster hold the children. Server-side apply, in order.

use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v1::Scale, core::v1::Secret};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{
    build::{Children, pod},
    credentials,
    observe::Observed,
    validate::ValidQueue,
};
use crate::{key::Key, watch};

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

/// The Deployment as the API server returned it.
#[derive(Clone, Copy, Debug)]
pub struct Applied {
    /// What it is after the apply, as [`watch::shape`] tells it.
    pub shape: u64,
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
    } = children;
    let mut deployment = deployment.clone();
    let annotations = deployment.metadata.annotations.get_or_insert_default();
    annotations.insert(
        watch::APPLIED.to_owned(),
        watch::mark(watch::fingerprint(children)),
    );
    if let Some(existing) = &observed.deployment {
        check_owner("Deployment", existing.as_ref(), valid)?;
    }
    if let Some(secret) = redis_secret {
        let mark = apply_secret(client, valid, secret).await?;
        pod::mark_credentials(&mut deployment.spec.template, &mark);
    }
    apply_deployment(client, valid, observed.deployment.as_deref(), deployment).await
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
    if let Some(existing) = api.get_opt(&name).await.map_err(failed)? {
        check_owner("Secret", &existing, valid)?;
    }
    let params = PatchParams::apply(MANAGER).force();
    let applied = api
        .patch(&name, &params, &Patch::Apply(secret))
        .await
        .map_err(failed)?;
    Ok(credentials::mark(&applied, secret))
}

/// Applies the Deployment without touching its replicas.
///
/// A Deployment that nobody gave replicas gets one by default. So as long as the autoscaler does
/// not own the field, it is part of the apply, and then handed over to the autoscaler, which
/// keeps it from there on.
async fn apply_deployment(
    client: &Client,
    valid: &ValidQueue,
    existing: Option<&Deployment>,
    mut deployment: Deployment,
) -> Result<Applied, ApplyError> {
    let name = deployment.name_any();
    let handed_over = existing.is_some_and(scaler_owns_replicas);
    let replicas = existing
        .and_then(|existing| existing.spec.replicas)
        .unwrap_or_else(|| i32::try_from(valid.scaling.min).unwrap_or(i32::MAX));
    if !handed_over {
        deployment.spec.replicas = Some(replicas);
    }
    let api: Api<Deployment> = Api::namespaced(client.clone(), &valid.key.namespace);
    let applied = api
        .patch(
            &name,
            &PatchParams::apply(MANAGER).force(),
            &Patch::Apply(&deployment),
        )
        .await
        .map_err(|source| ApplyError::Api {
            what: "Deployment",
            name: name.clone(),
            source,
        })?;
    if !handed_over {
        scale(client, &valid.key, u32::try_from(replicas).unwrap_or(0))
            .await
            .map_err(|source| ApplyError::Api {
                what: "scale of Deployment",
                name,
                source,
            })?;
    }
    Ok(Applied {
        shape: watch::shape(&applied),
    })
}

/// Writes the replicas of a TaskQueue's Deployment, as the autoscaler.
pub async fn scale(client: &Client, key: &Key, replicas: u32) -> Result<Scale, kube::Error> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), &key.namespace);
    let patch = json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "spec": { "replicas": replicas }
    });
    let params = PatchParams::apply(SCALER).force();
    api.patch_scale(&key.name, &params, &Patch::Apply(&patch))
        .await
}

fn check_owner(
    what: &'static str,
    existing: &impl Resource,
    valid: &ValidQueue,
) -> Result<(), ApplyError> {
    let owners = existing.owner_references();
    if owners.iter().any(|owner| owner.uid == valid.owner.uid) {
        return Ok(());
    }
    Err(ApplyError::NotOurs {
        what,
        name: existing.name_any(),
    })
}

/// Whether the autoscaler owns the replicas, so that an apply that leaves them out keeps them.
pub fn scaler_owns_replicas(existing: &Deployment) -> bool {
    existing
        .meta()
        .managed_fields
        .iter()
        .flatten()
        .any(|entry| entry.manager.as_deref() == Some(SCALER))
}
