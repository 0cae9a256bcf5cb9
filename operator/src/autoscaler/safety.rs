//! Whether tasks are safe in one Redis: its settings are looked at once a minute, beside the looks at
//! its queues, which never wait for it.

use std::{sync::Arc, time::Duration};

use taskqueue_queue::{Client, Error, server::Safety};
use tokio::{task::JoinSet, time::Instant};

use super::Shared;
use crate::endpoint::EndpointUrl;

/// Time between two looks.
const EVERY: Duration = Duration::from_mins(1);

/// The looks at the settings of one Redis.
pub(super) struct Settings {
    shared: Arc<Shared>,
    url: EndpointUrl,
    due: Instant,
    running: JoinSet<Result<Safety, Error>>,
    /// What was seen last.
    seen: Option<Arc<Safety>>,
}

impl Settings {
    pub(super) fn new(shared: Arc<Shared>, url: EndpointUrl) -> Self {
        Self {
            shared,
            url,
            due: Instant::now(),
            running: JoinSet::new(),
            seen: None,
        }
    }

    /// What was seen last; `None` before the first look.
    pub(super) fn seen(&self) -> Option<Arc<Safety>> {
        self.seen.clone()
    }

    /// Begins a look if it is time for one.
    pub(super) fn look(&mut self, client: &Client) {
        if Instant::now() < self.due || !self.running.is_empty() {
            return;
        }
        self.due = Instant::now() + EVERY;
        let client = client.clone();
        self.running
            .spawn(async move { Ok(Safety::of(&client.server_reports().await?)) });
    }

    /// The end of a look that has seen something else than the one before. Waits for ever while there
    /// is none under way; may be dropped and called again.
    pub(super) async fn changed(&mut self) -> Arc<Safety> {
        loop {
            let safety = match self.running.join_next().await {
                Some(Ok(Ok(safety))) => safety,
                // The looks at the queues tell of a Redis that is away.
                Some(Ok(Err(error))) => {
                    tracing::debug!(redis = %self.url, %error, "cannot look at the settings");
                    continue;
                }
                // A panic has been told where it happened.
                Some(Err(error)) => {
                    tracing::error!(%error, "a look at settings ended badly");
                    continue;
                }
                None => std::future::pending().await,
            };
            self.shared
                .metrics
                .redis_is(&self.url.to_string(), Some(&safety));
            if self.seen.as_deref() == Some(&safety) {
                continue;
            }
            self.tell(&safety);
            let safety = Arc::new(safety);
            self.seen = Some(Arc::clone(&safety));
            return safety;
        }
    }

    fn tell(&self, safety: &Safety) {
        let none = Safety::default();
        let before = self.seen.as_deref().unwrap_or(&none);
        for finding in safety.news(before) {
            let risk = finding.risk.reason();
            tracing::warn!(redis = %self.url, risk, "tasks are not safe in this Redis: {finding}");
        }
        for finding in before.news(safety) {
            let setting = finding.risk.setting();
            if safety.is_unsafe(setting) == Some(false) {
                tracing::info!(redis = %self.url, %setting, "a setting of Redis is safe again");
            }
        }
        if let Some(untold) = safety.untold()
            && before.untold().as_ref() != Some(&untold)
        {
            tracing::info!(redis = %self.url, "whether tasks are safe is not known: {untold}");
        }
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        self.shared.metrics.redis_is(&self.url.to_string(), None);
    }
}
