//! A Redis that lives for one second and hangs up on everybody for the next.

use std::time::Instant;

use super::field::{Field, endpoints, polite};

pub(super) async fn begin(field: &Field) {
    let start = Instant::now();
    let server = field.server(move |words| {
        if start.elapsed().as_secs().is_multiple_of(2) {
            polite(words, || {
                "*5\r\n$4\r\nrest\r\n$1\r\n1\r\n$0\r\n\r\n$0\r\n\r\n$5\r\n-1 -1\r\n".to_owned()
            })
        } else {
            String::new()
        }
    });
    field.queues("flapping", endpoints(server.await, 50)).await;
}
