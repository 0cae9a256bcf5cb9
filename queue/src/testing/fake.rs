//! A server that answers what a test says, for servers that cannot be had: old ones, foreign ones, such as
//! hang up, and hostile ones.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// Bytes of an endless answer that are sent at a time.
const CHUNK: usize = 64 * 1024;

/// What such a server answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// This, such as `+OK\r\n`; after nothing at all it hangs up.
    Text(String),
    /// The first text, and then the second again and again, until the other side hangs up.
    Endless(String, String),
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// Such a server on a free loopback port. It ends when this is dropped.
#[derive(Debug)]
pub struct FakeServer {
    port: u16,
    accepting: AbortHandle,
}

impl FakeServer {
    /// Starts one. `answer` is given the words of a command, the first one in capitals.
    pub async fn start<A: Into<Answer>>(
        answer: impl Fn(&[String]) -> A + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(move |words: &[String]| answer(words).into());
        let accepting = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = Arc::clone(&answer);
                tokio::spawn(async move { serve(stream, &*answer).await });
            }
        };
        Self {
            port,
            accepting: tokio::spawn(accepting).abort_handle(),
        }
    }

    /// `redis://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What a server answers to a command that it does not know.
    pub fn unknown(words: &[String]) -> String {
        format!(
            "-ERR unknown command '{}', with args beginning with: \r\n",
            words[0]
        )
    }

    /// What a server answers to `HELLO`.
    pub fn hello(make: &str, version: &str, mode: &str) -> String {
        let words = [
            "server", make, "version", version, "mode", mode, "role", "master",
        ];
        let words = words.map(|word| format!("${}\r\n{word}\r\n", word.len()));
        format!("*{}\r\n{}", words.len(), words.concat())
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Answers until either side hangs up.
async fn serve(stream: TcpStream, answer: &(dyn Fn(&[String]) -> Answer + Send + Sync)) {
    let mut stream = BufReader::new(stream);
    while let Some(mut words) = command(&mut stream).await {
        words[0].make_ascii_uppercase();
        let (said, again) = match answer(&words) {
            Answer::Text(said) => (said, String::new()),
            Answer::Endless(first, again) => (first, again.repeat(CHUNK / again.len())),
        };
        if said.is_empty() && again.is_empty() {
            return;
        }
        if stream.get_mut().write_all(said.as_bytes()).await.is_err() {
            return;
        }
        while !again.is_empty() {
            if stream.get_mut().write_all(again.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// The words of the next command.
async fn command(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let count = number(stream, '*').await?;
    let mut words = Vec::new();
    for _ in 0..count {
        let length = number(stream, '$').await?;
        let mut word = vec![0; length + 2];
        stream.read_exact(&mut word).await.ok()?;
        word.truncate(length);
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    (!words.is_empty()).then_some(words)
}

async fn number(stream: &mut BufReader<TcpStream>, sign: char) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.trim_end().strip_prefix(sign)?.parse().ok()
}
