//! Plain commands for keys of others: many in one round trip, and one that blocks.

use std::time::Duration;

use redis::{Cmd, Value};
use taskqueue_queue::testing::{Cluster, RedisServer, Sentinels, eventually};
use taskqueue_queue::{Client, Endpoint, Error};

use crate::testbed::proxy::Proxy;
use crate::testbed::{SOON, blocked};

fn command(words: &str) -> Cmd {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    command.arg(words.collect::<Vec<_>>());
    command
}

/// How many connections there are besides the one that asks.
async fn connections(redis: &RedisServer) -> usize {
    let clients: String = redis.command("CLIENT LIST").await;
    clients.lines().count() - 1
}

#[tokio::test]
async fn commands_are_answered_one_by_one_in_one_round_trip() {
    let redis = RedisServer::start().await;
    let _: () = redis.command("RPUSH a:list x y z").await;
    let _: () = redis.command("ZADD a:set 1 x 5 y").await;
    let _: () = redis.command("XADD a:stream * f v").await;
    let proxy = Proxy::before(redis.port()).await;
    let client = proxy.client().await;
    let commands = [
        command("LLEN a:list"),
        command("ZCOUNT a:set -inf 3"),
        command("LLEN a:set"),
        command("XLEN a:stream"),
        command("LLEN nothing"),
        command("TYPE a:set"),
        command("NOSUCH a"),
    ];
    let unknown = async || -> String {
        let info: redis::InfoDict = redis.command("INFO errorstats").await;
        info.get("errorstat_ERR").unwrap_or_default()
    };
    // The last is asked before the first is answered.
    let before = unknown().await;
    proxy.hold_answers();
    let asked = async {
        eventually(SOON, "all are asked", async || {
            (unknown().await != before).then_some(())
        })
        .await;
        proxy.release_answers();
    };
    let (answers, ()) = tokio::join!(client.read_commands(&commands), asked);
    assert_eq!(answers.len(), commands.len());
    for (place, expected) in [(0, 3), (1, 1), (3, 1), (4, 0)] {
        assert_eq!(answers[place], Ok(Value::Int(expected)));
    }
    assert_eq!(answers[5], Ok(Value::SimpleString("zset".into())));
    let wrong = answers[2].as_ref().unwrap_err().to_string();
    assert!(wrong.starts_with("LLEN failed on Redis"), "{wrong}");
    assert!(wrong.contains("WRONGTYPE"), "{wrong}");
    assert!(matches!(answers[6], Err(Error::Script { .. })));
    assert_eq!(client.read_commands(&[]).await, []);

    // A connection that broke since then costs nothing.
    let _: () = redis.command("CLIENT KILL TYPE normal SKIPME yes").await;
    let answers = client.read_commands(&commands[..1]).await;
    assert_eq!(answers, [Ok(Value::Int(3))]);
    proxy.go_down();
    let answers = client.read_commands(&commands[..2]).await;
    for answer in answers {
        assert!(answer.unwrap_err().is_transient());
    }
}

#[tokio::test]
async fn beyond_a_thousand_commands_go_over_further_connections() {
    let redis = RedisServer::start().await;
    let client = redis.client().await;
    let many: Vec<Cmd> = (0..2_500_u32)
        .map(|n| command(&format!("LLEN list:{n}")))
        .collect();
    let _: () = redis.command("RPUSH list:2499 x").await;
    for _ in 0..2 {
        let answers = client.read_commands(&many).await;
        assert_eq!(answers.len(), 2_500);
        assert!(answers[..2_499].iter().all(|one| *one == Ok(Value::Int(0))));
        assert_eq!(answers[2_499], Ok(Value::Int(1)));
        assert_eq!(connections(&redis).await, 3);
    }
}

