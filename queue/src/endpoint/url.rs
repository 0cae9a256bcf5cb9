//! The forms of a Redis URL. Pure. A refusal is a rule and repeats nothing of the URL, which may
//! hold a password at any place where it was written wrongly.

use percent_encoding::percent_decode_str;

use super::{Endpoint, Kind, Login};
use crate::bounds::Bounds;
use crate::dial::Address;
use crate::keys;
use crate::tls::Tls;

const SCHEMES: &str = "it starts with redis:// or valkey:// for one server, redis+sentinel:// or \
                       redis+cluster:// (valkey+sentinel://, valkey+cluster://), and with rediss \
                       (valkeys) instead for TLS";
const ESCAPES: &str =
    "in a user or password / ? # @ : and % are written %2F %3F %23 %40 %3A and %25";
const BYTE_ORDER_MARK: &str =
    "it begins with a byte order mark (U+FEFF): write it without one, as UTF-8 needs none";
const DATABASE: &str = "the database is a number";
const BARE_IPV6: &str = "an IPv6 address stands in [ ], as in redis://[::1]:6379";
/// Most hosts of a URL. Any of them names all others.
const MOST_HOSTS: usize = 16;
const CONTROLS: &str = "user and password hold no control characters, such as %0A or %0D";
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

pub(super) fn parse(url: &str) -> Result<Endpoint, String> {
    // What some editors begin a file with, which nobody sees.
    if url.trim_start().starts_with('\u{feff}') {
        return Err(BYTE_ORDER_MARK.to_owned());
    }
    // A URL that was read from a file tends to bring its newline.
    let (scheme, rest) = url.trim().split_once("://").ok_or(SCHEMES)?;
    // Schemes know no case. Redis and Valkey are spoken to in the same way.
    let scheme = scheme.to_ascii_lowercase();
    let (make, form) = scheme.split_once('+').unwrap_or((&scheme, ""));
    let tls = match make {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        _ => return Err(SCHEMES.to_owned()),
    };
    let form = match form {
        "" if !scheme.ends_with('+') => Form::Standalone,
        "sentinel" => Form::Sentinel,
        "cluster" => Form::Cluster,
        _ => return Err(SCHEMES.to_owned()),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    // Credentials end with the last @. One behind the hosts means that a character of the
    // credentials was taken for their end.
    if tail.contains('@') {
        return Err(ESCAPES.to_owned());
    }
    if tail.contains('#') {
        return Err("nothing stands behind a #".to_owned());
    }
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    let (userinfo, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let hosts = form.hosts(hosts)?;
    let (kind, database) = form.path(path)?;
    let addresses: Vec<_> = hosts.iter().map(ToString::to_string).collect();
    Ok(Endpoint {
        kind,
        address: addresses.join(","),
        hosts,
        login: login(userinfo)?,
        sentinel_login: Login::default(),
        database,
        prefix: prefix(query)?,
        tls: tls.then(Tls::default),
        bounds: Bounds::default(),
    })
}

#[derive(Clone, Copy)]
enum Form {
    Standalone,
    Sentinel,
    Cluster,
}

impl Form {
    fn hosts(self, hosts: &str) -> Result<Vec<Address>, String> {
        let default_port = match self {
            Self::Sentinel => SENTINEL_PORT,
            Self::Standalone | Self::Cluster => PORT,
        };
        let count = hosts.split(',').count();
        if count > MOST_HOSTS {
            return Err(format!(
                "it names {count} hosts and may name {MOST_HOSTS}: some of the sentinels or nodes are enough, \
                 since each knows all others"
            ));
        }
        let hosts: Vec<_> = hosts
            .split(',')
            .map(|host| address(host, default_port))
            .collect::<Result<_, _>>()?;
        if matches!(self, Self::Standalone) && hosts.len() > 1 {
            let rule = "redis:// has one host; redis+sentinel:// and redis+cluster:// have many";
            return Err(rule.to_owned());
        }
        Ok(hosts)
    }

    fn path(self, path: &str) -> Result<(Kind, u32), &'static str> {
        let path = path.trim_matches('/');
        match self {
            Self::Standalone => Ok((Kind::Standalone, database(path)?)),
            Self::Cluster if matches!(path, "" | "0") => Ok((Kind::Cluster, 0)),
            Self::Cluster => Err("a cluster has no databases, so nothing follows its hosts"),
            Self::Sentinel => {
                let (primary, number) = path.split_once('/').unwrap_or((path, ""));
                let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
                if primary.is_empty() || !primary.chars().all(allowed) {
                    return Err(
                        "behind the sentinels stands the name under which they know the \
                                primary, of a-z A-Z 0-9 . - _: redis+sentinel://host:26379/name",
                    );
                }
                let primary = primary.to_owned();
                Ok((Kind::Sentinel { primary }, database(number)?))
            }
        }
    }
}

fn database(text: &str) -> Result<u32, &'static str> {
    match text {
        "" => Ok(0),
        text if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().map_err(|_| DATABASE)
        }
        _ => Err(DATABASE),
    }
}

fn address(text: &str, default_port: u16) -> Result<Address, &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("[ without ]")?;
            let host: std::net::Ipv6Addr = host
                .parse()
                .map_err(|_| "between [ and ] stands an IPv6 address")?;
            match port.strip_prefix(':') {
                None if !port.is_empty() => return Err("behind ] stands : and the port"),
                port => (host.to_string(), port),
            }
        }
        None => match text.split_once(':') {
            Some((_, rest)) if rest.contains(':') => return Err(BARE_IPV6),
            Some((host, port)) => (host.to_owned(), Some(port)),
            None => (text.to_owned(), None),
        },
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
    if host.is_empty() || !host.chars().all(allowed) {
        return Err("a host is a name or an IP address");
    }
    let port = match port {
        None | Some("") => default_port,
        Some(text) => match text.parse() {
            Ok(port @ 1..) => port,
            _ => return Err("a port is a number from 1 to 65535; an IPv6 address stands in [ ]"),
        },
    };
    Ok(Address { host, port })
}

fn login(userinfo: &str) -> Result<Login, &'static str> {
    if matches!(userinfo, "" | ":") {
        return Ok(Login::default());
    }
    let Some((user, password)) = userinfo.split_once(':') else {
        return Err("before @ stands user:password, or :password alone");
    };
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8();
        let text = text.map_err(|_| "user and password are UTF-8")?;
        no_controls(&text).map(|()| text.into_owned())
    };
    Ok(Login {
        user: (!user.is_empty()).then(|| decoded(user)).transpose()?,
        password: Some(decoded(password)?),
    })
}

/// Whoever gives a URL for another's program chooses what that sends first, to any server.
pub(super) fn no_controls(text: &str) -> Result<(), &'static str> {
    if text.contains(char::is_control) {
        return Err(CONTROLS);
    }
    Ok(())
}

fn prefix(query: &str) -> Result<String, &'static str> {
    match query.split_once('=') {
        None if query.is_empty() => Ok(keys::DEFAULT_PREFIX.to_owned()),
        Some(("prefix", prefix)) => keys::check_prefix(prefix).map(|()| prefix.to_owned()),
        _ => Err("the only option behind ? is prefix=…"),
    }
}
