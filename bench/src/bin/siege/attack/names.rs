//! The attackers' name server: it says that no name exists, and nothing at all to those with
//! `.slow.` in them.

use tokio::net::UdpSocket;

use crate::cage::NAME_SERVER;

/// Where no name exists.
pub(super) const DEAD: &str = "siege.test";
/// Where no name is answered.
pub(super) const SLOW: &str = "slow.siege.test";

/// Answers until this process ends.
pub(super) async fn serve() {
    let socket = UdpSocket::bind((NAME_SERVER, 53)).await;
    let socket = socket.expect("the name server's port is free");
    tokio::spawn(async move {
        let mut packet = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut packet).await {
            let question = &packet[..length];
            let is_slow = question.windows(6).any(|part| part == b"\x04slow\x05");
            if length < 12 || is_slow {
                continue;
            }
            let mut answer = question.to_vec();
            // A response without recursion's doubts, NXDOMAIN, with the question alone.
            (answer[2], answer[3]) = (0x81, 0x83);
            answer[6..12].fill(0);
            let _ = socket.send_to(&answer, from).await;
        }
    });
}
