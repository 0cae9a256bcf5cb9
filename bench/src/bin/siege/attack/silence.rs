//! Takes connections and says nothing.

use super::field::{Field, endpoints, hold, listen};

pub(super) async fn begin(field: &Field) {
    let port = listen(hold).await;
    field.queues("silence", endpoints(port, 50)).await;
}
