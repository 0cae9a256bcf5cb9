//! Claims to be a cluster of 4,096 nodes, each of which is a port that takes connections and says
//! nothing.

use std::fmt::Write as _;

use super::field::{Field, hold, listen, polite};

/// Ports that the nodes share, by names that differ.
const PORTS: usize = 8;
/// Nodes, each with four of the 16,384 slots.
const NODES: usize = 512 * PORTS;

pub(super) async fn begin(field: &Field) {
    let mut ports = Vec::new();
    for _ in 0..PORTS {
        ports.push(listen(hold).await);
    }
    let mut table = format!("*{NODES}\r\n");
    for node in 0..NODES {
        let (first, last) = (node * 4, node * 4 + 3);
        let (host, port) = (localhost(node / PORTS), ports[node % PORTS]);
        let _ = write!(
            table,
            "*3\r\n:{first}\r\n:{last}\r\n*2\r\n${}\r\n{host}\r\n:{port}\r\n",
            host.len()
        );
    }
    let cluster = field.server(move |words| match words[0].as_str() {
        "CLUSTER" => table.clone(),
        "HELLO" => polite(words, String::new).replace("$10\r\nstandalone", "$7\r\ncluster"),
        _ => polite(words, String::new),
    });
    let cluster = cluster.await;
    let urls =
        (0..2).map(|number| format!("redis+cluster://127.0.0.1:{cluster}/?prefix=p{number}"));
    field.queues("cluster", urls).await;
}

/// One of the 512 ways to write it: names know no case.
fn localhost(number: usize) -> String {
    let letters = "localhost".chars().enumerate();
    let letters = letters.map(|(place, letter)| {
        let is_capital = number & (1 << place) != 0;
        if is_capital {
            letter.to_ascii_uppercase()
        } else {
            letter
        }
    });
    letters.collect()
}
