//! Datagrams. UDP tells nobody what was lost, so the receiver's socket must not lose any. A sender
//! never gets further ahead than that socket can hold.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBufForce;

use super::{Flow, PATIENCE, Tally, apart};

/// Limit of datagrams on their way. 64 of 64 KiB fit well into the receiver's buffer that
/// [`udp_send`](Flow::udp_send) requests.
const WINDOW: u64 = 64;
/// The receiver's buffer, in bytes; the kernel doubles it.
pub(super) const BUFFER: usize = 8 << 20;
/// The time without progress after which datagrams on their way count as lost. Before the first
/// arrival, a busy machine has more time.
const STALL: Duration = Duration::from_millis(100);
/// How often a server checks whether its client has ended.
pub(super) const TICK: Duration = Duration::from_millis(20);
/// The largest datagram, in bytes.
const LARGEST: usize = 65_507;

impl Flow {
    /// Sends `count` datagrams of `payload` bytes to a server that sends them back, and counts the
    /// answers. Each datagram waits for the answer to the previous one.
    ///
    /// # Errors
    /// If a socket cannot be made.
    pub fn udp_exchange(&self, count: u64, payload: usize) -> Result<Tally> {
        if let Some(tally) = self.between_machines(apart::EXCHANGE, count, payload, 0) {
            return tally;
        }
        let server = self.udp_server()?;
        let client = self.udp_client(&server)?;
        let deadline = self.deadline();
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| echo(&server, &ended));
            let tally = send_each(&client, count, payload, true, deadline);
            ended.store(true, Ordering::Relaxed);
            Ok(tally)
        })
    }

    /// Sends `count` datagrams of `payload` bytes one way, as fast as the receiver takes them.
    /// Counts those that arrived.
    ///
    /// # Errors
    /// If a socket cannot be made.
    pub fn udp_send(&self, count: u64, payload: usize) -> Result<Tally> {
        if let Some(tally) = self.between_machines(apart::DATAGRAMS, count, payload, count) {
            return tally;
        }
        let server = self.udp_server()?;
        let client = self.udp_client(&server)?;
        let deadline = self.deadline();
        let received = AtomicU64::new(0);
        let ended = AtomicBool::new(false);
        let sent = thread::scope(|scope| {
            scope.spawn(|| count_arrivals(&server, &received, &ended));
            let sent = send_within_window(&client, count, payload, &received, deadline);
            ended.store(true, Ordering::Relaxed);
            sent
        });
        Ok(Tally {
            sent,
            received: received.into_inner(),
        })
    }

    fn udp_server(&self) -> Result<UdpSocket> {
        let address = self.server();
        let bind = || UdpSocket::bind(address);
        let socket = self.to.netns.bind(address, bind)?;
        setsockopt(&socket, RcvBufForce, &BUFFER)?;
        socket.set_read_timeout(Some(TICK))?;
        Ok(socket)
    }

    fn udp_client(&self, server: &UdpSocket) -> Result<UdpSocket> {
        let address = self.client();
        let bind = || UdpSocket::bind(address);
        let socket = self.from.netns.bind(address, bind)?;
        socket.connect(server.local_addr()?)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    }
}

/// Sends `count` datagrams. If there are answers, each datagram waits for the previous answer.
pub(super) fn send_each(
    client: &UdpSocket,
    count: u64,
    payload: usize,
    answered: bool,
    deadline: Instant,
) -> Tally {
    let mut tally = Tally {
        sent: 0,
        received: 0,
    };
    let in_time = (0..count).take_while(|_| Instant::now() < deadline);
    for question in in_time.map(|number| numbered(number, payload)) {
        // Sending fails without a route, or with the ICMP error for an earlier datagram. The
        // datagram is not sent either way.
        if client.send(&question).is_ok() {
            tally.sent += 1;
            tally.received += u64::from(answered && is_answered(client, &question));
        }
    }
    tally
}

/// `len` bytes that begin with `number`, as far as there is room.
pub(super) fn numbered(number: u64, len: usize) -> Vec<u8> {
    number
        .to_be_bytes()
        .into_iter()
        .chain(std::iter::repeat(b'.'))
        .take(len)
        .collect()
}

/// Whether `question` comes back. Late answers to earlier questions do not count.
pub(super) fn is_answered(client: &UdpSocket, question: &[u8]) -> bool {
    let mut answer = vec![0; LARGEST];
    while let Ok(len) = client.recv(&mut answer) {
        if answer[..len] == *question {
            return true;
        }
    }
    false
}

pub(super) fn echo(server: &UdpSocket, ended: &AtomicBool) {
    let mut datagram = vec![0; LARGEST];
    while !ended.load(Ordering::Relaxed) {
        if let Ok((len, client)) = server.recv_from(&mut datagram) {
            // An answer that cannot be sent will be missing at the client.
            let _ = server.send_to(&datagram[..len], client);
        }
    }
}

pub(super) fn count_arrivals(server: &UdpSocket, received: &AtomicU64, ended: &AtomicBool) {
    let mut datagram = vec![0; LARGEST];
    while !ended.load(Ordering::Relaxed) {
        if server.recv(&mut datagram).is_ok() {
            received.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Returns the number of sent datagrams, once they have arrived or no more arrive.
fn send_within_window(
    client: &UdpSocket,
    count: u64,
    payload: usize,
    received: &AtomicU64,
    deadline: Instant,
) -> u64 {
    let mut sent = 0;
    let mut lost = 0;
    let mut wait_until_under_way = |sent: u64, most: u64| {
        let mut progress = (received.load(Ordering::Relaxed), Instant::now());
        while sent.saturating_sub(lost + progress.0) > most {
            let now = (received.load(Ordering::Relaxed), Instant::now());
            if now.0 != progress.0 {
                progress = now;
            } else if now.1 - progress.1 > if lost == 0 { PATIENCE } else { STALL } {
                lost = sent.saturating_sub(now.0);
            }
            thread::yield_now();
        }
    };
    for datagram in (0..count).map(|number| numbered(number, payload)) {
        if Instant::now() > deadline {
            break;
        }
        sent += u64::from(client.send(&datagram).is_ok());
        wait_until_under_way(sent, WINDOW - 1);
    }
    wait_until_under_way(sent, 0);
    sent
}
