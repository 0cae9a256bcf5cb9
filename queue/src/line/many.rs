//! Many questions to one server at once, such as only read.

use std::sync::Arc;

use futures::future::join_all;
use redis::{Pipeline, Value};

use super::{Line, Live, Refused, is_missing_script};
use crate::fault::Fault;
use crate::question::Question;
use crate::shared::lock;

/// Most questions of one round trip, so that a connection is not long in their way; more go over
/// further connections.
const MOST_AT_ONCE: usize = 1_000;

/// How often questions are asked in two parts whose answers were too large together. Of a thousand it
/// takes ten to find one.
const MOST_SPLITS: usize = 32;

impl Line {
    /// Many questions in one round trip for each thousand of them, each thousand over a connection of
    /// its own. They must be such that only read: where a connection turns out to have broken since
    /// the last call, they are asked once more.
    pub(crate) async fn ask_all(&self, questions: &[Question<'_>]) -> Vec<Result<Value, Fault>> {
        let parts = questions.chunks(MOST_AT_ONCE);
        let others = self.others(parts.len().saturating_sub(1));
        let lines = std::iter::once(self).chain(&others);
        let asked = parts
            .zip(lines)
            .map(async |(part, line)| line.ask_apart(part).await);
        let answers = join_all(asked).await;
        answers.into_iter().flatten().collect()
    }

    /// The same over this connection. Where the answers are too large together they are asked for in
    /// parts, so that one that is too large alone takes no other with it.
    async fn ask_apart(&self, questions: &[Question<'_>]) -> Vec<Result<Value, Fault>> {
        let mut answers = Vec::with_capacity(questions.len());
        let mut parts = vec![questions];
        let mut splits = 0;
        while let Some(part) = parts.pop() {
            let asked = match self.ask_some(part).await {
                Err(fault) if fault.is_broken_line() => self.ask_some(part).await,
                asked => asked,
            };
            match asked {
                Ok(some) => answers.extend(some),
                Err(fault) if fault.is_too_large() && part.len() > 1 && splits < MOST_SPLITS => {
                    splits += 1;
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Err(fault) => answers.extend(vec![Err(fault); part.len()]),
            }
        }
        answers
    }

    /// The same in one round trip; a second one is needed only if the server did not know a script.
    async fn ask_some(
        &self,
        questions: &[Question<'_>],
    ) -> Result<Vec<Result<Value, Fault>>, Fault> {
        let (live, mut values) = self.round_trip(questions).await?;
        if let Some(place) = values.iter().position(is_missing_script)
            && let Question::Script(call) = questions[place]
        {
            self.send(&call.script.load(), call.script.name).await?;
            values = self.round_trip(questions).await?.1;
        }
        let checked = values.into_iter().zip(questions).map(|(value, question)| {
            let Value::ServerError(refusal) = value else {
                return Ok(value);
            };
            let fault = self.refused(&live, &refusal, question.name());
            Err(match question {
                Question::Plain(..) => fault,
                Question::Script(call) => self.explain_script(Refused::Fault(fault), call),
            })
        });
        Ok(checked.collect())
    }

    /// So many further connections to the same place.
    fn others(&self, count: usize) -> Vec<Self> {
        if count == 0 {
            return Vec::new();
        }
        let mut others = lock(&self.0.others);
        while others.len() < count {
            others.push(self.another(self.0.timeout));
        }
        others[..count].to_vec()
    }

    async fn round_trip(
        &self,
        questions: &[Question<'_>],
    ) -> Result<(Arc<Live>, Vec<Value>), Fault> {
        let mut pipeline = Pipeline::with_capacity(questions.len());
        for question in questions {
            pipeline.add_command(question.command().clone());
        }
        let live = self.live_for(questions).await?;
        let mut connection = live.wire.connection.clone();
        match connection
            .send_packed_commands(&pipeline, 0, questions.len())
            .await
        {
            Ok(values) => Ok((live, values)),
            Err(fault) => {
                let broken = self.broken(&live, &fault, "pipeline");
                let excess = live.wire.excess.get();
                Err(excess.map_or(broken, |excess| Fault::from(live.faults.too_large(*excess))))
            }
        }
    }
}
