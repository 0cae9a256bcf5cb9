//! `spec.redis`.
#![allow(
    clippy::struct_field_names,
    reason = "the names are those of the resource's fields"
)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Where the queue's Redis is: `url`, or `urlFrom` when the URL carries a password.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.url) != has(self.urlFrom)")
    .message("redis needs exactly one of url and urlFrom: set url, or urlFrom.secretKeyRef when the URL carries a password"))]
#[x_kube(validation = Rule::new("!has(self.tls) || !has(self.url) || self.url.matches('^(?i)(rediss|valkeys)[+:]')")
    .message("redis.tls needs a redis.url that begins with rediss or valkeys: without TLS there is no certificate to check"))]
pub struct RedisEndpoint {
    /// URL of the Redis: `redis://host:port/db`, `redis+sentinel://host:port,host:port/primary/db`
    /// or `redis+cluster://host:port,host:port`, with `rediss` instead of `redis` for TLS; `valkey`
    /// and `valkeys` mean the same; at most 16 hosts. It must not carry a password, since everyone who
    /// may read the TaskQueue would read it: use urlFrom for that. Without TLS whoever is on the way reads
    /// password and payloads. Sentinels are asked without a password. Which hosts may be named is up to
    /// who runs the operator (redis.allowed).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(
        validation = Rule::new("self.matches('^(?i)(redis|valkey)s?([+]sentinel|[+]cluster)?://[^/?#]+([/?#].*)?$')")
            .message("redis.url must look like redis://host:6379 or, for TLS, rediss://host:6379 (or valkey://, valkeys://)"),
        validation = Rule::new("!self.matches('^(?i)(redis|valkey)s?([+]sentinel|[+]cluster)?://[^/?#]*:[^/?#]*@')")
            .message("redis.url must not carry a password: put the whole URL in a Secret and name it in redis.urlFrom.secretKeyRef")
    )]
    pub url: Option<String>,

    /// Where the URL is read from. A change of the Secret is taken up within seconds: the operator
    /// connects anew, and the workers are rolled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_from: Option<SecretSource>,

    /// Certificates for a URL that begins with `rediss` or `valkeys`. Without it the server's certificate is
    /// checked against the authorities that the images trust, and none is shown to it. A change
    /// of a Secret is taken up as one of urlFrom is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RedisTls>,
}

/// Whom to trust and what to show of oneself in TLS. Each is PEM of at most 64 KiB.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.caFrom) || has(self.certFrom)")
        .message("redis.tls is empty: set caFrom, certFrom with keyFrom, or leave tls out"),
    validation = Rule::new("has(self.certFrom) == has(self.keyFrom)")
        .message("redis.tls needs both or neither of certFrom and keyFrom: a client certificate is of no use without its key")
)]
#[allow(
    clippy::struct_field_names,
    reason = "the names of the fields in the resource"
)]
pub struct RedisTls {
    /// Certificates of the authorities to trust instead of those that the images trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_from: Option<SecretSource>,

    /// Certificate to show to the server, with its chain if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_from: Option<SecretSource>,

    /// Private key of that certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_from: Option<SecretSource>,
}

/// Where a value is read from that not everyone may see.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretSource {
    /// A key of a Secret in the namespace of the TaskQueue. Its value is the whole text.
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
