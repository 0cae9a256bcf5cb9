//! Refuses everything with 7 MB of text; and, elsewhere, gives each look a fault of 32 MB.

use super::field::{Field, endpoints, polite};

pub(super) async fn begin(field: &Field) {
    let port = field
        .server(|_| format!("-ERR {}\r\n", "x".repeat(7_000_000)))
        .await;
    field.queues("long-refusal", endpoints(port, 20)).await;
    let port = field.server(|words| polite(words, look)).await;
    field.queues("long-fault", endpoints(port, 20)).await;
}

/// What a look at a queue at rest finds.
fn look() -> String {
    let fault = "x".repeat(32_000_000);
    let words = ["rest", "1", "", &fault, "-1 -1"];
    let words = words.map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), words.concat())
}
