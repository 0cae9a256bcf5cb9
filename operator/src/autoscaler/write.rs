//! Writes to the API server: replicas and deletion costs. A bounded number of them at once, in turn
//! by namespace, each with a bounded time, so that a server that is stuck holds up nothing but
//! themselves.

use std::{fmt, sync::Arc, time::Duration};

use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::timeout;

use super::{contention::Rival, rivals, shrink::COST};
use crate::{
    fleet::{DELETION_COST, WorkerPod},
    key::Key,
    reconcile::{apply, error},
    targets::Target,
    turns::Turns,
};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Writes under way at once, of all Redis together.
const CONCURRENCY: usize = 32;
/// Of one namespace.
const SHARE: usize = 24;

/// Why a write did not succeed, or may not have.
#[derive(Debug)]
pub(super) enum WriteError {
    /// Too many writes are under way. It was not sent.
    Crowded,
    /// There was no answer. It may have been written.
    Silent,
    /// The API server, or the way to it.
    Api(kube::Error),
}

impl fmt::Display for WriteError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crowded => formatter.write_str("too many writes wait for the API server"),
            Self::Silent => write!(
                formatter,
                "the API server did not answer within {} s",
                PATIENCE.as_secs()
            ),
            Self::Api(cause) => match error::refusal(cause) {
                Some(words) => formatter.write_str(words),
                None => cause.fmt(formatter),
            },
        }
    }
}

impl WriteError {
    /// What was to be written to is not there any more.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if status.code == 404)
    }

    /// Whether it was certainly not written.
    pub(super) fn is_certain(&self) -> bool {
        matches!(self, Self::Crowded | Self::Api(kube::Error::Api(_)))
    }
}

/// The way to the API server, which all Redis share.
pub(super) struct Writes {
    client: Client,
    turns: Arc<Turns>,
}

impl Writes {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            turns: Turns::new(CONCURRENCY, SHARE),
        }
    }

    /// Writes the replicas of a TaskQueue's Deployment.
    pub(super) async fn scale(&self, key: &Key, replicas: u32) -> Result<(), WriteError> {
        self.bounded(&key.namespace, async {
            apply::scale(&self.client, key, replicas).await?;
            Ok(())
        })
        .await
    }

    /// Writes the replicas of a target.
    pub(super) async fn scale_target(
        &self,
        target: &Target,
        replicas: u32,
    ) -> Result<(), WriteError> {
        self.bounded(&target.namespace, async {
            apply::scale_target(&self.client, target, replicas).await?;
            Ok(())
        })
        .await
    }

    /// Finds out who else sets the replicas of an object.
    pub(super) async fn rival(&self, target: &Target) -> Rival {
        match timeout(PATIENCE, rivals::find(&self.client, target)).await {
            Ok(Ok(rival)) => rival,
            Ok(Err(error)) => {
                tracing::debug!(%target, %error, "cannot find out who sets the replicas");
                Rival::Unknown
            }
            Err(_) => Rival::Unknown,
        }
    }

    /// Gives a pod our deletion cost, or takes it away.
    pub(super) async fn cost(
        &self,
        namespace: &str,
        pod: &str,
        set: bool,
    ) -> Result<(), WriteError> {
        let api: Api<WorkerPod> = Api::namespaced(self.client.clone(), namespace);
        let cost = set.then(|| COST.to_string());
        let patch = json!({ "metadata": { "annotations": { DELETION_COST: cost } } });
        let params = PatchParams {
            field_manager: Some(apply::SCALER.to_owned()),
            ..PatchParams::default()
        };
        self.bounded(namespace, async {
            api.patch_metadata(pod, &params, &Patch::Merge(&patch))
                .await?;
            Ok(())
        })
        .await
    }

    async fn bounded(
        &self,
        namespace: &str,
        write: impl Future<Output = Result<(), kube::Error>>,
    ) -> Result<(), WriteError> {
        // What was decided must not be written long after, so that the turn has its bound too.
        let Ok(_turn) = timeout(PATIENCE, self.turns.take(namespace)).await else {
            return Err(WriteError::Crowded);
        };
        match timeout(PATIENCE, write).await {
            Ok(written) => written.map_err(WriteError::Api),
            Err(_) => Err(WriteError::Silent),
        }
    }
}
