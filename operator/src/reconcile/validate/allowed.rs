//! What an installation lets TaskQueues ask for, beyond what each spec means by itself. Pure.

use std::collections::BTreeSet;

use clap::ValueEnum;
use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::{Invalid, RedisSource};

/// What the operator was installed with, as far as it decides what a TaskQueue may say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Whether there is a Redis for TaskQueues that name none.
    pub default_redis: bool,
    /// Namespaces that it serves; all of them when empty.
    pub redis_namespaces: BTreeSet<String>,
    /// Which sources are served.
    pub sources: Sources,
    /// What belongs to the operator itself.
    pub own: Own,
}

/// Which TaskQueues with a source are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sources {
    /// None.
    Off,
    /// Those that name their Redis: the operator reads for them with their own credentials.
    #[default]
    OwnRedis,
    /// Also those that name none, for which the operator reads the default Redis.
    AnyRedis,
}

/// The operator's own account and workloads, which no TaskQueue may run as or scale.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Namespace of the operator's pods.
    pub namespace: String,
    /// Their service account, if it is known.
    pub account: Option<String>,
    /// Names of the Deployments and StatefulSets that were installed with it.
    pub workloads: BTreeSet<String>,
}

impl Allowed {
    /// The Redis of a TaskQueue that names none.
    pub(super) fn default_redis(&self, namespace: &str) -> Result<RedisSource, Invalid> {
        if !self.default_redis {
            return Err(Invalid::NoRedis);
        }
        let served = &self.redis_namespaces;
        if served.is_empty() || served.contains(namespace) {
            Ok(RedisSource::Default)
        } else {
            Err(Invalid::NotServed(namespace.to_owned()))
        }
    }

    /// Whether a source may be read in this Redis.
    pub(super) fn source(&self, redis: &RedisSource) -> Result<(), Invalid> {
        match (self.sources, redis) {
            (Sources::Off, _) => Err(Invalid::SourcesOff),
            (Sources::OwnRedis, RedisSource::Default) => Err(Invalid::SourceOnDefaultRedis),
            (Sources::OwnRedis, RedisSource::Url(_) | RedisSource::Secret(_))
            | (Sources::AnyRedis, _) => Ok(()),
        }
    }

    /// Whether pods of this template may run there: as the operator itself nobody may.
    pub(super) fn pods(
        &self,
        namespace: &str,
        template: Option<&PodTemplateSpec>,
    ) -> Result<(), Invalid> {
        let spec = template.and_then(|template| template.spec.as_ref());
        let given = spec.and_then(|spec| {
            let names = [&spec.service_account_name, &spec.service_account];
            names.into_iter().flatten().find(|name| !name.is_empty())
        });
        let account = given.map_or("default", String::as_str);
        if namespace == self.own.namespace && self.own.account.as_deref() == Some(account) {
            return Err(Invalid::OwnAccount(account.to_owned()));
        }
        Ok(())
    }

    /// Whether a Deployment or StatefulSet of this name may be scaled there.
    pub(super) fn target(&self, namespace: &str, name: &str) -> Result<(), Invalid> {
        if namespace == self.own.namespace && self.own.workloads.contains(name) {
            return Err(Invalid::OwnWorkload(name.to_owned()));
        }
        Ok(())
    }
}
