//! 100 TaskQueues in the operator's own Redis with templates of 1 MB.

use serde_json::json;

use super::field::Field;

pub(super) async fn begin(field: &Field) {
    let specs = (0..100).map(|number| {
        let ballast =
            json!({ "name": "BALLAST", "value": format!("{number}{}", "x".repeat(1_000_000)) });
        let container =
            json!({ "name": "app", "image": "registry.example/app:1", "env": [ballast] });
        json!({
            "worker": {
                "handler": { "exec": { "command": ["/app"] } },
                "template": { "spec": { "containers": [container] } }
            }
        })
    });
    field.specs("template", specs).await;
}
