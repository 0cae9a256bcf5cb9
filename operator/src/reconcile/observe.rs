//! Step 2: what the cluster holds that the next steps need. Reads only.

use std::sync::Arc;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use taskqueue_worker::config::RedisTls;

use super::{
    Context,
    apply::is_owned,
    credentials::Reader,
    validate::{RedisSource, TlsSource, ValidQueue},
};
use crate::{endpoint::EndpointUrl, key::Key, workload::Workload};

/// What was found.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The Redis of the queue.
    pub endpoint: EndpointUrl,
    /// A mark of what came from Secrets for it. Another one means that pods have to start anew.
    pub credentials: Option<String>,
    /// The Deployment of that name, whoever made it.
    pub workload: Option<Arc<Workload>>,
    /// The budget of that name: whoever made it where the TaskQueue asks for one, else ours.
    pub budget: Option<Arc<PodDisruptionBudget>>,
    /// Whether the API server knows the field `lifecycle.stopSignal` of a container.
    pub knows_stop_signals: bool,
}

impl Observed {
    /// Whether the workers' Deployment is there already.
    pub fn stands_for(&self, valid: &ValidQueue) -> bool {
        let workload = self.workload.as_deref();
        workload.is_some_and(|workload| is_owned(workload, valid))
    }
}

/// Why the cluster could not be read, or what is missing in it.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The operator lost its default Redis between two starts.
    #[error("the operator has no default Redis")]
    NoDefaultRedis,
    /// The Secret is not there.
    #[error(
        "Secret {name} named in {field}.secretKeyRef does not exist in namespace {namespace}: create it"
    )]
    SecretMissing {
        /// Namespace of the TaskQueue.
        namespace: String,
        /// Name of the Secret.
        name: String,
        /// The part of the spec that names it.
        field: &'static str,
    },
    /// The Secret has no such key, or no text in it.
    #[error("Secret {name} has no text under key {key}, named in {field}.secretKeyRef")]
    SecretKeyMissing {
        /// Name of the Secret.
        name: String,
        /// Key within it.
        key: String,
        /// The part of the spec that names it.
        field: &'static str,
    },
    /// More text than a pod can be given.
    #[error(
        "Secret {name} has {length} bytes under key {key}, and at most 65536 can be used: leave out certificates that the Redis does not need"
    )]
    SecretTooLong {
        /// Name of the Secret.
        name: String,
        /// Key within it.
        key: String,
        /// Bytes that it has.
        length: usize,
    },
    /// The URL or a certificate cannot be used.
    #[error("the Redis of spec.redis cannot be used: {0}")]
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
    let (endpoint, credentials) = endpoint(context, &valid.key, &valid.redis, &valid.tls).await?;
    Ok(Observed {
        endpoint,
        credentials,
        workload: workload(context, valid).await?,
        budget: budget(context, valid).await?,
        knows_stop_signals: context.knows_stop_signals,
    })
}

/// The Redis, and a mark of what came from Secrets for it. Takes note of these Secrets, also when
/// something is missing in them: it may come.
pub(super) async fn endpoint(
    context: &Context,
    key: &Key,
    redis: &RedisSource,
    tls: &TlsSource,
) -> Result<(EndpointUrl, Option<String>), ObserveError> {
    let mut reader = Reader::new(&context.client, &key.namespace);
    let endpoint = read(context, redis, tls, &mut reader).await;
    context.secrets.refer(key, reader.versions());
    Ok((endpoint?, reader.mark()))
}

async fn read(
    context: &Context,
    redis: &RedisSource,
    tls: &TlsSource,
    reader: &mut Reader<'_>,
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
        RedisSource::Secret(selector) => reader.text(selector, "spec.redis.urlFrom").await?,
    };
    let TlsSource { ca, identity } = tls;
    let ca = match ca {
        Some(ca) => Some(reader.text(ca, "spec.redis.tls.caFrom").await?),
        None => None,
    };
    let identity = match identity {
        Some((cert, key)) => Some((
            reader.text(cert, "spec.redis.tls.certFrom").await?,
            reader.text(key, "spec.redis.tls.keyFrom").await?,
        )),
        None => None,
    };
    EndpointUrl::with_tls(url, RedisTls { ca, identity }).map_err(ObserveError::RedisUrl)
}

/// The Deployment from the cache, else from the API server: the cache holds only those that
/// carry our label, and one of somebody else under the same name must not be taken over.
async fn workload(
    context: &Context,
    valid: &ValidQueue,
) -> Result<Option<Arc<Workload>>, ObserveError> {
    if let Some(workload) = context.workloads.get(&valid.key.object_ref()) {
        return Ok(Some(workload));
    }
    let api: Api<Workload> = Api::namespaced(context.client.clone(), &valid.key.namespace);
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
