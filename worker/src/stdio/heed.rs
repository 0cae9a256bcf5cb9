//! What a child says of its tasks, and what becomes of them by it.

use taskqueue_queue::TaskId;
use taskqueue_queue::worker::{LeasedTask, Outcome};

use super::child::Child;
use super::message::{Message, Seconds};
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
        let Heard { end, odd } = hear(message, task);
        if let Some(odd) = odd {
            self.tell(&odd);
        }
        if let Some(outcome) = end {
            self.end(id, outcome);
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
        let unknown = kind == Kind::Unknown;
        match end_of_odd(kind, why, task) {
            None => {}
            // It may go on with the task, or not.
            Some(outcome) if unknown => {
                if let Some(job) = self.drop_task(id) {
                    job.end(outcome);
                }
            }
            Some(outcome) => self.end(id, outcome),
        }
    }

    /// The child is through with a task.
    fn end(&mut self, id: TaskId, outcome: Outcome) {
        if let Some(next) = self.jobs.end(id, outcome) {
            self.run(next);
        }
    }
}

/// What a message comes to for the task that it names.
pub(crate) struct Heard {
    /// How the task ends, if it does.
    pub(crate) end: Option<Outcome>,
    /// What is odd about the message, if anything is.
    pub(crate) odd: Option<String>,
}

/// Hears a message about a task. What is said meanwhile is handed on.
pub(crate) fn hear(message: Message, task: &LeasedTask) -> Heard {
    let mut odd = None;
    let mut span = |Seconds(span): Seconds| {
        let no_time = |text: String| {
            format!(
                "it wrote {text} seconds for task {}, which is no time: it counts as none",
                task.id
            )
        };
        span.map_err(|text| odd = Some(no_time(text))).ok()
    };
    let end = match message {
        Message::Ready {} => None,
        Message::Done { result, .. } => {
            let mut output = Output::default();
            if let Some(result) = result {
                output.push(result.get().as_bytes());
            }
            Some(output::completed(output, task))
        }
        Message::Retry { error, seconds, .. } => Some(Outcome::Retry {
            error: error.0,
            after: seconds.and_then(span),
        }),
        Message::Dead { error, .. } => Some(Outcome::Dead { error: error.0 }),
        Message::Snooze { seconds, .. } => Some(Outcome::Snoozed {
            after: span(seconds).unwrap_or_default(),
        }),
        Message::Progress { progress, .. } => {
            if let Err(error) = task.progress(&progress) {
                tracing::warn!(id = %task.id, %error, "progress not taken");
            }
            None
        }
        Message::Log { line, .. } => {
            task.log(&line.0);
            None
        }
        Message::Extend { seconds, .. } => {
            if let Some(span) = span(seconds) {
                task.extend(span);
            }
            None
        }
    };
    Heard { end, odd }
}

/// How a task ends of which a line was no message, for this reason; `None` if that is nothing to it.
pub(crate) fn end_of_odd(kind: Kind, why: String, task: &LeasedTask) -> Option<Outcome> {
    match kind {
        Kind::Aside => None,
        Kind::End | Kind::Unknown => Some(Outcome::Retry {
            error: why,
            after: None,
        }),
        Kind::Dead => Some(Outcome::Dead { error: why }),
        Kind::Oversized { head, bytes } => {
            let output = Output::beginning_of(&head, bytes);
            Some(output::completed(output, task))
        }
    }
}
