//! Which Redis a TaskQueue may name. The operator connects from its own place in the network, so that
//! without a rule a tenant reaches what a network policy keeps from the tenant's pods. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

/// What TaskQueues may name: by default any host but this one and what is next to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedRedis {
    suffixes: Vec<String>,
    ranges: Vec<IpNet>,
}

impl AllowedRedis {
    /// Reads a list with commas between: ends of host names (`redis.example.com`, `.svc.cluster.local`) and
    /// ranges of addresses (`10.0.0.0/8`, `2001:db8::/32`). An empty one is the default.
    pub fn parse(list: &str) -> Result<Self, String> {
        let mut allowed = Self::default();
        let given = list.split(',').map(str::trim);
        for entry in given.filter(|entry| !entry.is_empty()) {
            if entry.contains('/') {
                let range: IpNet = entry.parse().map_err(|_| refused(entry))?;
                allowed.ranges.push(range);
            } else {
                allowed
                    .suffixes
                    .push(suffix(entry).ok_or_else(|| refused(entry))?);
            }
        }
        Ok(allowed)
    }

    /// Whether a connection may be made to a host of this name, which is at that address; else why not.
    /// What the name says counts for nothing where the address is this machine or link-local: whoever
    /// has a zone of names may point them anywhere.
    pub fn check(&self, host: &str, address: IpAddr) -> Result<(), String> {
        let address = address.to_canonical();
        if self.ranges.iter().any(|range| range.contains(&address)) {
            return Ok(());
        }
        let what = match is_near(address) {
            Some(near) => near,
            None if self.is_default() || self.names(host) => return Ok(()),
            None => "neither its name nor its address is allowed",
        };
        Err(format!(
            "{host} is at {address}: {what}; whoever runs the operator can allow it with redis.allowed \
             (TASKQUEUE_REDIS_ALLOWED)"
        ))
    }

    fn is_default(&self) -> bool {
        self.suffixes.is_empty() && self.ranges.is_empty()
    }

    fn names(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let mut suffixes = self.suffixes.iter();
        suffixes.any(|suffix| {
            let before = host.strip_suffix(suffix.as_str());
            before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
        })
    }
}

/// An end of host names, without the dot that it may begin with.
fn suffix(entry: &str) -> Option<String> {
    let name = entry.trim_start_matches('.').trim_end_matches('.');
    let fits = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
    // An address is a range of one; as the end of a name it would allow nothing.
    let is_name = !name.is_empty() && name.chars().all(fits) && name.parse::<IpAddr>().is_err();
    is_name.then(|| name.to_ascii_lowercase())
}

fn refused(entry: &str) -> String {
    format!(
        "{entry:?} is neither the end of host names, such as example.com, nor a range of addresses, such as \
         10.0.0.0/8 or 10.1.2.3/32"
    )
}

/// What an address is that is no other machine's of the network, or everybody's.
fn is_near(address: IpAddr) -> Option<&'static str> {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    if address.is_loopback() || address.is_unspecified() {
        Some("that is the operator's own pod")
    } else if link_local || address.is_multicast() {
        Some("that is a link-local address, where clouds keep credentials of nodes")
    } else {
        None
    }
}
