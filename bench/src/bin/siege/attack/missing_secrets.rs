//! 200 TaskQueues that name four Secrets each, none of which is there.

use serde_json::json;

use super::field::Field;

pub(super) async fn begin(field: &Field) {
    let specs = (0..200).map(|number| {
        let from = |what: &str| {
            let name = format!("missing-{number}-{what}");
            json!({ "secretKeyRef": { "name": name, "key": what } })
        };
        json!({
            "redis": {
                "urlFrom": from("url"),
                "tls": { "caFrom": from("ca"), "certFrom": from("cert"), "keyFrom": from("key") }
            },
            "worker": { "handler": { "native": {} } }
        })
    });
    field.specs("missing-secret", specs).await;
}
