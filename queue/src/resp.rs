//! Following a stream of RESP without keeping it: where each value ends, and what it will take in
//! memory. A length counts as soon as it is claimed. Pure.

/// What a value takes beside its bytes: the client library's own type, and what the allocator adds.
const VALUE: usize = 64;
/// Longest line, such as an error, that is taken for one. Texts have their lengths in front.
const LONGEST_LINE: usize = 64 * 1024;
/// Beyond this depth the client library reads no value.
const DEEPEST: usize = 128;

/// Where one is in such a stream.
#[derive(Default)]
pub(crate) struct Follower {
    place: Place,
    /// Of each value that is made of others and has begun, how many of them are still to come.
    open: Vec<u64>,
}

#[derive(Default)]
enum Place {
    /// Before a value.
    #[default]
    Between,
    /// In its first line.
    Line(Line),
    /// In a text, with so many bytes to come.
    Text(u64),
    /// It is no RESP, and what follows cannot be told apart.
    Lost,
}

#[derive(Clone, Copy)]
struct Line {
    kind: u8,
    number: Number,
    length: usize,
    /// The last byte was a carriage return.
    returned: bool,
}

/// The number of a line, as far as it was read.
#[derive(Clone, Copy)]
enum Number {
    Unread,
    Minus,
    Read { negative: bool, digits: u64 },
    None,
}

/// A piece of the stream.
pub(crate) struct Step {
    /// How many bytes it has.
    pub(crate) bytes: usize,
    /// What it takes in memory, now or later.
    pub(crate) cost: usize,
    /// Whether a value ended with it that is no part of another.
    pub(crate) ended: bool,
}

impl Follower {
    /// Takes in the first of `bytes`, of which there is at least one: up to the end of a line or of a text
    /// at most.
    pub(crate) fn follow(&mut self, bytes: &[u8]) -> Step {
        match &mut self.place {
            Place::Text(left) => {
                let taken =
                    usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= taken as u64;
                let ended = *left == 0;
                Step {
                    bytes: taken,
                    // It counted when its length was told.
                    cost: 0,
                    ended: ended && self.end(),
                }
            }
            Place::Lost => Step {
                bytes: bytes.len(),
                cost: bytes.len(),
                ended: false,
            },
            Place::Between | Place::Line(_) => self.follow_line(bytes),
        }
    }

    fn follow_line(&mut self, bytes: &[u8]) -> Step {
        let outermost = matches!(self.place, Place::Between) && self.open.is_empty();
        let beside = if outermost { VALUE } else { 0 };
        for (at, byte) in bytes.iter().enumerate() {
            let line = match &mut self.place {
                Place::Line(line) => line,
                place => {
                    *place = Place::Line(Line {
                        kind: *byte,
                        number: Number::Unread,
                        length: 0,
                        returned: false,
                    });
                    continue;
                }
            };
            if line.returned && *byte == b'\n' {
                let line = *line;
                let (claimed, ended) = self.end_line(line);
                let cost = (at + 1 + beside).saturating_add(claimed);
                return Step {
                    bytes: at + 1,
                    cost,
                    ended,
                };
            }
            line.length += 1;
            line.returned = *byte == b'\r';
            if !line.returned {
                line.number = line.number.then(*byte);
            }
        }
        let endless = matches!(&self.place, Place::Line(line) if line.length > LONGEST_LINE);
        Step {
            bytes: bytes.len(),
            cost: if endless {
                usize::MAX
            } else {
                bytes.len() + beside
            },
            ended: false,
        }
    }

    /// What the value of a line takes that is still to come, and whether an outermost value has ended.
    fn end_line(&mut self, line: Line) -> (usize, bool) {
        self.place = Place::Between;
        let number = line.number.read();
        match (line.kind, number) {
            (b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(', _)
            | (b'$' | b'*' | b'~' | b'>', Some((true, _))) => (0, self.end()),
            (b'$' | b'!' | b'=', Some((false, length))) => {
                let length = length.saturating_add(2);
                self.place = Place::Text(length);
                (claim(length, 1), false)
            }
            (b'*' | b'~' | b'>', Some((false, count))) => self.begin(count),
            (b'%', Some((false, count))) => self.begin(count.saturating_mul(2)),
            (b'|', Some((false, count))) => self.begin(count.saturating_mul(2).saturating_add(1)),
            _ => {
                self.place = Place::Lost;
                (0, false)
            }
        }
    }

    fn begin(&mut self, count: u64) -> (usize, bool) {
        if count == 0 {
            return (0, self.end());
        }
        self.open.push(count);
        if self.open.len() > DEEPEST {
            self.place = Place::Lost;
        }
        (claim(count, VALUE), false)
    }

    /// A value has ended; it may have been the last of those around it. Whether the outermost has.
    fn end(&mut self) -> bool {
        self.place = Place::Between;
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return false;
            }
            self.open.pop();
        }
        true
    }
}

impl Number {
    fn then(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Unread, b'-') => Self::Minus,
            (Self::Unread, b'0'..=b'9') => Self::Read {
                negative: false,
                digits: u64::from(byte - b'0'),
            },
            (Self::Minus, b'0'..=b'9') => Self::Read {
                negative: true,
                digits: u64::from(byte - b'0'),
            },
            (Self::Read { negative, digits }, b'0'..=b'9') => Self::Read {
                negative,
                digits: digits
                    .saturating_mul(10)
                    .saturating_add(u64::from(byte - b'0')),
            },
            _ => Self::None,
        }
    }

    /// Whether it is negative, and its digits.
    fn read(self) -> Option<(bool, u64)> {
        match self {
            Self::Read { negative, digits } => Some((negative && digits > 0, digits)),
            Self::Unread | Self::Minus | Self::None => None,
        }
    }
}

