//! Greets as a Redis does, and answers every script that the policy has changed.

use super::field::{Field, endpoints, polite};

pub(super) async fn begin(field: &Field) {
    let port = field.server(|words| polite(words, || "*1\r\n$5\r\nstale\r\n".to_owned()));
    field
        .queues("endless-stale", endpoints(port.await, 20))
        .await;
}
