//! 12,000 HTTP requests at the operator's port whose headers never end; what is closed is opened
//! again, at most 1,000 a second.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    sync::{Mutex, watch},
};

use super::field::{Field, ticks};

const REQUESTS: usize = 12_000;
/// Addresses that they come from, as from so many pods; the probes come from another.
const PODS: u8 = 12;
const PACE: Duration = Duration::from_millis(1);

pub(super) async fn begin(field: &Field) {
    let turns = Arc::new(Mutex::new(ticks(PACE)));
    let (open, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let seen = Arc::clone(&most);
    field.note(move || {
        let most = seen.load(Ordering::Relaxed);
        format!("half_open: at most {most} connections were open at once")
    });
    let pods = (0..PODS).cycle().take(REQUESTS);
    for pod in pods {
        let (target, turns) = (field.target.clone(), Arc::clone(&turns));
        let (open, most) = (Arc::clone(&open), Arc::clone(&most));
        tokio::spawn(async move {
            loop {
                turns.lock().await.tick().await;
                let _ = ask(pod, &target, &open, &most).await;
            }
        });
    }
    // By then each has been opened.
    tokio::time::sleep(PACE * 12_000).await;
}

/// Opens one, and holds it until it is closed.
async fn ask(
    pod: u8,
    target: &watch::Receiver<String>,
    open: &AtomicU64,
    most: &AtomicU64,
) -> std::io::Result<()> {
    let target = target.borrow().parse().map_err(std::io::Error::other)?;
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 66, 1, pod + 1), 0).into())?;
    let mut stream = socket.connect(target).await?;
    most.fetch_max(open.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
    let held = async {
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nHost: siege\r\nX-Endless: ")
            .await?;
        let mut answer = [0; 256];
        while stream.read(&mut answer).await? > 0 {}
        Ok(())
    };
    let held = held.await;
    open.fetch_sub(1, Ordering::Relaxed);
    held
}
