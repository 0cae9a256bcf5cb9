//! URLs of sentinels and clusters with as many hosts as fit: silent ports, and names that are never
//! resolved. In the resource they fit by hundreds, in a Secret by thousands.

use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use super::{
    field::{Field, hold, listen},
    names::SLOW,
};
use crate::attackers::NAMESPACE;

/// Most characters of a URL in the resource, and in a Secret.
const ROOM: [usize; 2] = [2_048, 65_536];

pub(super) async fn begin(field: &Field) {
    let port = listen(hold).await;
    let silent = |_| format!("127.0.0.1:{port}");
    let named = |number: usize| format!("h{number}.{SLOW}");
    let [resource, secret] = ROOM;
    let urls = [
        url("redis+sentinel", "/main", resource, silent),
        url("redis+sentinel", "/main", resource, named),
        url("redis+cluster", "", resource, silent),
        url("redis+cluster", "", resource, named),
    ];
    field.queues("hosts", urls).await;
    let urls = [
        url("redis+sentinel", "/main", secret, silent),
        url("redis+sentinel", "/main", secret, named),
    ];
    for (number, url) in urls.into_iter().enumerate() {
        let name = format!("hosts-{number}");
        let manifest = json!({
            "metadata": { "name": name, "namespace": NAMESPACE }, "stringData": { "url": url }
        });
        field.make::<Secret>(manifest).await;
        let source = json!({ "secretKeyRef": { "name": name, "key": "url" } });
        let spec = json!({
            "redis": { "urlFrom": source }, "worker": { "handler": { "native": {} } }
        });
        field.specs(&format!("hosts-secret-{number}"), [spec]).await;
    }
}

/// A URL of at most so many characters.
fn url(scheme: &str, tail: &str, room: usize, host: impl Fn(usize) -> String) -> String {
    let mut url = format!("{scheme}://{}", host(0));
    for number in 1.. {
        let next = host(number);
        if url.len() + 1 + next.len() + tail.len() > room {
            break;
        }
        url.push(',');
        url.push_str(&next);
    }
    url + tail
}
