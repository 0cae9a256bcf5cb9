//! Which connection gives way to a new one when there are as many as may be. Pure.

use std::collections::HashMap;
use std::net::IpAddr;

/// A connection as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Where it comes from.
    pub(crate) peer: IpAddr,
    /// Its place in the order in which connections began to wait for a request; `None` while one is being answered.
    pub(crate) waits_since: Option<u64>,
}

/// The place of the connection that gives way to one from `newcomer`: of the address with the most connections, the one that
/// has waited longest for a request. `None` when all are being answered.
pub(crate) fn gives_way(open: &[Standing], newcomer: IpAddr) -> Option<usize> {
    let mut crowds: HashMap<IpAddr, usize> = HashMap::from([(newcomer, 1)]);
    for one in open {
        *crowds.entry(one.peer).or_default() += 1;
    }
    let waiting = open.iter().enumerate().filter_map(|(place, one)| {
        let crowd = crowds.get(&one.peer).copied().unwrap_or_default();
        Some((crowd, std::cmp::Reverse(one.waits_since?), place))
    });
    waiting.max().map(|(_, _, place)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn waits(from: u8, since: u64) -> Standing {
        Standing {
            peer: peer(from),
            waits_since: Some(since),
        }
    }

    fn is_answered(from: u8) -> Standing {
        Standing {
            peer: peer(from),
            waits_since: None,
        }
    }

    #[test]
    fn a_flood_from_one_address_costs_its_own_connections_and_the_oldest_first() {
        let open = [waits(1, 0), waits(2, 1), waits(2, 5), waits(2, 3)];
        assert_eq!(gives_way(&open, peer(2)), Some(1));
        assert_eq!(gives_way(&open, peer(1)), Some(1));
        assert_eq!(gives_way(&open, peer(3)), Some(1));
    }

    #[test]
    fn the_newcomer_counts_with_its_address() {
        let open = [waits(1, 0), waits(2, 1)];
        assert_eq!(gives_way(&open, peer(2)), Some(1));
        assert_eq!(gives_way(&open, peer(3)), Some(0));
    }

    #[test]
    fn what_is_being_answered_never_gives_way() {
        let open = [is_answered(1), waits(2, 7), is_answered(1)];
        assert_eq!(gives_way(&open, peer(1)), Some(1));
        assert_eq!(gives_way(&[is_answered(1)], peer(2)), None);
    }

    #[test]
    fn among_many_addresses_who_waited_longest_gives_way() {
        let open: Vec<Standing> = (0..64)
            .map(|one| waits(one, 100 - u64::from(one)))
            .collect();
        assert_eq!(gives_way(&open, peer(200)), Some(63));
    }
}
