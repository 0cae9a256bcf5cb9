//! Step 3, pure: the children that a valid TaskQueue shall have.

pub mod budget;
pub mod deployment;
mod installer;
pub mod pod;
mod resources;
pub mod secret;
mod sidecar;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret, policy::v1::PodDisruptionBudget};
use serde::Serialize;

use super::{observe::Observed, validate::ValidQueue};
use crate::config::WorkerImage;

/// Every child of one TaskQueue. Taken apart without `..` where it is applied, so that a new
/// kind of child does not compile until someone applies it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Children {
    /// The workers.
    pub deployment: Deployment,
    /// The URL of the Redis, when it carries a password that the pods need from a Secret.
    pub redis_secret: Option<Secret>,
    /// How many workers may be evicted at a time, where that is bounded.
    pub budget: Option<PodDisruptionBudget>,
}

impl Children {
    /// Whether the Deployment, which is watched, is all there is.
    pub fn is_deployment_alone(&self) -> bool {
        let Self {
            deployment: _,
            redis_secret,
            budget,
        } = self;
        redis_secret.is_none() && budget.is_none()
    }
}

/// Builds the children.
pub fn build(valid: &ValidQueue, observed: &Observed, image: &WorkerImage) -> Children {
    let redis_secret = secret::build(valid, &observed.endpoint);
    let redis = secret::source(valid, &observed.endpoint);
    Children {
        deployment: deployment::build(valid, pod::build(valid, image, redis, observed)),
        redis_secret,
        budget: valid
            .worker
            .budget
            .as_ref()
            .map(|budget| budget::build(valid, budget)),
    }
}
