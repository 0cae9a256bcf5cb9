//! When and where an attempt ran. Pure.

use std::time::Duration;

use super::attempt::Shop;
use crate::WorkerId;
use crate::record::Site;

/// When an attempt ran, for how long, and in which span, as a `traceparent`.
pub(super) struct Course {
    pub(super) started_ms: u64,
    pub(super) run: Duration,
    pub(super) span: Option<String>,
}

impl Course {
    /// All that is kept of where it ran.
    pub(super) fn site<H>(&self, shop: &Shop<H>, worker: WorkerId) -> Site {
        Site {
            started_ms: self.started_ms,
            worker: worker.to_string(),
            ..self.place(shop)
        }
    }

    /// What of it a done record does not say anyway.
    pub(super) fn place<H>(&self, shop: &Shop<H>) -> Site {
        shop.site.clone().traced(self.span.as_deref())
    }
}
