//! Which Redis a TaskQueue may name.

use taskqueue_operator::allowed::AllowedRedis;

/// Whether the list lets a connection be made to a host of this name at this address.
fn allows(list: &str, host: &str, address: &str) -> bool {
    let allowed = AllowedRedis::parse(list).unwrap();
    allowed.check(host, address.parse().unwrap()).is_ok()
}

#[test]
fn by_default_anything_is_allowed_but_the_operators_own_pod_and_link_local_addresses() {
    for address in ["10.1.2.3", "203.0.113.9", "2001:db8::1", "fd00::1"] {
        assert!(allows("", "redis.shop.svc", address), "{address}");
    }
    for address in [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fe80::1",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
    ] {
        assert!(!allows("", "redis.shop.svc", address), "{address}");
    }
}

#[test]
fn a_list_allows_what_it_names_and_nothing_else() {
    let list = " svc.cluster.local,.Example.com , 10.0.0.0/8,2001:db8::/32,127.0.0.1/32";
    for (host, address, allowed) in [
        ("redis.shop.svc.cluster.local", "192.168.1.1", true),
        ("svc.cluster.local", "192.168.1.1", true),
        ("redis.shop.svc.cluster.local.", "192.168.1.1", true),
        ("REDIS.EXAMPLE.COM", "203.0.113.9", true),
        ("example.com", "203.0.113.9", true),
        ("badexample.com", "203.0.113.9", false),
        ("example.com.evil.net", "203.0.113.9", false),
        ("other", "10.200.0.1", true),
        ("other", "::ffff:10.200.0.1", true),
        ("other", "11.0.0.1", false),
        ("other", "2001:db8:1::5", true),
        // A name says nothing of what is near; a range does.
        ("redis.example.com", "169.254.169.254", false),
        ("redis.example.com", "127.0.0.2", false),
        ("redis.example.com", "127.0.0.1", true),
    ] {
        assert_eq!(allows(list, host, address), allowed, "{host} {address}");
    }
}

#[test]
fn a_refusal_names_host_address_and_setting() {
    let told = |list: &str, address: &str| {
        let allowed = AllowedRedis::parse(list).unwrap();
        allowed
            .check("cache", address.parse().unwrap())
            .unwrap_err()
    };
    for (list, address, part) in [
        ("", "127.0.0.1", "the operator's own pod"),
        ("", "169.254.169.254", "link-local"),
        (
            "example.com",
            "10.0.0.1",
            "neither its name nor its address",
        ),
    ] {
        let told = told(list, address);
        for part in [
            part,
            "cache",
            address,
            "redis.allowed",
            "TASKQUEUE_REDIS_ALLOWED",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }
}

#[test]
fn what_is_neither_a_name_nor_a_range_is_refused() {
    for entry in [
        "10.0.0.0/33",
        "10.0.0.1",
        "::1",
        "*.example.com",
        ".",
        "a b",
        "redis:6379",
        "x/8",
    ] {
        let refused = AllowedRedis::parse(&format!("example.com,{entry}")).unwrap_err();
        assert!(refused.contains(&format!("{entry:?}")), "{refused}");
        assert!(refused.contains("10.0.0.0/8"), "{refused}");
    }
}
