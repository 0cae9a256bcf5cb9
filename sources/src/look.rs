//! Asking Redis for many sources at once.

use jiff::Timestamp;
use redis::{Cmd, Value};
use taskqueue_queue::{Client, Error};

use crate::{
    answers::text,
    depth::{Depth, SourceError},
    source::Source,
    systems::{commands, read},
};

/// One source to read.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The source.
    pub source: &'a Source,
    /// Whether it was ever read: see [`read`].
    pub seen: bool,
}

/// Reads all sources in one round trip, and returns what each is like, in their order. A second
/// round trip asks for the types of keys that are of another one than they should.
pub async fn look(
    client: &Client,
    asked: &[Asked<'_>],
    now: Timestamp,
) -> Vec<Result<Depth, SourceError>> {
    let each: Vec<Vec<Cmd>> = asked
        .iter()
        .map(|asked| commands(asked.source, now))
        .collect();
    let counts: Vec<usize> = each.iter().map(Vec::len).collect();
    let all: Vec<Cmd> = each.into_iter().flatten().collect();
    let answers = answer(client, &all).await;
    let mut rest = answers.as_slice();
    let mut depths = Vec::with_capacity(asked.len());
    for (asked, count) in asked.iter().zip(counts) {
        let (own, others) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        depths.push(read(asked.source, asked.seen, now, own));
        rest = others;
    }
    name_types(client, &mut depths).await;
    depths
}

async fn answer(client: &Client, commands: &[Cmd]) -> Vec<Result<Value, Error>> {
    if commands.is_empty() {
        return Vec::new();
    }
    client.read_commands(commands).await
}

/// Fills in the types that were found under keys that should be of another one.
async fn name_types(client: &Client, depths: &mut [Result<Depth, SourceError>]) {
    let mut wrong: Vec<(Cmd, &mut Option<String>)> = Vec::new();
    for depth in depths {
        if let Err(SourceError::WrongType { key, found, .. }) = depth {
            let mut command = redis::cmd("TYPE");
            command.arg(key.as_str());
            wrong.push((command, found));
        }
    }
    let commands: Vec<Cmd> = wrong.iter().map(|(command, _)| command.clone()).collect();
    let types = answer(client, &commands).await;
    for ((_, found), kind) in wrong.into_iter().zip(types) {
        let kind = kind.ok().as_ref().and_then(text);
        *found = kind.map(|kind| {
            if kind == "zset" {
                "sorted set".to_owned()
            } else {
                kind
            }
        });
    }
}
