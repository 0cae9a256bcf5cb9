//! 20 TaskQueues in the operator's own Redis, of which one is edited every 50 ms: its policy and
//! its template.

use std::time::Duration;

use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use taskqueue_api::TaskQueue;

use super::field::{Field, ticks};
use crate::attackers::NAMESPACE;

const QUEUES: usize = 20;

pub(super) async fn begin(field: &Field) {
    field.specs("hot", (0..QUEUES).map(|_| spec(0))).await;
    let api: Api<TaskQueue> = Api::namespaced(field.client.clone(), NAMESPACE);
    tokio::spawn(async move {
        let mut tick = ticks(Duration::from_millis(50));
        for edit in 1.. {
            tick.tick().await;
            let name = format!("hot-{:04}", edit % QUEUES);
            let patch = json!({ "spec": spec(edit) });
            // Also after the attack, when they are gone.
            let _ = api
                .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
                .await;
        }
    });
}

fn spec(edit: usize) -> Value {
    let variable = json!({ "name": "EDIT", "value": edit.to_string() });
    let container = json!({ "name": "app", "image": "registry.example/app:1", "env": [variable] });
    json!({
        "retry": { "maxAttempts": 1 + edit % 50 },
        "worker": {
            "handler": { "exec": { "command": ["/app"] } },
            "template": { "spec": { "containers": [container] } }
        }
    })
}
