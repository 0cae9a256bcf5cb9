//! `spec.redis`.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Where the queue's Redis is: `url`, or `urlFrom` when the URL carries a password.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.url) != has(self.urlFrom)")
    .message("redis needs exactly one of url and urlFrom: set url, or urlFrom.secretKeyRef when the URL carries a password"))]
pub struct RedisEndpoint {
    /// URL of the Redis: `redis://host:port/db`, `redis+sentinel://host:port,host:port/primary/db`
    /// or `redis+cluster://host:port,host:port`, with `rediss` instead of `redis` for TLS. It must
    /// not carry a password, since everyone who may read the TaskQueue would read it: use urlFrom
    /// for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = Rule::new("self.matches('^rediss?([+]sentinel|[+]cluster)?://[^/?#]+([/?#].*)?$')")
            .message("redis.url must look like redis://host:6379 or, for TLS, rediss://host:6379"),
        validation = Rule::new("!self.matches('^rediss?([+]sentinel|[+]cluster)?://[^/?#]*:[^/?#]*@')")
            .message("redis.url must not carry a password: put the whole URL in a Secret and name it in redis.urlFrom.secretKeyRef")
    )]
    pub url: Option<String>,

    /// Where the URL is read from. The operator and the workers pick up a changed Secret when
    /// they next connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_from: Option<RedisUrlSource>,
}

/// Source of a Redis URL.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RedisUrlSource {
    /// A key of a Secret in the namespace of the TaskQueue. Its value is the whole URL.
    pub secret_key_ref: SecretKeySelector,
}

/// One key of one Secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeySelector {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Key within the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
