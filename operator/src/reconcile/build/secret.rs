//! How the worker pods get the URL of their Redis.
//!
//! A password is never written into a pod spec: it stays in the Secret that the user named, or,
//! when it comes from the operator's own configuration (or from a spec that is older than the
//! rule against it), in a Secret beside the workers.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{EnvVarSource, Secret, SecretKeySelector},
};
use kube::core::ObjectMeta;

use super::super::validate::{RedisSource, ValidQueue};
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
    if matches!(valid.redis, RedisSource::Secret { .. }) || !endpoint.has_password() {
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
        RedisSource::Secret { name, key } => from_secret(name.clone(), key.clone()),
        RedisSource::Default | RedisSource::Url(_) if endpoint.has_password() => {
            from_secret(name(valid), URL_KEY.to_owned())
        }
        RedisSource::Default | RedisSource::Url(_) => PodRedis::Value(endpoint.expose().to_owned()),
    }
}

fn name(valid: &ValidQueue) -> String {
    format!("{}-redis", valid.key.name)
}

fn from_secret(name: String, key: String) -> PodRedis {
    PodRedis::From(Box::new(EnvVarSource {
        secret_key_ref: Some(SecretKeySelector {
            name,
            key,
            optional: None,
        }),
        ..EnvVarSource::default()
    }))
}