#[tokio::test]
async fn in_a_cluster_each_command_goes_to_the_node_of_its_key() {
    let cluster = Cluster::start().await;
    let client = Client::connect(&cluster.endpoint()).await.unwrap();
    let names: Vec<_> = (0..3).map(|place| cluster.queue_on(place)).collect();
    let mut commands = Vec::new();
    for (count, (node, name)) in cluster.nodes.iter().zip(&names).enumerate() {
        for _ in 0..=count {
            let _: () = node.command(&format!("RPUSH a:{{{name}}}:b x")).await;
        }
        let _: () = node.command(&format!("XADD s:{{{name}}} * f v")).await;
        commands.push(command(&format!("LLEN a:{{{name}}}:b")));
        commands.push(command(&format!("XINFO STREAM s:{{{name}}}")));
    }
    let answers = client.read_commands(&commands).await;
    for (count, pair) in (1..).zip(answers.chunks(2)) {
        assert_eq!(pair[0], Ok(Value::Int(count)));
        assert!(pair[1].is_ok(), "{pair:?}");
    }
    let mut line = client.blocking_line(SOON);
    for name in &names {
        let read = command(&format!("XREAD BLOCK 5000 STREAMS s:{{{name}}} 0"));
        assert_ne!(line.send(&read).await.unwrap(), Value::Nil);
    }
}

#[tokio::test]
async fn with_sentinels_they_go_to_the_primary() {
    let set = Sentinels::start().await;
    let client = Client::connect(&set.endpoint()).await.unwrap();
    let _: () = set.servers[0].command("RPUSH list x").await;
    let answers = client.read_commands(&[command("LLEN list")]).await;
    assert_eq!(answers, [Ok(Value::Int(1))]);
}

#[tokio::test]
async fn a_line_that_blocks_is_woken_and_holds_up_nobody() {
    let redis = RedisServer::start().await;
    let client = redis.client().await;
    let mut line = client.blocking_line(SOON * 10);
    let brief = command("XREAD BLOCK 20 STREAMS events $");
    assert_eq!(line.send(&brief).await.unwrap(), Value::Nil);

    let long = command("XREAD BLOCK 600000 STREAMS events $");
    let waiting = tokio::spawn(async move {
        let woken = line.send(&long).await;
        (line, woken)
    });
    eventually(SOON, "it blocks", async || blocked(&redis, 1).await).await;
    client.ping().await.unwrap();
    let _: () = redis.command("XADD events * f v").await;
    let woken = tokio::time::timeout(SOON, waiting).await;
    let (mut line, woken) = woken.expect("it is woken").unwrap();
    assert_ne!(woken.unwrap(), Value::Nil);

    // A call that was given up does not hold up the next one, nor stay on the server.
    let longest = command("XREAD BLOCK 600000 STREAMS events $");
    let given_up = tokio::time::timeout(Duration::from_millis(50), line.send(&longest)).await;
    assert!(given_up.is_err());
    let next = tokio::time::timeout(SOON, line.send(&brief)).await;
    assert_eq!(next.expect("nothing holds it up").unwrap(), Value::Nil);
    eventually(SOON, "nothing blocks", async || blocked(&redis, 0).await).await;

    // It ends with its value.
    drop(line);
    eventually(SOON, "one connection is left", async || {
        (connections(&redis).await == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_line_to_a_server_that_went_away_says_so_and_is_made_anew() {
    let mut redis = RedisServer::start().await;
    let endpoint = Endpoint::parse(&redis.url()).unwrap();
    let client = Client::connect(&endpoint).await.unwrap();
    let mut line = client.blocking_line(Duration::from_secs(1));
    let brief = command("XREAD BLOCK 10 STREAMS events $");
    assert_eq!(line.send(&brief).await.unwrap(), Value::Nil);
    redis.kill();
    let fault = line.send(&brief).await.unwrap_err();
    assert!(fault.is_transient(), "{fault}");
    redis.restart().await;
    eventually(SOON, "it is back", async || client.ping().await.ok()).await;
    assert_eq!(line.send(&brief).await.unwrap(), Value::Nil);
}
