//! Plain commands of the caller's own, for keys that are not this crate's: many that read in one
//! round trip, and one that blocks on a connection of its own.

use std::time::Duration;

use redis::{Arg, Cmd, Value};

use crate::Error;
use crate::client::Client;
use crate::link::Link;
use crate::question::Question;

/// How much longer than it blocks a call may take before its connection counts as dead.
const GRACE: Duration = Duration::from_secs(3);
/// Commands that errors call by their names.
const NAMES: &[&str] = &[
    "EXISTS", "GET", "GETRANGE", "HGET", "HLEN", "HMGET", "HVALS", "LLEN", "LRANGE", "SCARD",
    "TYPE", "XINFO", "XLEN", "XPENDING", "XREAD", "ZCARD", "ZCOUNT", "ZRANGE",
];

impl Client {
    /// The answers to plain commands that only read, one for each, in one round trip (to each node of a
    /// cluster, chosen by the command's first key); beyond 1,000 commands over further connections
    /// at the same time. One command's error is no other's. All of them may be sent twice, so they
    /// must not write.
    pub async fn read_commands(&self, commands: &[Cmd]) -> Vec<Result<Value, Error>> {
        let questions: Vec<_> = commands
            .iter()
            .map(|command| {
                let slot = self.link().slot_for(key_of(command));
                (slot, Question::Plain(command, name_of(command)))
            })
            .collect();
        self.link().read_all(&questions).await
    }

    /// A connection of its own for commands that block for `longest` at most. It is made with the first
    /// of them, and ends when it is dropped.
    pub fn blocking_line(&self, longest: Duration) -> BlockingLine {
        BlockingLine {
            link: self.link().another(longest + GRACE),
            longest,
            busy: false,
        }
    }
}

/// A connection for commands that block, such as `XREAD BLOCK`: see [`Client::blocking_line`].
pub struct BlockingLine {
    link: Link,
    longest: Duration,
    /// A call was dropped before it had its answer.
    busy: bool,
}

impl BlockingLine {
    /// Sends a command and waits for its answer, three seconds longer than the longest that it may
    /// block; it must end by itself in that time. In a cluster it goes to the node of its first key. A
    /// broken connection is an error now, and made anew by the next call. May be dropped: then the
    /// server ends the command with its connection, and the next call makes another one.
    pub async fn send(&mut self, command: &Cmd) -> Result<Value, Error> {
        if self.busy {
            self.link = self.link.another(self.longest + GRACE);
        }
        self.busy = true;
        let link = self.link.at(self.link.slot_for(key_of(command)));
        let answer = link.send(command, name_of(command)).await;
        self.busy = false;
        Ok(answer?)
    }
}

/// The name of a command.
fn name_of(command: &Cmd) -> &'static str {
    let given = match command.args_iter().next() {
        Some(Arg::Simple(name)) => name,
        _ => b"",
    };
    let is_it = |name: &&&str| name.as_bytes().eq_ignore_ascii_case(given);
    NAMES.iter().find(is_it).copied().unwrap_or("command")
}

/// The first key of a command.
fn key_of(command: &Cmd) -> Option<&[u8]> {
    let mut words = command.args_iter().map(|word| match word {
        Arg::Simple(word) => word,
        _ => b"0",
    });
    let name = words.next()?.to_ascii_uppercase();
    match name.as_slice() {
        b"XINFO" | b"OBJECT" | b"MEMORY" => words.nth(1),
        b"XREAD" | b"XREADGROUP" => words
            .by_ref()
            .find(|word| word.eq_ignore_ascii_case(b"STREAMS"))
            .and_then(|_| words.next()),
        b"EVAL_RO" | b"EVALSHA_RO" | b"FCALL_RO" => words.nth(2),
        _ => words.next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_goes_to_the_node_of_its_first_key() {
        let commands = [
            "LLEN k",
            "zcount k 0 1",
            "XINFO STREAM k",
            "object encoding k",
            "XREAD BLOCK 0 STREAMS k other 0 0",
            "EVAL_RO return 1 k",
        ];
        for text in commands {
            let mut words = text.split(' ');
            let mut command = redis::cmd(words.next().unwrap());
            command.arg(words.collect::<Vec<_>>());
            assert_eq!(key_of(&command), Some(&b"k"[..]), "{text}");
        }
        assert_eq!(key_of(&redis::cmd("PING")), None);
    }
}
