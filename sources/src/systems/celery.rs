//! Celery with Redis as its broker (kombu): one list a queue and priority step, and one hash with
//! every task that any worker has taken and not acknowledged, whichever queue it came from.

use super::missing;
use crate::{
    answers::{Answers, Question},
    depth::{Depth, Kind, SourceError},
    source::Celery,
};

/// Behind the queue's name, the lists of the higher priorities: kombu's default `priority_steps`.
const PRIORITIES: [&str; 4] = ["", "\u{6}\u{16}3", "\u{6}\u{16}6", "\u{6}\u{16}9"];

impl Celery {
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
    questions.extend(PRIORITIES.iter().map(|priority| {
        let list = format!("{}{}{priority}", of.key_prefix, of.queue);
        Question::llen(&list)
    }));
    questions
}

pub(super) fn depth(of: &Celery, answers: &mut Answers<'_>) -> Result<Depth, SourceError> {
    let bound = answers.flag()?;
    let in_flight = answers.count()?;
    let mut runnable = 0;
    for _ in PRIORITIES {
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
