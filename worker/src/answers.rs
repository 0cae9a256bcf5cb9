//! What `exec` and `http` handlers say of the tasks of a batch, in the messages of `stdio`, until the batch is over: then
//! each task ends by the first that was said of its end, or as the whole of it did.

use std::collections::HashMap;
use std::time::Instant;

use taskqueue_queue::TaskId;
use taskqueue_queue::worker::{Batch, LeasedTask, Member, Outcome};

use crate::control::{Control, Controls};
use crate::process::Allowance;
use crate::stdio::heed::{Heard, end_of_odd, hear};
use crate::stdio::message::Message;
use crate::stdio::reading::{Odd, Reading};

/// How much is logged of one odd thing that is said.
const MOST_TOLD_BYTES: usize = 2048;

/// What was said so far. Dropped before the batch is over, as by a time-out, it ends those tasks of whose end something was
/// said.
pub(crate) struct Answers<'a> {
    tasks: HashMap<TaskId, Answer<'a>>,
    allowance: Allowance,
    suppressed: u64,
}

/// What was said of one task.
struct Answer<'a> {
    member: &'a Member,
    control: Control,
    end: Option<Outcome>,
}

impl<'a> Answers<'a> {
    /// Nothing so far. Each task has a control of its own, for as long as this lives.
    pub(crate) fn new(batch: &'a Batch, controls: &Controls) -> Self {
        let answer = |member: &'a Member| Answer {
            member,
            control: controls.open(member.task()),
            end: None,
        };
        let members = batch.members().iter();
        Self {
            tasks: members
                .map(|member| (member.task().id, answer(member)))
                .collect(),
            allowance: Allowance::new(Instant::now()),
            suppressed: 0,
        }
    }

    /// Where a task's handler reaches its control.
    pub(crate) fn url(&self, task: &LeasedTask) -> String {
        let answer = self.tasks.get(&task.id);
        answer.map_or_else(String::new, |answer| answer.control.url())
    }

    /// Something more is said.
    pub(crate) fn take(&mut self, reading: Reading) {
        match reading {
            Reading::Message(message) => self.obey(message),
            Reading::Mended(message, wrong) => {
                self.tell(&format!("a message is not JSON in UTF-8 ({wrong})"));
                self.obey(message);
            }
            Reading::Odd(Odd { id, kind, why }) => {
                self.tell(&why);
                if let Some(answer) = self.tasks.get(&id) {
                    let end = end_of_odd(kind, why, answer.member.task());
                    self.end(id, end);
                }
            }
            Reading::Stray(why) => self.tell(&why),
        }
    }

    fn obey(&mut self, message: Message) {
        let Some(id) = message.id() else { return };
        let Some(answer) = self.tasks.get(&id) else {
            return self.tell(&format!(
                "it wrote of task {id}, which is none of its batch"
            ));
        };
        let Heard { end, odd } = hear(message, answer.member.task());
        if let Some(odd) = odd {
            self.tell(&odd);
        }
        self.end(id, end);
    }

    /// The first word counts.
    fn end(&mut self, id: TaskId, end: Option<Outcome>) {
        let (Some(end), Some(answer)) = (end, self.tasks.get_mut(&id)) else {
            return;
        };
        if answer.end.is_none() {
            answer.end = Some(end);
        } else {
            self.tell(&format!(
                "it wrote of the end of task {id} again: the first counts"
            ));
        }
    }

    /// The batch is over. Tasks of whose end nothing was said end like this.
    pub(crate) fn conclude(mut self, rest: impl Fn(&LeasedTask) -> Outcome) {
        for answer in self.tasks.values_mut() {
            answer.end.get_or_insert_with(|| rest(answer.member.task()));
        }
    }

    /// Logs what is odd about what is said; a bounded share of it.
    pub(crate) fn tell(&mut self, what: &str) {
        if self.allowance.take(Instant::now()) {
            let suppressed = std::mem::take(&mut self.suppressed);
            let what = &what[..what.floor_char_boundary(MOST_TOLD_BYTES)];
            tracing::warn!(suppressed, "the handler of a batch: {what}");
        } else {
            self.suppressed += 1;
        }
    }
}

impl Drop for Answers<'_> {
    fn drop(&mut self) {
        for (
            _,
            Answer {
                member,
                control,
                end,
            },
        ) in self.tasks.drain()
        {
            if let Some(end) = end {
                member.end(control.outcome(end));
            }
        }
    }
}
