//! Step 2: what the cluster holds that the next steps need. Reads only.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, ResourceExt};
use taskqueue_worker::config::RedisTls;

use super::{
    Context,
    credentials::Reader,
    validate::{RedisSource, TlsSource, ValidQueue},
};
use crate::endpoint::EndpointUrl;

/// What was found.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The Redis of the queue.
    pub endpoint: EndpointUrl,
    /// A mark of what came from Secrets for it. Another one means that pods have to start anew.
    pub credentials: Option<String>,
    /// The Deployment of that name, whoever made it.
    pub deployment: Option<Arc<Deployment>>,
}

impl Observed {
    /// Whether the workers' Deployment is there already.
    pub fn stands_for(&self, valid: &ValidQueue) -> bool {
        let owners = self.deployment.iter();
        owners
            .flat_map(|deployment| deployment.owner_references())
            .any(|owner| owner.uid == valid.owner.uid)
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
    let mut reader = Reader::new(&context.client, &valid.key.namespace);
    let endpoint = endpoint(context, valid, &mut reader).await;
    // Also when something was missing: it may come.
    context.secrets.refer(&valid.key, reader.versions());
    Ok(Observed {
        endpoint: endpoint?,
        credentials: reader.mark(),
        deployment: deployment(context, valid).await?,
    })
}

async fn endpoint(
    context: &Context,
    valid: &ValidQueue,
    reader: &mut Reader<'_>,
) -> Result<EndpointUrl, ObserveError> {
    let url = match &valid.redis {
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
    let TlsSource { ca, identity } = &valid.tls;
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
