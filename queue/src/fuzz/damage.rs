//! Damage to the database of a queue, made without knowledge of what its keys are for: elements and
//! values are changed, dropped, doubled and invented, each as the type of its key allows.

use std::collections::BTreeSet;

use rand::RngExt;
use redis::aio::MultiplexedConnection;

use super::Dice;
use super::mutate::{TEXTS, bytes, mutated};
use crate::QueueName;

/// What was done.
#[derive(Debug, Default)]
pub(super) struct Damage {
    /// Tasks of which something was changed. Of all others nothing was.
    pub(super) touched: BTreeSet<Vec<u8>>,
    /// Of those the ones of which more was changed than their record or their count of losses.
    pub(super) displaced: BTreeSet<Vec<u8>>,
    /// Something that all tasks share was changed, the policy for example.
    pub(super) shared: bool,
    /// For messages.
    pub(super) log: Vec<String>,
}

/// Who does it.
pub(super) struct Vandal<'a> {
    pub(super) raw: MultiplexedConnection,
    pub(super) dice: &'a mut Dice,
    pub(super) queue: &'a QueueName,
    /// The ids of the queue's tasks.
    pub(super) ids: &'a BTreeSet<Vec<u8>>,
    pub(super) damage: Damage,
}

impl Vandal<'_> {
    /// Changes an element of some key: a task's own, or one that all share.
    pub(super) async fn change(&mut self) {
        let key = match self.dice.random_range(0..4) {
            0 => self.key("tasks"),
            1 => self.key("lost"),
            _ => self.any_key().await,
        };
        let elements = self.elements(&key).await;
        if elements.is_empty() {
            return;
        }
        let (name, value) = &elements[self.dice.random_range(0..elements.len())];
        if self.ids.contains(name) {
            self.damage.touched.insert(name.clone());
        } else {
            self.damage.shared = true;
        }
        self.log("change in", &key, name);
        let other = bytes(self.dice);
        let wrong_name = mutated(self.dice, name, &other);
        let wrong_value = mutated(self.dice, value, &other);
        let score = TEXTS[self.dice.random_range(0..TEXTS.len())];
        let dropped = self.dice.random_bool(0.3);
        match (self.kind(&key).await.as_str(), dropped) {
            ("hash", true) => self.run("HDEL", &key, &[name]).await,
            ("hash", false) => self.run("HSET", &key, &[name, &wrong_value]).await,
            ("zset", true) => self.run("ZREM", &key, &[name]).await,
            ("zset", false) => self.run("ZADD", &key, &[score.as_bytes(), name]).await,
            ("set", _) => self.run("SREM", &key, &[name]).await,
            ("list", true) => self.run("LREM", &key, &[b"1", name]).await,
            ("list", false) => {
                let before = if self.dice.random() {
                    name
                } else {
                    &wrong_name
                };
                self.run("LINSERT", &key, &[b"BEFORE", name, before]).await;
            }
            _ => {}
        }
        if dropped || !(holds_records(&key) || key.ends_with(":lost")) {
            self.damage.displaced.insert(name.clone());
        }
    }

    /// Adds to each of some keys what was never a task's: the same name, so that it may look like
    /// one.
    pub(super) async fn invent(&mut self) {
        let name = match self.dice.random_range(0..4) {
            0 => bytes(self.dice),
            1 => TEXTS[self.dice.random_range(0..TEXTS.len())].into(),
            2 => b"0123456789abcdefghij".to_vec(),
            // Like an id, but not one.
            _ => b"0123456789ABCDEFGHIJ".to_vec(),
        };
        let record = match self.dice.random_range(0..3) {
            0 => bytes(self.dice),
            1 => b"normal\0\x95\x00\x00\xa1k\x00\x901".to_vec(),
            _ => mutated(self.dice, b"normal\0\x95\x00\x00\xa1k\x00\x901", b"\0"),
        };
        if self.dice.random() {
            let key = self.key("tasks");
            self.run("HSET", &key, &[&name, &record]).await;
        }
        for _ in 0..self.dice.random_range(1..4) {
            let key = self.any_key().await;
            self.log("invent in", &key, &name);
            let score = TEXTS[self.dice.random_range(0..TEXTS.len())].as_bytes();
            match self.kind(&key).await.as_str() {
                "hash" => self.run("HSET", &key, &[&name, &record]).await,
                "zset" => self.run("ZADD", &key, &[score, &name]).await,
                "set" => self.run("SADD", &key, &[&name]).await,
                "list" if self.dice.random() => self.run("LPUSH", &key, &[&name]).await,
                "list" => self.run("RPUSH", &key, &[&name]).await,
                _ => {}
            }
        }
    }

    /// Puts something of another type in the place of a key.
    pub(super) async fn replace(&mut self) {
        let key = self.any_key().await;
        self.log("replace", &key, b"");
        self.damage.shared = true;
        self.run("DEL", &key, &[]).await;
        match self.dice.random_range(0..4) {
            0 => self.run("SET", &key, &[b"x"]).await,
            1 => self.run("HSET", &key, &[b"x", b"y"]).await,
            2 => self.run("RPUSH", &key, &[b"x"]).await,
            _ => self.run("ZADD", &key, &[b"1", b"x"]).await,
        }
    }

    /// Tasks that were not displaced, and that are nowhere although their records are there.
    pub(super) async fn lost_sight_of(&mut self) -> Vec<String> {
        let mut somewhere = BTreeSet::new();
        let mut command = redis::cmd("KEYS");
        command.arg(self.key("*"));
        let keys: Vec<String> = command.query_async(&mut self.raw).await.unwrap();
        let mut records = Vec::new();
        for key in keys {
            if holds_records(&key) {
                let elements = self.elements(&key).await.into_iter();
                records.extend(elements.map(|(name, _)| name));
            }
            let kind = self.kind(&key).await;
            if kind == "list" || kind == "zset" || key.ends_with(":active") {
                let elements = self.elements(&key).await.into_iter();
                somewhere.extend(elements.map(|(name, _)| name));
            }
        }
        let ids = records.into_iter().filter(|id| {
            self.ids.contains(id) && !self.damage.displaced.contains(id) && !somewhere.contains(id)
        });
        ids.map(|id| id.escape_ascii().to_string()).collect()
    }

    fn log(&mut self, what: &str, key: &str, name: &[u8]) {
        let name = name.escape_ascii();
        self.damage.log.push(format!("{what} {key}: {name}"));
    }

    fn key(&self, part: &str) -> String {
        format!("tq:{{{}}}:{part}", self.queue)
    }

    async fn any_key(&mut self) -> String {
        let mut command = redis::cmd("KEYS");
        command.arg(self.key("*"));
        let mut keys: Vec<String> = command.query_async(&mut self.raw).await.unwrap();
        keys.sort();
        keys.swap_remove(self.dice.random_range(0..keys.len()))
    }

    async fn kind(&mut self, key: &str) -> String {
        let mut command = redis::cmd("TYPE");
        command.arg(key);
        command.query_async(&mut self.raw).await.unwrap()
    }

    /// The names in a key, each with its value, if it has one.
    async fn elements(&mut self, key: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let kind = self.kind(key).await;
        let mut command = match kind.as_str() {
            "hash" => redis::cmd("HGETALL"),
            "zset" => redis::cmd("ZRANGE"),
            "set" => redis::cmd("SMEMBERS"),
            "list" => redis::cmd("LRANGE"),
            _ => return Vec::new(),
        };
        command.arg(key);
        if matches!(kind.as_str(), "zset" | "list") {
            command.arg(0).arg(-1);
        }
        let flat: Vec<Vec<u8>> = command.query_async(&mut self.raw).await.unwrap();
        if kind == "hash" {
            let pairs = flat.chunks_exact(2);
            return pairs
                .map(|pair| (pair[0].clone(), pair[1].clone()))
                .collect();
        }
        flat.into_iter().map(|name| (name, Vec::new())).collect()
    }

    /// What Redis refuses (a score that is no number) is no damage.
    async fn run(&mut self, command: &str, key: &str, arguments: &[&[u8]]) {
        let mut command = redis::cmd(command);
        command.arg(key);
        for argument in arguments {
            command.arg(*argument);
        }
        let _: redis::RedisResult<redis::Value> = command.query_async(&mut self.raw).await;
    }
}

/// Whether a key holds records of tasks that have not ended.
fn holds_records(key: &str) -> bool {
    key.ends_with(":tasks") || key.contains("}:shelf:")
}
