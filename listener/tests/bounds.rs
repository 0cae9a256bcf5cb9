//! What a listener takes and what it does not, over real connections.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use taskqueue_listener::testing::{begin, is_closed};
use taskqueue_listener::{Limits, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_mins(1);

const LIMITS: Limits = Limits {
    connections: 4,
    patience: PATIENCE,
    body_bytes: 1024,
};
/// Those of a listener that waits for nobody.
const IMPATIENT: Limits = Limits {
    patience: Duration::from_millis(200),
    ..LIMITS
};

const FIRST: Ipv4Addr = Ipv4Addr::LOCALHOST;
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A listener with a path that answers at once, one that takes a body, one with a long answer, and one that answers when
/// the gate is opened.
struct Stage {
    address: SocketAddr,
    gate: Arc<Semaphore>,
    asked: Arc<Notify>,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

impl Stage {
    async fn new(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (gate, asked) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
        let (opened, asking) = (Arc::clone(&gate), Arc::clone(&asked));
        let gated = async move || {
            asking.notify_one();
            opened.acquire().await.unwrap().forget();
            "through\n"
        };
        let router = Router::new()
            .route("/livez", get("ok\n"))
            .route("/gated", get(gated))
            .route("/long", get(Bytes::from(vec![b'x'; 64 << 20])))
            .route("/length", post(async |body: Bytes| body.len().to_string()));
        let stop = CancellationToken::new();
        let served = serve(listener, router, limits, stop.clone().cancelled_owned());
        Self {
            address,
            gate,
            asked,
            stop,
            served: tokio::spawn(served),
        }
    }

    async fn asks(&self, from: Ipv4Addr, request: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let mut stream = socket.connect(self.address).await.unwrap();
        // The listener may have closed it already.
        let _ = stream.write_all(request.as_bytes()).await;
        stream
    }

    async fn probe(&self, from: Ipv4Addr) -> String {
        answer(
            self.asks(
                from,
                "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            )
            .await,
        )
        .await
    }

    /// A connection that rests after its first request was answered.
    async fn rests(&self, from: Ipv4Addr) -> TcpStream {
        let mut stream = self
            .asks(from, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            assert!(
                stream.read_buf(&mut answer).await.unwrap() > 0,
                "it is answered"
            );
        }
        stream
    }
}

/// All that is answered, until the connection is closed.
async fn answer(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // A listener that does not read the rest of a request resets the connection, also behind a whole answer.
    let _ = tokio::time::timeout(PATIENCE, read)
        .await
        .expect("it is closed");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Waits until the listener has closed the connection.
async fn closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest);
    let _ = tokio::time::timeout(PATIENCE, read)
        .await
        .expect("it is closed");
}

#[tokio::test]
async fn a_request_that_does_not_come_whole_in_time_is_cut_off() {
    let stage = Stage::new(IMPATIENT).await;
    closed(begin(stage.address, FIRST).await.unwrap()).await;
    // Nothing at all, and a second request that does not come.
    closed(stage.asks(FIRST, "").await).await;
    closed(
        stage
            .asks(FIRST, "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
            .await,
    )
    .await;
    let half = "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf";
    let told = answer(stage.asks(FIRST, half).await).await;
    assert!(
        told.starts_with("HTTP/1.1 408") && told.contains("within 200ms"),
        "{told}"
    );
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_cut_off() {
    let stage = Stage::new(IMPATIENT).await;
    let mut stream = stage
        .asks(FIRST, "GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    // Written to, a connection that the listener has closed is reset: the request after the answer is heard by nobody.
    let reset = async {
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reset)
        .await
        .expect("it is closed");
}

#[tokio::test]
async fn a_head_and_a_body_have_their_bounds() {
    let stage = Stage::new(LIMITS).await;
    let head = format!(
        "GET /livez HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n",
        "x".repeat(17 * 1024)
    );
    let told = answer(stage.asks(FIRST, &head).await).await;
    assert!(told.starts_with("HTTP/1.1 431"), "{told}");

    let post = |headers: &str, body: &str| {
        format!("POST /length HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n{body}")
    };
    let (fits, large) = ("x".repeat(1024), "x".repeat(1025));
    let told = answer(
        stage
            .asks(FIRST, &post("Content-Length: 1024\r\n", &fits))
            .await,
    )
    .await;
    assert!(told.ends_with("1024"), "{told}");
    let chunked = format!("401\r\n{large}\r\n0\r\n\r\n");
    for request in [
        post("Content-Length: 1025\r\n", &large),
        post("Transfer-Encoding: chunked\r\n", &chunked),
        // The body need not come for that.
        post("Content-Length: 1000000000\r\n", ""),
    ] {
        let told = answer(stage.asks(FIRST, &request).await).await;
        assert!(
            told.starts_with("HTTP/1.1 413") && told.contains("at most 1024 bytes"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn one_more_than_may_be_is_answered_and_the_oldest_of_the_largest_crowd_gives_way() {
    let stage = Stage::new(LIMITS).await;
    let alone = stage.rests(FIRST).await;
    let mut crowd = Vec::new();
    for _ in 0..3 {
        crowd.push(stage.rests(SECOND).await);
    }
    let told = stage.probe(FIRST).await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    closed(crowd.remove(0)).await;
    for stream in crowd.iter().chain([&alone]) {
        assert!(!is_closed(stream), "it is left alone");
    }
}

#[tokio::test]
async fn what_is_being_answered_never_gives_way() {
    let stage = Stage::new(LIMITS).await;
    let gated = "GET /gated HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut asked = Vec::new();
    for _ in 0..4 {
        asked.push(stage.asks(FIRST, gated).await);
        tokio::time::timeout(PATIENCE, stage.asked.notified())
            .await
            .expect("it is asked");
    }
    assert_eq!(stage.probe(SECOND).await, "", "there is no room");
    stage.gate.add_permits(4);
    for stream in asked {
        assert!(answer(stream).await.ends_with("through\n"));
    }
    assert!(stage.probe(SECOND).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_stop_ends_what_rests_and_waits_for_what_is_being_answered() {
    let stage = Stage::new(LIMITS).await;
    let gated = stage
        .asks(FIRST, "GET /gated HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    tokio::time::timeout(PATIENCE, stage.asked.notified())
        .await
        .expect("it is asked");
    let resting = stage.rests(FIRST).await;
    stage.stop.cancel();
    closed(resting).await;
    assert!(!stage.served.is_finished());
    stage.gate.add_permits(1);
    assert!(answer(gated).await.ends_with("through\n"));
    tokio::time::timeout(PATIENCE, stage.served)
        .await
        .expect("it ends")
        .unwrap();
}

#[tokio::test]
async fn what_is_open_when_nobody_polls_it_any_more_is_cut_off() {
    let stage = Stage::new(LIMITS).await;
    let open = stage.rests(FIRST).await;
    stage.served.abort();
    closed(open).await;
}
