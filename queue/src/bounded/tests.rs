use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

const KIB: usize = 1024;

/// Such a stream that takes 100 KiB, and the server at its other end.
fn pair() -> (Bounded<DuplexStream>, DuplexStream) {
    pair_with(&Bounds {
        largest_answer: Some(100 * KIB),
        ..Bounds::default()
    })
}

fn pair_with(bounds: &Bounds) -> (Bounded<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(16 * 1024 * KIB);
    (Bounded::new(ours, bounds, None), theirs)
}

fn text(bytes: usize) -> String {
    format!("${bytes}\r\n{}\r\n", "x".repeat(bytes))
}

/// Asks so many questions at once.
async fn ask(stream: &mut Bounded<DuplexStream>, questions: usize) {
    let pipeline = "*1\r\n$4\r\nPING\r\n".repeat(questions);
    stream.write_all(pipeline.as_bytes()).await.unwrap();
}

/// The server says this, and it is read to its end.
async fn hear(
    stream: &mut Bounded<DuplexStream>,
    server: &mut DuplexStream,
    said: &str,
) -> Result<(), TooLarge> {
    server.write_all(said.as_bytes()).await.unwrap();
    let mut read = vec![0; said.len()];
    let heard = stream.read_exact(&mut read).await;
    heard
        .map(drop)
        .map_err(|fault| *fault.get_ref().unwrap().downcast_ref::<TooLarge>().unwrap())
}

#[tokio::test]
async fn the_answers_of_a_pipeline_count_together_and_those_of_calls_one_by_one() {
    let (mut stream, mut server) = pair();
    for _ in 0..10 {
        ask(&mut stream, 1).await;
        hear(&mut stream, &mut server, &text(90 * KIB))
            .await
            .unwrap();
    }
    ask(&mut stream, 10).await;
    for _ in 0..3 {
        hear(&mut stream, &mut server, &text(30 * KIB))
            .await
            .unwrap();
    }
    let excess = stream.excess();
    assert!(excess.get().is_none());
    let fault = hear(&mut stream, &mut server, &text(30 * KIB))
        .await
        .unwrap_err();
    assert_eq!(fault.0, 100 * KIB);
    assert!(excess.get().is_some());
}

#[tokio::test]
async fn a_connection_that_is_never_idle_goes_on_for_ever() {
    let (mut stream, mut server) = pair();
    ask(&mut stream, 4).await;
    for _ in 0..200 {
        ask(&mut stream, 1).await;
        hear(&mut stream, &mut server, &text(10 * KIB))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn messages_that_nobody_asked_for_count_one_by_one_and_pay_for_no_answer() {
    let (mut stream, mut server) = pair();
    ask(&mut stream, 1).await;
    for _ in 0..50 {
        let message = format!("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n{}", text(50 * KIB));
        hear(&mut stream, &mut server, &message).await.unwrap();
    }
    ask(&mut stream, 10).await;
    for _ in 0..2 {
        hear(&mut stream, &mut server, &text(40 * KIB))
            .await
            .unwrap();
    }
    hear(&mut stream, &mut server, &text(40 * KIB))
        .await
        .unwrap_err();
}

#[tokio::test]
async fn one_endless_message_is_too_large() {
    let (mut stream, mut server) = pair();
    ask(&mut stream, 1).await;
    hear(
        &mut stream,
        &mut server,
        "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n*1000\r\n",
    )
    .await
    .unwrap();
    let parts = text(KIB).repeat(200);
    hear(&mut stream, &mut server, &parts).await.unwrap_err();
}

#[tokio::test]
async fn a_length_that_is_only_claimed_is_refused_at_once() {
    for claim in ["$200000\r\n", "*200000\r\n", "%9999999999999\r\n"] {
        let (mut stream, mut server) = pair();
        ask(&mut stream, 1).await;
        hear(&mut stream, &mut server, claim).await.unwrap_err();
    }
}

#[tokio::test]
async fn large_answers_take_turns_and_small_ones_do_not_wait_for_them() {
    let turns = Arc::new(Semaphore::new(1));
    let bounds = Bounds {
        largest_answer: Some(8 * 1024 * KIB),
        large: vec![Arc::clone(&turns)],
        ..Bounds::default()
    };
    let (mut one, mut first) = pair_with(&bounds);
    let (mut other, mut second) = pair_with(&bounds);
    for stream in [&mut one, &mut other] {
        ask(stream, 1).await;
    }
    // Half of a large answer.
    let large = text(512 * KIB);
    hear(&mut one, &mut first, &large[..300 * KIB])
        .await
        .unwrap();
    let mut byte = [0];
    first
        .write_all(&large.as_bytes()[300 * KIB..])
        .await
        .unwrap();
    one.read_exact(&mut byte).await.unwrap();
    assert_eq!(turns.available_permits(), 0);
    // Another one waits, from when it is known to be large.
    second.write_all(large.as_bytes()).await.unwrap();
    let mut length = [0; 16];
    other.read_exact(&mut length).await.unwrap();
    assert!(other.read_exact(&mut byte).now_or_never().is_none());
    // A small one does not.
    let (mut small, mut third) = pair_with(&bounds);
    ask(&mut small, 1).await;
    hear(&mut small, &mut third, &text(KIB)).await.unwrap();
    // It goes on when the first one has come to its end.
    let mut rest = vec![0; large.len() - 300 * KIB - 1];
    one.read_exact(&mut rest).await.unwrap();
    let mut left = Vec::new();
    drop(second);
    other.read_to_end(&mut left).await.unwrap();
    assert_eq!(turns.available_permits(), 1);
}
