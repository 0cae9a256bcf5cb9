//! 200 TaskQueues, each with a Redis whose name the tenant's name server never answers.

use super::{field::Field, names::SLOW};

pub(super) async fn begin(field: &Field) {
    let urls = (0..200).map(|number| format!("redis://slow-{number}.{SLOW}:6379"));
    field.queues("slow-name", urls).await;
}
