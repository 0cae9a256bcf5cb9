//! What the API server is: asked once, when the work begins.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::version::Info;
use kube::Client;
use tokio_util::sync::CancellationToken;

/// Time between two questions while there is no answer.
const AGAIN: Duration = Duration::from_secs(1);

/// The version that first has `lifecycle.stopSignal`. An older one refuses what it does not know; a
/// newer one whose feature gate `ContainerStopSignals` is off drops the field and takes the rest.
const STOP_SIGNALS: (u32, u32) = (1, 33);

/// Asks until there is an answer: to go on with a guess would be to make other pods after one start
/// than after another, and so to roll all workers out. `None` once it is told to stop.
pub async fn knows_stop_signals(client: &Client, stop: &CancellationToken) -> Option<bool> {
    loop {
        match client.apiserver_version().await {
            Ok(version) => return Some(has_stop_signals(&version)),
            // Everyone may read it, unless somebody took that right away; then it stays so.
            Err(kube::Error::Api(status)) if status.code == 403 => return Some(false),
            Err(error) => {
                tracing::warn!(%error, "cannot read the API server's version, trying again");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// Whether a server of this version has the field. Providers write more behind the number.
pub fn has_stop_signals(version: &Info) -> bool {
    let number = |text: &str| {
        let end = text.find(|letter: char| !letter.is_ascii_digit());
        text[..end.unwrap_or(text.len())].parse::<u32>().ok()
    };
    let version = (number(&version.major), number(&version.minor));
    matches!(version, (Some(major), Some(minor)) if (major, minor) >= STOP_SIGNALS)
}
