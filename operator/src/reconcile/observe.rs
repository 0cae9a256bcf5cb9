//! Step 2: what the cluster holds that the next steps need. Reads only.

use std::sync::Arc;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Secret, policy::v1::PodDisruptionBudget};
use kube::Api;

use super::{
    Context,
    apply::is_owned,
    validate::{RedisSource, ValidQueue},
};
use crate::endpoint::EndpointUrl;

/// What was found.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The Redis of the queue.
    pub endpoint: EndpointUrl,
    /// The Deployment of that name, whoever made it.
    pub deployment: Option<Arc<Deployment>>,
    /// The budget of that name: whoever made it where the TaskQueue asks for one, else ours.
    pub budget: Option<Arc<PodDisruptionBudget>>,
}

/// Why the cluster could not be read, or what is missing in it.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The operator lost its default Redis between two starts.
    #[error("the operator has no default Redis")]
    NoDefaultRedis,
    /// The Secret is not there.
    #[error(
        "Secret {name} named in spec.redis.urlFrom.secretKeyRef does not exist in namespace {namespace}: create it"
    )]
    SecretMissing {
        /// Namespace of the TaskQueue.
        namespace: String,
        /// Name of the Secret.
        name: String,
    },
    /// The Secret has no such key, or no text in it.
    #[error("Secret {name} has no text under key {key}, named in spec.redis.urlFrom.secretKeyRef")]
    SecretKeyMissing {
        /// Name of the Secret.
        name: String,
        /// Key within it.
        key: String,
    },
    /// The URL cannot be used.
    #[error("the URL of the Redis cannot be used: {0}")]
    RedisUrl(#[source] taskqueue_queue::Error),
    /// The API server did not answer as it should.
    #[error("cannot read {what} {name}")]
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

/// Reads what the next steps need.
pub async fn observe(context: &Context, valid: &ValidQueue) -> Result<Observed, ObserveError> {
    Ok(Observed {
        endpoint: endpoint(context, &valid.key.namespace, &valid.redis).await?,
        deployment: deployment(context, valid).await?,
        budget: budget(context, valid).await?,
    })
}

/// The URL of the Redis.
pub(super) async fn endpoint(
    context: &Context,
    namespace: &str,
    redis: &RedisSource,
) -> Result<EndpointUrl, ObserveError> {
    let url = match redis {
        RedisSource::Default => {
            return context
                .config
                .default_redis
                .clone()
                .ok_or(ObserveError::NoDefaultRedis);
        }
        RedisSource::Url(url) => url.clone(),
        RedisSource::Secret { name, key } => secret_text(context, namespace, name, key).await?,
    };
    EndpointUrl::parse(url).map_err(ObserveError::RedisUrl)
}

async fn secret_text(
    context: &Context,
    namespace: &str,
    name: &str,
    key: &str,
) -> Result<String, ObserveError> {
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let secret = api
        .get_opt(name)
        .await
        .map_err(|source| ObserveError::Api {
            what: "Secret",
            name: name.to_owned(),
            source,
        })?;
    let secret = secret.ok_or_else(|| ObserveError::SecretMissing {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })?;
    secret
        .data
        .and_then(|mut data| data.remove(key))
        .and_then(|value| String::from_utf8(value.0).ok())
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .ok_or_else(|| ObserveError::SecretKeyMissing {
            name: name.to_owned(),
            key: key.to_owned(),
        })
}

/// The Deployment from the cache, else from the API server: the cache holds only those that
/// carry our label, and one of somebody else under the same name must not be taken over.
async fn deployment(
    context: &Context,
    valid: &ValidQueue,
) -> Result<Option<Arc<Deployment>>, ObserveError> {
    if let Some(deployment) = context.deployments.get(&valid.key.object_ref()) {
        return Ok(Some(deployment));
    }
    let api: Api<Deployment> = Api::namespaced(context.client.clone(), &valid.key.namespace);
    let found = api
        .get_opt(&valid.key.name)
        .await
        .map_err(|source| ObserveError::Api {
            what: "Deployment",
            name: valid.key.name.clone(),
            source,
        })?;
    Ok(found.map(Arc::new))
}

/// The budget, looked for beyond the cache only where one is to be made.
async fn budget(
    context: &Context,
    valid: &ValidQueue,
) -> Result<Option<Arc<PodDisruptionBudget>>, ObserveError> {
    let cached = context.budgets.get(&valid.key.object_ref());
    if valid.worker.budget.is_none() {
        return Ok(cached.filter(|budget| is_owned(budget.as_ref(), valid)));
    }
    if cached.is_some() {
        return Ok(cached);
    }
    let api: Api<PodDisruptionBudget> =
        Api::namespaced(context.client.clone(), &valid.key.namespace);
    let found = api.get_opt(&valid.key.name).await;
    found
        .map(|found| found.map(Arc::new))
        .map_err(|source| ObserveError::Api {
            what: "PodDisruptionBudget",
            name: valid.key.name.clone(),
            source,
        })
}
