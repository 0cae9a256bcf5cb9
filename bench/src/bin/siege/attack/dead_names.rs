//! 2,000 TaskQueues, each with a Redis whose name does not exist.

use super::{field::Field, names::DEAD};

pub(super) async fn begin(field: &Field) {
    let urls = (0..2_000).map(|number| format!("redis://dead-{number}.{DEAD}:6379"));
    field.queues("dead-name", urls).await;
}
