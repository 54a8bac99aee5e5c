//! The traffic of programs in pods: real sockets of this kernel and the real `ping`, in the pods'
//! namespaces. Tests compare tracer's output with what happened, so all traffic counts what was
//! sent and what arrived. Nothing here waits for ever: traffic that meets a fault returns the
//! smaller count.

pub mod apart;
mod dns;
mod service;
mod tcp;
mod udp;

use std::env;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

pub use dns::{LookedUp, Says, look_up};
pub use service::{Served, Server, tcp_by_proxy, tcp_to, tcp_to_service, udp_to, udp_to_service};

use crate::lab::{Lab, Pod};

/// The time limit of any traffic, unless [`Flow::limit`] sets another.
const LIMIT: Duration = Duration::from_secs(180);
/// How long to wait for one answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The environment variable with the number of packets for tests about many packets.
pub const PACKETS_VARIABLE: &str = "TRACER_PACKETS";

/// The number of packets to send, if [`PACKETS_VARIABLE`] is set.
///
/// # Errors
/// If the variable is no number.
pub fn packets_from_environment() -> Result<Option<u32>> {
    let Ok(text) = env::var(PACKETS_VARIABLE) else {
        return Ok(None);
    };
    let packets = text.parse();
    packets
        .map(Some)
        .with_context(|| format!("{PACKETS_VARIABLE}={text} is no number of packets"))
}

/// How much was sent, and how much of it was successful.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The amount that was sent: packets, connections or bytes.
    pub sent: u64,
    /// The amount that arrived or was answered, depending on the traffic.
    pub received: u64,
}

impl Tally {
    /// Whether something was sent and nothing was lost.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.sent > 0 && self.received == self.sent
    }
}

/// Traffic from one pod to another. It has copies of what it needs, so it may move to another
/// thread.
#[derive(Clone, Debug)]
pub struct Flow {
    from: Pod,
    to: Pod,
    v6: bool,
    port: u16,
    limit: Duration,
}

/// Pings that continue until they are stopped, because a busy machine starts other steps slowly.
#[derive(Debug)]
pub struct Pinging {
    enough: Arc<AtomicBool>,
    thread: JoinHandle<Result<Tally>>,
}

impl Pinging {
    /// Ends the pings, and returns all requests and answers.
    ///
    /// # Errors
    /// As [`Flow::ping`].
    ///
    /// # Panics
    /// If the thread of the pings panicked.
    pub fn stop(self) -> Result<Tally> {
        self.enough.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic")
    }
}

impl Flow {
    /// A flow over IPv4, to a port that the kernel chooses.
    #[must_use]
    pub fn new(from: &Pod, to: &Pod) -> Self {
        let (from, to) = (from.clone(), to.clone());
        Self {
            from,
            to,
            v6: false,
            port: 0,
            limit: LIMIT,
        }
    }

    /// The same flow over IPv6, if `yes`.
    #[must_use]
    pub fn v6(self, yes: bool) -> Self {
        Self { v6: yes, ..self }
    }

    /// The same flow to a fixed port of the server.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// The same flow with another time limit.
    #[must_use]
    pub fn limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// The sender's address.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        self.from.address(self.v6)
    }

    /// The receiver's address.
    #[must_use]
    pub fn destination(&self) -> IpAddr {
        self.to.address(self.v6)
    }

    /// Sends `count` echo requests by the program `ping`, one every `interval`, and counts the
    /// answers.
    ///
    /// # Errors
    /// If `ping` cannot be run, does not end, or its output cannot be parsed.
    pub fn ping(&self, count: u64, interval: Duration) -> Result<Tally> {
        self.run_ping(count, &["-i", &interval.as_secs_f64().to_string()])
    }

    /// As [`Flow::ping`], with each request as soon as the previous one is answered, or after 10
    /// ms.
    ///
    /// # Errors
    /// As [`Flow::ping`].
    pub fn ping_flood(&self, count: u64) -> Result<Tally> {
        self.run_ping(count, &["-f"])
    }

    /// As [`Flow::ping`], every 2 ms, until the pings are stopped.
    #[must_use]
    pub fn keep_pinging(&self) -> Pinging {
        const AT_ONCE: u64 = 200;
        let enough = Arc::new(AtomicBool::new(false));
        let (flow, stop) = (self.clone(), Arc::clone(&enough));
        let thread = thread::spawn(move || {
            let mut all = Tally {
                sent: 0,
                received: 0,
            };
            while !stop.load(Ordering::Relaxed) {
                let some = flow.ping(AT_ONCE, Duration::from_millis(2))?;
                all.sent += some.sent;
                all.received += some.received;
            }
            Ok(all)
        });
        Pinging { enough, thread }
    }

    fn run_ping(&self, count: u64, pace: &[&str]) -> Result<Tally> {
        let line = format!(
            "ping -n -q -W {} -c {count} {} {}",
            PATIENCE.as_secs(),
            pace.join(" "),
            self.destination()
        );
        let ended = self.from.netns.finish(&line, "", self.limit)?;
        // 1 says that answers are missing, which the caller judges.
        ensure!(
            matches!(ended.status.code(), Some(0 | 1)),
            "ping failed in {}: {}",
            self.from.netns.name,
            ended.stderr.trim()
        );
        statistics(&ended.stdout)
            .with_context(|| format!("ping printed no statistics: {}", ended.stdout.trim()))
    }

    /// The address on which the server listens. Port 0 is any port.
    fn server(&self) -> SocketAddr {
        SocketAddr::new(self.destination(), self.port)
    }

    /// The address to which a client binds.
    fn client(&self) -> SocketAddr {
        SocketAddr::new(self.source(), 0)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.limit
    }
}

/// Makes both pods and their nodes' bridges forget their neighbours, then sends one ping, which
/// causes ARP or neighbour discovery.
///
/// # Errors
/// If a neighbour table cannot be flushed, or as [`Flow::ping`].
pub fn arp_nd(lab: &Lab, flow: &Flow) -> Result<Tally> {
    for pod in [&flow.from, &flow.to] {
        let node = lab.node_of(pod);
        pod.netns
            .run(&format!("ip neighbour flush dev {}", pod.interface))?;
        node.netns
            .run(&format!("ip neighbour flush dev {}", node.bridge))?;
    }
    flow.ping(1, Duration::ZERO)
}

/// Parses `5 packets transmitted, 4 received, +1 duplicates, 20% packet loss, …`.
fn statistics(output: &str) -> Option<Tally> {
    let line = output
        .lines()
        .find(|line| line.contains(" packets transmitted"))?;
    let number_before = |word: &str| {
        let part = line.split(", ").find(|part| part.ends_with(word))?;
        part.split(' ').next()?.parse().ok()
    };
    Some(Tally {
        sent: number_before(" packets transmitted")?,
        received: number_before(" received")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_ping_are_read() {
        let good = "PING 10.0.0.1 56(84) bytes of data.\n\n--- 10.0.0.1 ping statistics ---\n\
                    5 packets transmitted, 5 received, 0% packet loss, time 801ms\n";
        let bad = "4 packets transmitted, 1 received, +2 errors, 75% packet loss, time 3052ms";
        assert_eq!(
            statistics(good),
            Some(Tally {
                sent: 5,
                received: 5
            })
        );
        assert_eq!(
            statistics(bad),
            Some(Tally {
                sent: 4,
                received: 1
            })
        );
        assert_eq!(statistics("ping: unknown host"), None);
    }
}
