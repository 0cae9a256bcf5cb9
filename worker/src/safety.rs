//! Whether Redis' own settings are such that tasks are safe: looked at once a minute, told in the log
//! when something of it changes, and as a metric.

use std::time::Duration;

use taskqueue_queue::Client;
use taskqueue_queue::server::Safety;

use crate::metrics::Metrics;

/// Time between two looks.
const LOOK: Duration = Duration::from_mins(1);

/// Looks and tells for as long as this future is polled. Asks over the client's own connection, and
/// nothing waits for it.
pub(crate) async fn watch(client: Client, metrics: Metrics) {
    let mut told = Safety::default();
    loop {
        match client.server_reports().await {
            Ok(reports) => {
                let safety = Safety::of(&reports);
                tell(&safety, &told);
                metrics.redis_is(&safety);
                told = safety;
            }
            // Whoever needs Redis says so.
            Err(error) => tracing::debug!(%error, "cannot look at the settings of Redis"),
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn tell(safety: &Safety, told: &Safety) {
    for finding in safety.news(told) {
        let risk = finding.risk.reason();
        tracing::warn!(risk, "tasks are not safe in this Redis: {finding}");
    }
    for finding in told.news(safety) {
        if safety.is_unsafe(finding.risk.setting()) == Some(false) {
            let setting = finding.risk.setting().name();
            tracing::info!(setting, "a setting of Redis is safe again");
        }
    }
    let untold = safety.untold();
    if let Some(untold) = untold.filter(|untold| told.untold().as_ref() != Some(untold)) {
        tracing::info!("whether tasks are safe in this Redis is not known: {untold}");
    }
}
