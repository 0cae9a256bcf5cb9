//! The answers of Redis as trees, to change one branch and write them again. Pure.

use rand::RngExt;

use super::Dice;
use super::mutate::{TEXTS, bytes, mutated};

/// One value of the second version of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Int(i64),
    /// `None` for nil.
    Bulk(Option<Vec<u8>>),
    Array(Vec<Node>),
}

/// What a server may say besides an answer.
const REFUSALS: [&str; 14] = [
    "ERR something",
    "",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "NOSCRIPT No matching script",
    "LOADING Redis is loading the dataset in memory",
    "OOM command not allowed when used memory > 'maxmemory'",
    "READONLY You can't write against a read only replica.",
    "MOVED 1 127.0.0.1:1",
    "ASK 1 127.0.0.1:1",
    "BUSY Redis is busy running a script",
    "NOPERM no permissions",
    "MISCONF cannot persist",
    "MASTERDOWN Link with MASTER is down",
    "\u{fc}\u{fffd} {}",
];

const INTS: [i64; 8] = [
    0,
    -1,
    1,
    i64::MAX,
    i64::MIN,
    u32::MAX as i64,
    u32::MAX as i64 + 1,
    253_402_300_800_000,
];

impl Node {
    /// The value at the front and its length, once all of it is there.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let line = &bytes[1..end];
        let mut used = end + 2;
        let number = || std::str::from_utf8(line).unwrap().parse::<i64>().unwrap();
        let node = match bytes[0] {
            b'+' => Self::Simple(line.to_vec()),
            b'-' => Self::Error(line.to_vec()),
            b':' => Self::Int(number()),
            b'$' => match usize::try_from(number()) {
                Ok(length) => {
                    let text = bytes.get(used..used + length)?.to_vec();
                    bytes.get(used + length..used + length + 2)?;
                    used += length + 2;
                    Self::Bulk(Some(text))
                }
                Err(_) => Self::Bulk(None),
            },
            b'*' => {
                let mut nodes = Vec::new();
                // Minus one, for nil, counts as empty.
                for _ in 0..number() {
                    let (node, length) = Self::read(&bytes[used..])?;
                    nodes.push(node);
                    used += length;
                }
                Self::Array(nodes)
            }
            other => panic!("not of this protocol: {other}"),
        };
        Some((node, used))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Simple(line) => out.extend([b"+", line.as_slice(), b"\r\n"].concat()),
            Self::Error(line) => out.extend([b"-", line.as_slice(), b"\r\n"].concat()),
            Self::Int(number) => out.extend(format!(":{number}\r\n").into_bytes()),
            Self::Bulk(None) => out.extend(b"$-1\r\n"),
            Self::Bulk(Some(text)) => {
                out.extend(format!("${}\r\n", text.len()).into_bytes());
                out.extend(text);
                out.extend(b"\r\n");
            }
            Self::Array(nodes) => {
                out.extend(format!("*{}\r\n", nodes.len()).into_bytes());
                for node in nodes {
                    node.write(out);
                }
            }
        }
    }

    /// Makes something in it wrong, but leaves it an answer of the protocol.
    pub(super) fn spoil(&mut self, dice: &mut Dice) {
        match self {
            Self::Array(nodes) if !nodes.is_empty() && dice.random_bool(0.9) => {
                let at = dice.random_range(0..nodes.len());
                match dice.random_range(0..8) {
                    0 => drop(nodes.remove(at)),
                    1 => nodes.truncate(at),
                    2 => nodes.insert(at, nodes[at].clone()),
                    3 => nodes.push(any(dice)),
                    4 => nodes.swap(0, at),
                    _ => nodes[at].spoil(dice),
                }
            }
            Self::Bulk(Some(text)) if dice.random_bool(0.7) => {
                *text = mutated(dice, text, b"wait\0\x95\x00");
            }
            node => *node = any(dice),
        }
    }
}

/// Any value, mostly a small one.
fn any(dice: &mut Dice) -> Node {
    match dice.random_range(0..9) {
        0 => Node::Simple(b"OK".to_vec()),
        1 => Node::Error(REFUSALS[dice.random_range(0..REFUSALS.len())].into()),
        2 | 3 => Node::Int(INTS[dice.random_range(0..INTS.len())]),
        4 => Node::Bulk(None),
        5 => Node::Bulk(Some(bytes(dice))),
        6 => Node::Bulk(Some(TEXTS[dice.random_range(0..TEXTS.len())].into())),
        7 => Node::Array(Vec::new()),
        _ => {
            let length = dice.random_range(0..4);
            Node::Array((0..length).map(|_| any(dice)).collect())
        }
    }
}

#[test]
fn an_answer_survives_reading_and_writing() {
    let answer = b"*5\r\n+OK\r\n-ERR no\r\n:-7\r\n$-1\r\n*2\r\n$4\r\na\r\nb\r\n*0\r\n";
    let (node, used) = Node::read(answer).unwrap();
    let mut out = Vec::new();
    node.write(&mut out);
    assert_eq!((out.as_slice(), used), (answer.as_slice(), answer.len()));
    for end in 0..answer.len() {
        assert_eq!(Node::read(&answer[..end]), None);
    }
}
