//! A TCP proxy before Redis that can lose an answer, cut the line or slow it down.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use taskqueue_queue::{Client, Endpoint};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
pub(crate) struct Proxy {
    address: SocketAddr,
    faults: Arc<Mutex<Faults>>,
}

#[derive(Default)]
struct Faults {
    /// Cut the connection instead of passing on an answer that holds this.
    answer: Option<&'static str>,
    /// Cut the connection instead of passing on the answer to a request that holds this.
    request: Option<&'static str>,
    delay: Duration,
    /// While this is set, no answer is passed on.
    held: watch::Sender<bool>,
    /// While set, connections are cut and refused.
    down: bool,
    cut: CancellationToken,
    lost: usize,
}

impl Proxy {
    pub(crate) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            faults: Arc::default(),
        };
        let accepting = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if accepting.with(|faults| faults.down) {
                    continue;
                }
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::spawn(accepting.clone().connection(client, server));
            }
        });
        proxy
    }

    pub(crate) async fn client(&self) -> Client {
        let endpoint = Endpoint::parse(&format!("redis://{}", self.address)).unwrap();
        Client::connect(&endpoint).await.unwrap()
    }

    pub(crate) fn lose_answer_holding(&self, text: &'static str) {
        self.with(|faults| faults.answer = Some(text));
    }

    pub(crate) fn lose_answer_to_request_holding(&self, text: &'static str) {
        self.with(|faults| faults.request = Some(text));
    }

    /// How many answers were lost so far.
    pub(crate) fn lost(&self) -> usize {
        self.with(|faults| faults.lost)
    }

    pub(crate) fn delay_answers(&self, delay: Duration) {
        self.with(|faults| faults.delay = delay);
    }

    /// From now on no answer is passed on, until they are released.
    pub(crate) fn hold_answers(&self) {
        self.with(|faults| faults.held.send_replace(true));
    }

    pub(crate) fn release_answers(&self) {
        self.with(|faults| faults.held.send_replace(false));
    }

    pub(crate) fn go_down(&self) {
        self.with(|faults| {
            faults.down = true;
            std::mem::take(&mut faults.cut).cancel();
        });
    }

    pub(crate) fn come_back(&self) {
        self.with(|faults| faults.down = false);
    }

    fn with<T>(&self, change: impl FnOnce(&mut Faults) -> T) -> T {
        change(&mut self.faults.lock().unwrap())
    }

    async fn connection(self, client: TcpStream, server: TcpStream) {
        let cut = self.with(|faults| faults.cut.clone());
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
        }
        let doomed = Arc::new(Mutex::new(false));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            () = cut.cancelled() => {}
            () = self.requests(from_client, to_server, &doomed) => {}
            () = self.answers(from_server, to_client, &doomed) => {}
        }
    }

    async fn requests(
        &self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        doomed: &Mutex<bool>,
    ) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(size @ 1..) = from.read(&mut buffer).await {
            let dooms = self.with(|faults| {
                faults
                    .request
                    .take_if(|text| holds(&buffer[..size], text))
                    .is_some()
            });
            if dooms {
                *doomed.lock().unwrap() = true;
            }
            if to.write_all(&buffer[..size]).await.is_err() {
                return;
            }
        }
    }

    async fn answers(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, doomed: &Mutex<bool>) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(size @ 1..) = from.read(&mut buffer).await {
            let lost = self.with(|faults| {
                faults
                    .answer
                    .take_if(|text| holds(&buffer[..size], text))
                    .is_some()
            });
            if lost || *doomed.lock().unwrap() {
                self.with(|faults| faults.lost += 1);
                return;
            }
            let delay = self.with(|faults| faults.delay);
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            let mut held = self.with(|faults| faults.held.subscribe());
            let _ = held.wait_for(|held| !held).await;
            if to.write_all(&buffer[..size]).await.is_err() {
                return;
            }
        }
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}
