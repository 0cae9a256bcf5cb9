//! What a child says of its tasks, and what becomes of them by it.

use std::time::Duration;

use taskqueue_queue::TaskId;
use taskqueue_queue::worker::Outcome;

use super::child::Child;
use super::message::{Message, Seconds, Words};
use super::reading::{Kind, Odd, Reading};
use crate::output::{self, Output};

impl Child {
    /// Does what it says.
    pub(super) fn heed(&mut self, reading: Reading) {
        match reading {
            Reading::Message(message) => self.obey(message),
            Reading::Mended(message, wrong) => {
                self.tell(&format!(
                    "it wrote a message that is not JSON in UTF-8, read with U+FFFD for characters and null for numbers that are none ({wrong})"
                ));
                self.obey(message);
            }
            Reading::Odd(odd) => self.charge(odd),
            Reading::Stray(why) => self.tell(&why),
        }
    }

    fn obey(&mut self, message: Message) {
        let Some(id) = message.id() else { return };
        let Some(task) = self.jobs.get(id) else {
            return self.answer_to_nobody(id, &message);
        };
        match message {
            Message::Ready {} => {}
            Message::Done { result, .. } => {
                let mut output = Output::default();
                if let Some(result) = result {
                    output.push(result.get().as_bytes());
                }
                let outcome = output::completed(output, task);
                self.end(id, outcome);
            }
            Message::Retry { error, seconds, .. } => {
                let after = seconds.and_then(|seconds| self.span(id, seconds));
                let Words(error) = error;
                self.end(id, Outcome::Retry { error, after });
            }
            Message::Dead { error, .. } => self.end(id, Outcome::Dead { error: error.0 }),
            Message::Snooze { seconds, .. } => {
                let after = self.span(id, seconds).unwrap_or_default();
                self.end(id, Outcome::Snoozed { after });
            }
            Message::Progress { progress, .. } => {
                if let Err(error) = task.progress(&progress) {
                    tracing::warn!(id = %id, %error, "progress not taken");
                }
            }
            Message::Log { line, .. } => task.log(&line.0),
            Message::Extend { seconds, .. } => {
                let task = task.clone();
                if let Some(span) = self.span(id, seconds) {
                    task.extend(span);
                }
            }
        }
    }

    /// It says something of a task that it is not to work on.
    fn answer_to_nobody(&mut self, id: TaskId, message: &Message) {
        let aside = matches!(
            message,
            Message::Progress { .. } | Message::Log { .. } | Message::Extend { .. }
        );
        match (self.jobs.is_dropped(id), aside) {
            (true, true) => {}
            (true, false) => self.end(id, Outcome::Released),
            (false, _) => self.tell(&format!("it wrote of task {id}, which it does not have")),
        }
    }

    /// A line about a task was no message: that is the task's own failure, and of no other.
    fn charge(&mut self, odd: Odd) {
        let Odd { id, kind, why } = odd;
        self.tell(&why);
        let Some(task) = self.jobs.get(id) else {
            if kind != Kind::Aside && kind != Kind::Unknown {
                self.end(id, Outcome::Released);
            }
            return;
        };
        let failed = |error| Outcome::Retry { error, after: None };
        match kind {
            Kind::Aside => {}
            Kind::End => self.end(id, failed(why)),
            Kind::Dead => self.end(id, Outcome::Dead { error: why }),
            Kind::Oversized { head, bytes } => {
                let outcome = output::completed(Output::beginning_of(&head, bytes), task);
                self.end(id, outcome);
            }
            // It may go on with the task, or not.
            Kind::Unknown => {
                if let Some(job) = self.drop_task(id) {
                    job.end(failed(why));
                }
            }
        }
    }

    /// The span that it has named, if it is one.
    fn span(&mut self, id: TaskId, Seconds(span): Seconds) -> Option<Duration> {
        span.map_err(|text| {
            self.tell(&format!(
                "it wrote {text} seconds for task {id}, which is no time: it counts as none"
            ));
        })
        .ok()
    }

    /// The child is through with a task.
    fn end(&mut self, id: TaskId, outcome: Outcome) {
        if let Some(next) = self.jobs.end(id, outcome) {
            self.run(next);
        }
    }
}
