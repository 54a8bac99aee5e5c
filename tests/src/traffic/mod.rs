//! What programs in pods do: real sockets of this kernel and the real `ping`,
//! in the pods' namespaces. A test compares what the tracer says with what
//! happened, so everything here counts what was sent and what arrived, and
//! nothing here waits for ever: traffic that meets a fault comes back with the
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

/// How long anything here may take unless [`Flow::limit`] says otherwise.
const LIMIT: Duration = Duration::from_secs(180);
/// How long to wait for one answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The environment variable that says how many packets a test sends that is about
/// many of them.
pub const PACKETS_VARIABLE: &str = "TRACER_PACKETS";

/// How many packets are to be sent, if [`PACKETS_VARIABLE`] says.
///
/// # Errors
/// If it is no number.
pub fn packets_from_environment() -> Result<Option<u32>> {
    let Ok(text) = env::var(PACKETS_VARIABLE) else {
        return Ok(None);
    };
    let packets = text.parse();
    packets
        .map(Some)
        .with_context(|| format!("{PACKETS_VARIABLE}={text} is no number of packets"))
}

/// How much was sent, and how much of it did what it was sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// What was sent: packets, connections or bytes.
    pub sent: u64,
    /// What of it arrived or was answered, whichever the traffic is about.
    pub received: u64,
}

impl Tally {
    /// Whether something was sent and nothing was lost.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.sent > 0 && self.received == self.sent
    }
}

/// Traffic from one pod to another. It holds copies of what it needs of them
/// and may be moved to a thread of its own.
#[derive(Clone, Debug)]
pub struct Flow {
    from: Pod,
    to: Pod,
    v6: bool,
    port: u16,
    limit: Duration,
}

/// Pings that go on until they are stopped: a busy machine is slow to start
/// what is to happen meanwhile.
#[derive(Debug)]
pub struct Pinging {
    enough: Arc<AtomicBool>,
    thread: JoinHandle<Result<Tally>>,
}

impl Pinging {
    /// Ends them; all requests and answers.
    ///
    /// # Errors
    /// As [`Flow::ping`].
    ///
    /// # Panics
    /// If their thread did.
    pub fn stop(self) -> Result<Tally> {
        self.enough.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic")
    }
}

impl Flow {
    /// IPv4, to a port that the kernel chooses.
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

    /// The same flow with another limit to the time that all of it may take.
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

    /// `count` echo requests by the program `ping`, one every `interval`;
    /// counts the answers.
    ///
    /// # Errors
    /// If `ping` cannot be run, does not end or says what nobody understands.
    pub fn ping(&self, count: u64, interval: Duration) -> Result<Tally> {
        self.run_ping(count, &["-i", &interval.as_secs_f64().to_string()])
    }

    /// As [`Flow::ping`], each request as soon as the one before is answered,
    /// or after 10 ms.
    ///
    /// # Errors
    /// As [`Flow::ping`].
    pub fn ping_flood(&self, count: u64) -> Result<Tally> {
        self.run_ping(count, &["-f"])
    }

    /// As [`Flow::ping`], every 2 ms, until it is stopped.
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
        // 1 says that answers are missing, which is for the caller to judge.
        ensure!(
            matches!(ended.status.code(), Some(0 | 1)),
            "ping failed in {}: {}",
            self.from.netns.name,
            ended.stderr.trim()
        );
        statistics(&ended.stdout)
            .with_context(|| format!("ping printed no statistics: {}", ended.stdout.trim()))
    }

    /// Where the server listens: port 0 is any.
    fn server(&self) -> SocketAddr {
        SocketAddr::new(self.destination(), self.port)
    }

    /// Where a client binds.
    fn client(&self) -> SocketAddr {
        SocketAddr::new(self.source(), 0)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.limit
    }
}

/// Makes both pods and their nodes' bridges forget who has which MAC address,
/// then sends one ping: there is ARP, or neighbour discovery, once more.
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

/// From `5 packets transmitted, 4 received, +1 duplicates, 20% packet loss, …`.
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
