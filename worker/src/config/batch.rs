//! How many tasks a handler gets in one call, and how long they wait for each other.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use taskqueue_queue::worker::{Batching, MAX_BATCH_WAIT};

use super::Concurrency;
use super::env::{parse_duration, render_duration};

/// Many tasks in one call of the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BatchConfig {
    /// Most tasks in a call: 1 to 1000, and no more than run at once.
    pub max: u16,
    /// How long the first of them waits for others: whole milliseconds, at most [`MAX_BATCH_WAIT`].
    #[serde(serialize_with = "render", deserialize_with = "parse")]
    pub wait: Duration,
}

impl BatchConfig {
    /// The same as the queue's worker takes it.
    pub(crate) fn batching(&self) -> Batching {
        Batching::new(self.max.into(), self.wait)
    }

    /// Says what is wrong with it, if anything, for this handler.
    pub(super) fn check(&self, handler: &str) -> Result<(), String> {
        let Self { max, wait } = self;
        let most = Concurrency::MAX;
        if !(1..=most).contains(max) {
            return Err(format!("{handler}.batch.max is {max}: it is 1 to {most}"));
        }
        if *wait > MAX_BATCH_WAIT {
            let wait = render_duration(*wait);
            let longest = render_duration(MAX_BATCH_WAIT);
            return Err(format!(
                "{handler}.batch.wait is {wait}: it is 0s to {longest}"
            ));
        }
        Ok(())
    }

    /// Whether such batches can be full in a worker that runs so many tasks at once; says what is wrong if not.
    pub(super) fn check_beside(
        &self,
        handler: &str,
        concurrency: Concurrency,
    ) -> Result<(), String> {
        let max = self.max;
        if max > concurrency.get() {
            return Err(format!(
                "{handler}.batch.max is {max}, and a worker runs {concurrency} tasks at once: lower it, or raise the concurrency to {max}"
            ));
        }
        Ok(())
    }
}

fn render<S: Serializer>(wait: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&render_duration(*wait))
}

fn parse<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let told = |reason: String| {
        format!("batch.wait is {text:?}, which is no duration such as 50ms: {reason}")
    };
    parse_duration(&text).map_err(|reason| de::Error::custom(told(reason)))
}
