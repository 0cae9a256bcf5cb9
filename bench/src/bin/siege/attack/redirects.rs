//! Leads to an address on loopback that is none of the tenant's: by MOVED, as a sentinel, and as a
//! node of a cluster. Whoever listens there counts who comes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::field::{Field, hold, listen_at, polite};

/// Where nobody has any business.
const VICTIM: &str = "127.66.2.1";

pub(super) async fn begin(field: &Field) {
    let visits = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&visits);
    let victim = listen_at(VICTIM, move |stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        hold(stream)
    });
    let victim = victim.await;
    field.note(move || {
        let visits = visits.load(Ordering::Relaxed);
        format!("redirects: {visits} connections came to the address on loopback that they lead to")
    });
    let moved =
        field.server(move |words| polite(words, || format!("-MOVED 1 {VICTIM}:{victim}\r\n")));
    let moved = moved.await;
    let sentinel = field.server(move |words| match words[0].as_str() {
        "SENTINEL" => address(victim),
        _ => polite(words, String::new),
    });
    let sentinel = sentinel.await;
    let cluster = field.server(move |words| match words[0].as_str() {
        "CLUSTER" => slots(victim),
        _ => polite(words, String::new),
    });
    let cluster = cluster.await;
    let urls = (0..5).flat_map(|number| {
        [
            format!("redis://127.0.0.1:{moved}/?prefix=p{number}"),
            format!("redis+cluster://127.0.0.1:{moved}/?prefix=p{number}"),
            format!("redis+sentinel://127.0.0.1:{sentinel}/main?prefix=p{number}"),
            format!("redis+cluster://127.0.0.1:{cluster}/?prefix=p{number}"),
        ]
    });
    field.queues("redirects", urls).await;
}

/// A sentinel's word of where the primary is.
fn address(port: u16) -> String {
    let port = port.to_string();
    format!("*2\r\n$10\r\n{VICTIM}\r\n${}\r\n{port}\r\n", port.len())
}

/// All slots at one node.
fn slots(port: u16) -> String {
    format!("*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$10\r\n{VICTIM}\r\n:{port}\r\n")
}
