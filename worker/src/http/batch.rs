//! Many tasks in one request: a batch of CloudEvents, and an array of the messages of `stdio` in the answer. An answer that
//! is no success is that of each of them.

use axum::http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::value::RawValue;
use taskqueue_queue::worker::{Batch, BatchHandler, Member, Outcome};

use super::sending::Sent;
use super::{Answer, Broken, Http, event, unsent};
use crate::answers::Answers;
use crate::pending;
use crate::stdio::named::named;
use crate::stdio::reading::{Reading, odd};

/// Most bytes of an answer for each task: a result is at most 64 KiB, and its JSON may be longer.
const MOST_BYTES_A_TASK: usize = 128 * 1024;
/// Most bytes of an answer.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// How much of an answer is quoted.
const EXCERPT_BYTES: usize = 200;

/// What came of a request.
enum Answered {
    /// A success, with this body; `None` if it is too long.
    Outcomes(Option<Vec<u8>>),
    /// None.
    Refused(Answer),
}

impl BatchHandler for Http {
    async fn handle_batch(&self, batch: &Batch) {
        let Some(first) = batch.members().first().map(Member::task) else {
            return;
        };
        let mut answers = Answers::new(batch, &self.controls);
        let members = batch.members();
        let timeouts = members.iter().map(|member| member.task().timeout);
        let timeout = timeouts.min().unwrap_or_default();
        let most = (members.len() * MOST_BYTES_A_TASK).min(MOST_BYTES);
        let sent = Sent::default();
        let events: Vec<_> = members
            .iter()
            .map(|member| (member.task(), answers.url(member.task())))
            .collect();
        let request = || event::batch(&events, &self.uri, Timestamp::now(), timeout, sent.clone());
        let answered = async {
            let answer = self.ask(request, &sent).await?;
            if answer.status().is_success() {
                whole(answer, most).await.map(Answered::Outcomes)
            } else {
                Answer::read(answer).await.map(Answered::Refused)
            }
        };
        let put_off = || {
            for member in members.iter().filter(|member| member.is_open()) {
                pending::put_off(member.task());
            }
        };
        let answered = tokio::select! {
            answered = answered => answered,
            () = unsent(timeout, &sent, put_off) => {
                tracing::warn!(r#type = first.kind, tasks = members.len(), "a batch waits for a connection as long as it may run: handing it back");
                return answers.conclude(|_| Outcome::Released);
            }
        };
        let rest = match answered {
            Ok(Answered::Outcomes(Some(body))) => rest_of(&mut answers, &body),
            Ok(Answered::Outcomes(None)) => failed(format!(
                "the answer to the batch is of more than {most} bytes: answer with shorter results, or set a smaller batch.max"
            )),
            Ok(Answered::Refused(answer)) => answer.conclude(first),
            Err(broken) => self.broken(first, broken).await,
        };
        answers.conclude(|_| rest.clone());
    }

    fn available(&self) -> bool {
        self.takes_tasks()
    }
}

/// All of an answer's body, unless it is longer than that.
async fn whole(answer: Response<Incoming>, most: usize) -> Result<Option<Vec<u8>>, Broken> {
    let (mut body, mut rest) = (Vec::new(), answer.into_body());
    while let Some(frame) = rest.frame().await {
        let frame = frame.map_err(|error| Broken::Unanswered(error.to_string()))?;
        if let Some(piece) = frame.data_ref() {
            if body.len() + piece.len() > most {
                return Ok(None);
            }
            body.extend_from_slice(piece);
        }
    }
    Ok(Some(body))
}

/// Takes the outcomes in the body of a success. Returns how the tasks end that it does not name.
fn rest_of(answers: &mut Answers<'_>, body: &[u8]) -> Outcome {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let body = body.trim_ascii();
    if body.is_empty() {
        return Outcome::Completed(None);
    }
    let outcomes: Vec<&RawValue> = match serde_json::from_slice(body) {
        Ok(outcomes) => outcomes,
        Err(error) => {
            let head = String::from_utf8_lossy(&body[..body.len().min(EXCERPT_BYTES)]);
            return failed(format!(
                "the answer to the batch begins with {head:?}, which is no array of outcomes ({error}): answer with one such as [{{\"done\": {{\"id\": \"…\"}}}}], or with nothing if all are done"
            ));
        }
    };
    for outcome in outcomes {
        answers.take(reading(outcome.get()));
    }
    failed("the answer to the batch does not say how this task ended".to_owned())
}

/// What an element of an answer says.
fn reading(text: &str) -> Reading {
    let error = match serde_json::from_str(text) {
        Ok(message) => return Reading::Message(message),
        Err(error) => error,
    };
    let head = &text[..text.floor_char_boundary(EXCERPT_BYTES)];
    let why = format!("it answered {head:?}, which is no outcome of a task ({error})");
    match named(text) {
        Some((kind, id)) => odd(&kind, id, why),
        None => Reading::Stray(why),
    }
}

fn failed(error: String) -> Outcome {
    Outcome::Retry { error, after: None }
}
