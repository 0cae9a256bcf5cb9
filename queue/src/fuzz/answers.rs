//! A server that answers wrongly: a proxy before a real one that changes some of its answers, under
//! every call of this crate and a worker.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::resp::Node;
use super::wreck::{self, drained};
use super::{Cases, Dice, Named, dice, panics};
use crate::testing::RedisServer;
use crate::worker::{LeasedTask, Outcome, Worker};
use crate::{Client, Endpoint, NewTask, Payload, QueueName};

const CASES: u64 = 60;
/// Cases that run side by side: a wrong answer now and then costs a timeout.
const ABREAST: usize = 8;
const TASKS: u32 = 40;
const LEASE: Duration = Duration::from_millis(300);
/// Every call of a case together, timeouts included.
const LONGEST: Duration = Duration::from_secs(100);

/// A proxy that changes so many of a thousand answers.
struct Liar {
    port: u16,
    rate: AtomicU32,
    told: AtomicU64,
    dice: Mutex<Dice>,
}

impl Liar {
    async fn before(server: u16, case: u64) -> Arc<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let liar = Arc::new(Self {
            port: listener.local_addr().unwrap().port(),
            rate: AtomicU32::new(0),
            told: AtomicU64::new(0),
            dice: Mutex::new(dice(case)),
        });
        let accepting = Arc::clone(&liar);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (mut from_server, to_server) = server.into_split();
                let liar = Arc::clone(&accepting);
                tokio::spawn(async move {
                    tokio::select! {
                        () = pass(from_client, to_server) => {}
                        () = liar.lie(&mut from_server, to_client) => {}
                    }
                });
            }
        });
        liar
    }

    fn client(&self) -> Client {
        Client::lazy(&Endpoint::parse(&format!("redis://127.0.0.1:{}", self.port)).unwrap())
    }

    fn lie_in(&self, of_a_thousand: u32) {
        self.rate.store(of_a_thousand, Ordering::Relaxed);
    }

    async fn lie(&self, from: &mut OwnedReadHalf, mut to: OwnedWriteHalf) {
        let (mut buffer, mut part) = (Vec::new(), vec![0; 64 * 1024]);
        while let Ok(size @ 1..) = from.read(&mut part).await {
            buffer.extend_from_slice(&part[..size]);
            let (mut out, mut cut) = (Vec::new(), false);
            while let Some((node, used)) = Node::read(&buffer) {
                cut |= self.change(node, &mut out);
                buffer.drain(..used);
            }
            if to.write_all(&out).await.is_err() || cut {
                return;
            }
        }
    }

    /// Writes an answer, true or not; whether the connection is to be cut behind it.
    fn change(&self, mut node: Node, out: &mut Vec<u8>) -> bool {
        let mut dice = self.dice.lock().unwrap();
        if dice.random_range(0..1_000) >= self.rate.load(Ordering::Relaxed) {
            node.write(out);
            return false;
        }
        self.told.fetch_add(1, Ordering::Relaxed);
        if dice.random_bool(0.9) {
            node.spoil(&mut dice);
            node.write(out);
            return false;
        }
        // No answer of the protocol at all: lengths that promise too much, or anything.
        let promises = [
            "*4294967295\r\n",
            "$4294967295\r\n",
            "$-5\r\n",
            "*-7\r\n",
            "\0",
        ];
        out.extend(promises[dice.random_range(0..promises.len())].bytes());
        out.extend(super::mutate::bytes(&mut dice));
        true
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

#[test]
fn wrong_answers_are_typed_errors_and_the_queue_goes_on_behind_them() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let panicked = panics();
    let redis = runtime.block_on(RedisServer::start());
    let cases = Arc::new(Mutex::new(Cases::new(CASES)));
    let told: u64 = runtime.block_on(async {
        let mut lanes = Vec::new();
        for _ in 0..ABREAST {
            let (cases, port, client) = (Arc::clone(&cases), redis.port(), redis.client().await);
            lanes.push(tokio::spawn(async move {
                let mut told = 0;
                let next = || cases.lock().unwrap().next();
                while let Some(case) = next() {
                    let _named = Named("answers", case);
                    told += tokio::time::timeout(LONGEST, one(case, port, &client))
                        .await
                        .expect("no call hangs");
                }
                told
            }));
        }
        let mut told = 0;
        for lane in lanes {
            told += lane.await.unwrap();
        }
        told
    });
    println!("{told} wrong answers");
    assert_eq!(panics(), panicked, "something panicked");
}

/// One case; how many answers were changed.
async fn one(case: u64, port: u16, honest: &Client) -> u64 {
    let mut chance = dice(case);
    let liar = Liar::before(port, case).await;
    let name = QueueName::new("answers", &format!("case-{case}")).unwrap();
    let direct = honest.queue(name.clone());
    let numbers = (0..TASKS).map(|n| NewTask::new("any", Payload::of(&n).unwrap()));
    direct.enqueue_many(numbers.collect()).await.unwrap();

    // A worker that has begun well, then is lied to.
    let stop = CancellationToken::new();
    let handler = |_: LeasedTask| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Outcome::Completed(None)
    };
    let worker = Worker::new(liar.client().queue(name.clone()), handler)
        .concurrency(3)
        .drain_timeout(Duration::from_secs(1))
        .lease(LEASE);
    let run = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
    liar.lie_in(chance.random_range(50..500));
    let mut announcements = liar.client().announcements();
    let announced = async {
        let wait = Duration::from_millis(200);
        while tokio::time::timeout(wait, announcements.next())
            .await
            .is_ok()
        {}
    };
    let calls = async {
        for _ in 0..3 {
            wreck::call_everything(&liar.client(), &name, &mut chance).await;
        }
    };
    tokio::join!(announced, calls);
    liar.lie_in(0);
    stop.cancel();
    // An error of the start, or a report; not a panic.
    let _ = run.await.unwrap();

    drained(honest, &direct, LEASE).await;
    liar.told.load(Ordering::Relaxed)
}