fn claim(count: u64, each: usize) -> usize {
    usize::try_from(count).map_or(usize::MAX, |count| count.saturating_mul(each))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The pieces of a stream that comes in pieces of these sizes: how many bytes until each value ended,
    /// and the cost of all.
    fn follow(stream: &[u8], sizes: &[usize]) -> (Vec<usize>, usize) {
        let mut follower = Follower::default();
        let (mut ends, mut cost, mut at) = (Vec::new(), 0_usize, 0);
        let mut sizes = sizes.iter().cycle();
        while at < stream.len() {
            let until = (at + sizes.next().unwrap()).min(stream.len());
            while at < until {
                let step = follower.follow(&stream[at..until]);
                at += step.bytes;
                cost = cost.saturating_add(step.cost);
                if step.ended {
                    ends.push(at);
                }
            }
        }
        (ends, cost)
    }

    fn value() -> impl Strategy<Value = String> {
        let text = prop::collection::vec("[ -~\r\n]{0,20}", 0..3).prop_map(|parts| parts.concat());
        let leaf = prop_oneof![
            "[+-][ -~]{0,12}".prop_map(|line| format!("{line}\r\n")),
            any::<i64>().prop_map(|number| format!(":{number}\r\n")),
            prop::sample::select(vec![
                "$-1\r\n", "*-1\r\n", "_\r\n", "#t\r\n", ",1.5\r\n", "(12\r\n"
            ])
            .prop_map(str::to_owned),
            text.clone()
                .prop_map(|text| format!("${}\r\n{text}\r\n", text.len())),
            text.prop_map(|text| format!(
                "=1{:03}\r\ntxt:{}{text}\r\n",
                text.len() + 4,
                "x".repeat(1000)
            )),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let values = prop::collection::vec(inner.clone(), 0..4);
            let pairs = prop::collection::vec((inner.clone(), inner), 0..3);
            prop_oneof![
                (prop::sample::select(vec!['*', '~']), values).prop_map(|(kind, values)| format!(
                    "{kind}{}\r\n{}",
                    values.len(),
                    values.concat()
                )),
                pairs.prop_map(|pairs| {
                    let (count, mut text) = (pairs.len(), String::new());
                    for (one, other) in pairs {
                        text.push_str(&one);
                        text.push_str(&other);
                    }
                    format!("%{count}\r\n{text}")
                }),
            ]
        })
    }

    proptest! {
        /// However it comes, a value ends where the client library says, and counts at least its bytes.
        #[test]
        fn values_end_where_the_client_library_says(
            values in prop::collection::vec(value(), 1..5),
            sizes in prop::collection::vec(1_usize..40, 1..6),
        ) {
            let mut wanted = Vec::new();
            for value in &values {
                prop_assert!(redis::parse_redis_value(value.as_bytes()).is_ok(), "{value:?}");
                wanted.push(wanted.last().unwrap_or(&0) + value.len());
            }
            let stream = values.concat();
            let (ends, cost) = follow(stream.as_bytes(), &sizes);
            prop_assert_eq!(ends, wanted);
            prop_assert!(cost >= stream.len());
        }

        /// No byte comes that was not counted, with its length or by itself.
        #[test]
        fn whatever_comes_is_counted(stream in prop::collection::vec(any::<u8>(), 1..200)) {
            let (_, cost) = follow(&stream, &[7]);
            prop_assert!(cost >= stream.len());
        }
    }

    #[test]
    fn a_claim_counts_before_it_is_kept() {
        for (claim, least) in [
            ("$1000000\r\n", 1_000_000),
            ("*1000000\r\n", 64_000_000),
            ("%1000000\r\n", 128_000_000),
            ("|1000000\r\n", 128_000_064),
            (">1000000\r\n", 64_000_000),
            ("$99999999999999999999999999\r\n", usize::MAX),
            ("*18446744073709551615\r\n", usize::MAX),
        ] {
            let (ends, cost) = follow(claim.as_bytes(), &[64]);
            assert!(ends.is_empty() && cost >= least, "{claim:?}: {cost}");
        }
    }

    #[test]
    fn a_line_that_goes_on_and_on_is_too_large() {
        let error = |bytes: usize| format!("-ERR {}", "x".repeat(bytes));
        assert!(follow(error(60_000).as_bytes(), &[512]).1 < 100_000);
        assert_eq!(follow(error(70_000).as_bytes(), &[512]).1, usize::MAX);
    }

    #[test]
    fn what_is_no_resp_is_one_endless_answer() {
        for stream in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "$x\r\n",
            "*+1\r\n:1\r\n",
            "!-1\r\n",
            "%-1\r\n",
        ] {
            let more = format!("{stream}+OK\r\n+OK\r\n");
            let (ends, cost) = follow(more.as_bytes(), &[5]);
            assert!(ends.is_empty() && cost >= more.len(), "{stream:?}");
        }
        let deep = "*1\r\n".repeat(200) + ":1\r\n";
        assert!(follow(deep.as_bytes(), &[9]).0.is_empty());
    }
}
