//! How the worker pods get the URL of their Redis and its certificates.
//!
//! A password is never written into a pod spec: it stays in the Secret that the user named, or,
//! when it comes from the operator's own configuration (or from a spec that is older than the
//! rule against it), in a Secret beside the workers.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{self as core, EnvVarSource, Secret},
};
use kube::core::ObjectMeta;
use taskqueue_api::spec::SecretKeySelector;
use taskqueue_worker::config::{REDIS_CA_VARIABLE, REDIS_CERT_VARIABLE, REDIS_KEY_VARIABLE};

use super::super::validate::{RedisSource, TlsSource, ValidQueue};
use super::deployment;
use crate::endpoint::EndpointUrl;

const URL_KEY: &str = "url";

/// Where a pod reads the URL.
#[derive(Clone, Debug, PartialEq)]
pub enum PodRedis {
    /// A plain value, without a password.
    Value(String),
    /// A key of a Secret.
    From(Box<EnvVarSource>),
}

/// The Secret that carries the URL to the pods, where it has a password and no Secret yet.
pub fn build(valid: &ValidQueue, endpoint: &EndpointUrl) -> Option<Secret> {
    if matches!(valid.redis, RedisSource::Secret(_)) || !endpoint.has_password() {
        return None;
    }
    Some(Secret {
        metadata: ObjectMeta {
            name: Some(name(valid)),
            namespace: Some(valid.key.namespace.clone()),
            labels: Some(deployment::labels(valid)),
            owner_references: Some(vec![valid.owner.clone()]),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([(
            URL_KEY.to_owned(),
            ByteString(endpoint.expose().as_bytes().to_vec()),
        )])),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    })
}

/// Where the pods read the URL.
pub fn source(valid: &ValidQueue, endpoint: &EndpointUrl) -> PodRedis {
    match &valid.redis {
        RedisSource::Secret(selector) => PodRedis::From(Box::new(env_source(selector))),
        RedisSource::Default | RedisSource::Url(_) if endpoint.has_password() => {
            let selector = SecretKeySelector {
                name: name(valid),
                key: URL_KEY.to_owned(),
            };
            PodRedis::From(Box::new(env_source(&selector)))
        }
        RedisSource::Default | RedisSource::Url(_) => PodRedis::Value(endpoint.expose().to_owned()),
    }
}

fn name(valid: &ValidQueue) -> String {
    format!("{}-redis", valid.key.name)
}

/// The certificates as variables of the pods: a name, and where its value is. They are no files, so
/// that a task's command cannot read them; the worker takes its own variables away from it.
pub fn certificates(valid: &ValidQueue) -> Vec<(&'static str, EnvVarSource)> {
    let TlsSource { ca, identity } = &valid.tls;
    let (cert, key) = identity
        .as_ref()
        .map_or((None, None), |(cert, key)| (Some(cert), Some(key)));
    [
        (REDIS_CA_VARIABLE, ca.as_ref()),
        (REDIS_CERT_VARIABLE, cert),
        (REDIS_KEY_VARIABLE, key),
    ]
    .into_iter()
    .filter_map(|(variable, selector)| Some((variable, env_source(selector?))))
    .collect()
}

fn env_source(selector: &SecretKeySelector) -> EnvVarSource {
    EnvVarSource {
        secret_key_ref: Some(core::SecretKeySelector {
            name: selector.name.clone(),
            key: selector.key.clone(),
            optional: None,
        }),
        ..EnvVarSource::default()
    }
}
