//! What a wake cannot be quicker than: the time from a write of replicas by the measurement itself until
//! the watch shows it, on a Deployment that is nobody's.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::honest::{NAMESPACE, Seen, Wake};

/// The Deployment.
pub(crate) const NAME: &str = "yardstick";
/// From one write to the next.
const PAUSE: Duration = Duration::from_millis(200);

/// Makes it.
pub(crate) async fn make(client: &Client) {
    let labels = json!({ "app": NAME });
    let container = json!({ "name": "app", "image": "registry.example/app:1" });
    let made = json!({
        "metadata": { "name": NAME },
        "spec": {
            "replicas": 0,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } }
        }
    });
    let made = serde_json::from_value(made).expect("a Deployment");
    let made = api(client).create(&PostParams::default(), &made).await;
    made.expect("the Deployment can be made");
}

/// Writes by turns one and no replicas until `stop`, and returns how long each took until it was seen.
pub(crate) async fn measure(
    client: &Client,
    mut seen: watch::Receiver<Seen>,
    stop: CancellationToken,
) -> Vec<Wake> {
    let (api, how, mut writes) = (api(client), PatchParams::default(), Vec::new());
    for number in 1.. {
        let (begun, replicas) = (Instant::now(), number % 2);
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        let written = api.patch_scale(NAME, &how, &patch);
        let shown = async {
            written.await.expect("replicas can be written");
            let shown = seen.wait_for(|(now, _)| *now == replicas).await;
            shown.expect("the watch goes on").1
        };
        let Some(at) = stop.run_until_cancelled(shown).await else {
            break;
        };
        let took = at.saturating_duration_since(begun);
        writes.push(Wake { begun, took });
        if stop.run_until_cancelled(sleep(PAUSE)).await.is_none() {
            break;
        }
    }
    // For the next time.
    let none = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
    let _ = api.patch_scale(NAME, &how, &none).await;
    let _ = seen.wait_for(|(now, _)| *now == 0).await;
    writes
}

/// The longest of these that went on in that time.
pub(crate) fn beside(writes: &[Wake], wake: Wake) -> Duration {
    let together = |write: &&Wake| {
        write.begun < wake.begun + wake.took && write.begun + write.took > wake.begun
    };
    let took = writes.iter().filter(together).map(|write| write.took);
    took.max().unwrap_or_default()
}

fn api(client: &Client) -> Api<Deployment> {
    Api::namespaced(client.clone(), NAMESPACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_the_writes_that_went_on_with_a_wake_the_longest_counts() {
        let now = Instant::now();
        let at = |begun: u64, took: u64| Wake {
            begun: now + Duration::from_millis(begun),
            took: Duration::from_millis(took),
        };
        let writes = [at(0, 900), at(1_000, 30), at(1_200, 50), at(2_001, 700)];
        assert_eq!(beside(&writes, at(1_000, 1_000)), Duration::from_millis(50));
        assert_eq!(beside(&writes, at(899, 10)), Duration::from_millis(900));
        assert_eq!(beside(&writes, at(950, 10)), Duration::ZERO);
    }
}
