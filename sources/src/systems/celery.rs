//! Celery with Redis as its broker (kombu): one list a queue and priority step, and one hash with
//! every task that any worker has taken and not acknowledged, whichever queue it came from. With
//! the defaults of Celery a task is acknowledged when it starts, so that what runs is nowhere.

use super::missing;
use crate::{
    answers::{Answers, Question},
    depth::{Depth, Kind, SourceError},
    source::Celery,
};

impl Celery {
    /// The list of a priority step; that of step 0 has the queue's own name.
    fn list(&self, step: u8) -> String {
        let (prefix, queue) = (&self.key_prefix, &self.queue);
        match step {
            0 => format!("{prefix}{queue}"),
            step => format!("{prefix}{queue}{}{step}", self.separator),
        }
    }

    /// The set of the queues that are bound to the exchange: made by the first producer or worker.
    fn binding(&self) -> String {
        format!("{}_kombu.binding.{}", self.key_prefix, self.exchange)
    }
}

pub(super) fn questions(of: &Celery) -> Vec<Question> {
    let unacked = format!("{}unacked", of.key_prefix);
    let mut questions = vec![
        Question::new("SCARD", &of.binding(), Kind::Set, &[]),
        Question::new("HLEN", &unacked, Kind::Hash, &[]),
    ];
    let steps = of.priority_steps.iter();
    questions.extend(steps.map(|&step| Question::llen(&of.list(step))));
    questions
}

pub(super) fn depth(of: &Celery, answers: &mut Answers<'_>) -> Result<Depth, SourceError> {
    let bound = answers.flag()?;
    let in_flight = answers.count()?;
    let mut runnable = 0;
    for _ in &of.priority_steps {
        runnable += answers.count()?;
    }
    if !bound && runnable == 0 {
        return Err(missing(
            of.binding(),
            "no Celery producer or worker has declared this queue; check source.celery.queue, exchange and keyPrefix, and the number of the database",
        ));
    }
    Ok(Depth {
        runnable,
        in_flight,
        ..Depth::default()
    })
}
