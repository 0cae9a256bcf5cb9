//! Which slot of a cluster a queue lives in, and which node serves a slot. Pure.

use redis::Value;

use crate::QueueName;
use crate::dial::Address;
use crate::value::read;

/// How many slots a cluster has.
pub(crate) const SLOTS: u16 = 16_384;
/// The mark of a slot that no node serves.
const NOBODY: u16 = u16::MAX;

/// The slot of a queue: that of its name, which is the hash tag of all its keys.
pub(crate) fn slot_of(queue: &QueueName) -> u16 {
    crc16(queue.to_string().as_bytes()) % SLOTS
}

/// The slot of any key: that of what stands between its first `{` and the next `}`, if anything
/// does, else that of the whole.
pub(crate) fn slot_of_key(key: &[u8]) -> u16 {
    let tag = || {
        let open = key.iter().position(|byte| *byte == b'{')? + 1;
        let length = key[open..].iter().position(|byte| *byte == b'}')?;
        (length > 0).then(|| &key[open..open + length])
    };
    crc16(tag().unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM, as Redis Cluster has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            let carry = if crc & 0x8000 == 0 { 0 } else { 0x1021 };
            (crc << 1) ^ carry
        })
    })
}

/// Who serves what, as one node said it.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// Nodes that serve slots.
    primaries: Vec<Address>,
    replicas: Vec<Address>,
    /// By slot, the place of its node among `primaries`.
    owners: Vec<u16>,
}

impl Table {
    /// Reads the answer of `asked` to `CLUSTER SLOTS`.
    pub(crate) fn read(value: Value, asked: &Address) -> Result<Self, String> {
        let mut table = Self {
            primaries: Vec::new(),
            replicas: Vec::new(),
            owners: vec![NOBODY; usize::from(SLOTS)],
        };
        let ranges: Vec<Vec<Value>> = read(value).map_err(|fault| fault.to_string())?;
        for range in ranges {
            let mut parts = range.into_iter();
            let mut bound = || -> Option<usize> {
                let bound = read(parts.next()?).ok()?;
                (bound < usize::from(SLOTS)).then_some(bound)
            };
            let (Some(first), Some(last)) = (bound(), bound()) else {
                return Err("a range of slots without its bounds".to_owned());
            };
            let mut nodes = parts.filter_map(|node| read_node(node, asked));
            let Some(primary) = nodes.next() else {
                continue;
            };
            let place = table.place_of(primary);
            for owner in table.owners.iter_mut().take(last + 1).skip(first) {
                *owner = place;
            }
            table.replicas.extend(nodes);
        }
        if table.primaries.is_empty() {
            return Err("the cluster serves no slots yet".to_owned());
        }
        Ok(table)
    }

    /// The node that serves a slot.
    pub(crate) fn owner(&self, slot: u16) -> Option<&Address> {
        let place = self.owners.get(usize::from(slot))?;
        self.primaries.get(usize::from(*place))
    }

    /// Notes that a node said who serves a slot now.
    pub(crate) fn moved(&mut self, slot: u16, to: Address) {
        let place = self.place_of(to);
        if let Some(owner) = self.owners.get_mut(usize::from(slot)) {
            *owner = place;
        }
    }

    /// Nodes that serve slots.
    pub(crate) fn primaries(&self) -> &[Address] {
        &self.primaries
    }

    /// All nodes that are known.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Address> {
        self.primaries.iter().chain(&self.replicas)
    }

    fn place_of(&mut self, node: Address) -> u16 {
        let known = self.primaries.iter().position(|other| *other == node);
        let place = known.unwrap_or_else(|| {
            self.primaries.push(node);
            self.primaries.len() - 1
        });
        u16::try_from(place).unwrap_or(NOBODY)
    }
}

/// A node's address; one that does not know its own host is where it was asked.
fn read_node(node: Value, asked: &Address) -> Option<Address> {
    let mut parts: Vec<Value> = read(node).ok()?;
    parts.truncate(2);
    let port = read(parts.pop()?).ok()?;
    let host: Option<String> = read(parts.pop()?).ok()?;
    Some(Address {
        host: host_or(host.as_deref().unwrap_or_default(), asked),
        port,
    })
}

/// The node in the text of a `MOVED` that `asked` gave: slot and address.
pub(crate) fn read_moved(detail: &str, asked: &Address) -> Option<Address> {
    let (_slot, address) = detail.split_once(' ')?;
    let (host, port) = address.rsplit_once(':')?;
    Some(Address {
        host: host_or(host.trim_matches(['[', ']']), asked),
        port: port.parse().ok()?,
    })
}

fn host_or(host: &str, asked: &Address) -> String {
    if matches!(host, "" | "?") {
        asked.host.clone()
    } else {
        host.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16) -> Address {
        Address {
            host: host.to_owned(),
            port,
        }
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn node(host: Value, port: i64) -> Value {
        Value::Array(vec![
            host,
            Value::Int(port),
            text("id"),
            Value::Array(vec![]),
        ])
    }

    #[test]
    fn the_checksum_is_that_of_redis() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
    }

    #[test]
    fn a_table_says_who_serves_a_slot_and_learns_of_moves() {
        let asked = address("seed", 7);
        let range = |first, last, nodes: Vec<Value>| {
            let bounds = vec![Value::Int(first), Value::Int(last)];
            Value::Array([bounds, nodes].concat())
        };
        let value = Value::Array(vec![
            range(0, 9, vec![node(text("a"), 1), node(text("b"), 2)]),
            range(10, 10, vec![node(text(""), 3)]),
            range(12, 16_383, vec![node(Value::Nil, 4)]),
            range(11, 11, vec![]),
        ]);
        let mut table = Table::read(value, &asked).unwrap();
        assert_eq!(table.owner(9), Some(&address("a", 1)));
        assert_eq!(table.owner(10), Some(&address("seed", 3)));
        assert_eq!(table.owner(11), None);
        assert_eq!(table.owner(16_383), Some(&address("seed", 4)));
        assert_eq!((table.primaries().len(), table.nodes().count()), (3, 4));
        table.moved(9, address("c", 5));
        assert_eq!(table.owner(9), Some(&address("c", 5)));
        assert_eq!(table.owner(8), Some(&address("a", 1)));
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for value in [
            Value::Nil,
            Value::Array(vec![]),
            Value::Array(vec![Value::Array(vec![Value::Int(0)])]),
            Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(16_384)])]),
        ] {
            Table::read(value, &address("h", 1)).unwrap_err();
        }
    }

    #[test]
    fn a_move_names_its_node() {
        let asked = address("h", 1);
        for (detail, wanted) in [
            ("5 10.0.0.1:7001", Some(address("10.0.0.1", 7_001))),
            ("5 ::1:7001", Some(address("::1", 7_001))),
            ("5 :7001", Some(address("h", 7_001))),
            ("5", None),
            ("5 h:x", None),
        ] {
            assert_eq!(read_moved(detail, &asked), wanted);
        }
    }
}
