//! Traffic between two machines: each machine plays one end, and this program adds up what both
//! report.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::{Flow, PATIENCE, Tally, tcp, udp};
use crate::lab::Pod;
use crate::netns::Netns;
use crate::process;

/// Datagrams, each sent after the answer to the previous one.
pub(super) const EXCHANGE: &str = "exchange";
/// Datagrams without answers.
pub(super) const DATAGRAMS: &str = "datagrams";
/// Connections with one question and one answer each.
pub(super) const CONNECTIONS: &str = "connections";
/// Bytes over one connection.
pub(super) const BYTES: &str = "bytes";

impl Flow {
    /// Sends between machines, if the pods are in machines. `expected` is the amount that the
    /// server must get before it closes.
    pub(super) fn between_machines(
        &self,
        kind: &str,
        count: u64,
        payload: usize,
        expected: u64,
    ) -> Option<Result<Tally>> {
        let to = self.to.netns.machine.as_ref()?;
        let run = || -> Result<Tally> {
            let at = self.server().to_string();
            let told = to.ask(&["listen", &self.to.netns.name, kind, &at])?;
            let server = told["server"].as_str().context("a server")?;
            let port = told["port"].as_u64().context("a port")?;
            let at = SocketAddr::new(self.destination(), u16::try_from(port)?);
            let mut tally = self.client_elsewhere(kind, at, count, payload)?;
            let told = to.ask(&["close", server, &expected.to_string()])?;
            if kind == DATAGRAMS {
                tally.received = told["arrived"].as_u64().context("a count")?;
            }
            Ok(tally)
        };
        Some(run())
    }

    fn client_elsewhere(
        &self,
        kind: &str,
        to: SocketAddr,
        count: u64,
        payload: usize,
    ) -> Result<Tally> {
        let machine = self.from.netns.machine.as_ref();
        let machine = machine.context("both ends are in machines, or none")?;
        let words = [
            "client",
            &self.from.netns.name,
            kind,
            &self.client().to_string(),
            &to.to_string(),
            &count.to_string(),
            &payload.to_string(),
        ];
        let told = machine.ask(&words)?;
        let number = |key: &str| told[key].as_u64().context("a count");
        Ok(Tally {
            sent: number("sent")?,
            received: number("received")?,
        })
    }
}

/// Sends datagrams from a pod in another machine, whether or not anybody listens, and returns their
/// number.
///
/// # Errors
/// If the machine cannot send.
pub fn send_datagrams(from: &Pod, to: (&Pod, u16), count: u64, payload: usize) -> Result<u64> {
    let flow = Flow::new(from, to.0);
    let at = SocketAddr::new(flow.destination(), to.1);
    Ok(flow.client_elsewhere(DATAGRAMS, at, count, payload)?.sent)
}

/// A server that runs on a separate thread until it is closed.
#[derive(Debug)]
pub(crate) struct Server {
    port: u16,
    arrived: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Server {
    pub(crate) fn start(netns: &Netns, kind: &str, at: SocketAddr) -> Result<Self> {
        let arrived = Arc::new(AtomicU64::new(0));
        let ended = Arc::new(AtomicBool::new(false));
        let (count, end) = (Arc::clone(&arrived), Arc::clone(&ended));
        let (port, thread) = match kind {
            EXCHANGE | DATAGRAMS => {
                let socket = netns.bind(at, || UdpSocket::bind(at))?;
                setsockopt(&socket, RcvBufForce, &udp::BUFFER)?;
                socket.set_read_timeout(Some(udp::TICK))?;
                let port = socket.local_addr()?.port();
                let answers = kind == EXCHANGE;
                let serve = move || {
                    if answers {
                        udp::echo(&socket, &end);
                    } else {
                        udp::count_arrivals(&socket, &count, &end);
                    }
                };
                (port, thread::spawn(serve))
            }
            CONNECTIONS | BYTES => {
                let listener = netns.bind(at, || TcpListener::bind(at))?;
                setsockopt(&listener, ReceiveTimeout, &TimeVal::milliseconds(tcp::TICK))?;
                let port = listener.local_addr()?.port();
                let short = kind == CONNECTIONS;
                let serve = move || {
                    while !end.load(Ordering::Relaxed) {
                        let Ok((stream, _)) = listener.accept() else {
                            continue;
                        };
                        // A failure here shows in the client's count.
                        let _ = if short {
                            tcp::answer(stream)
                        } else {
                            tcp::download(stream, process::deadline(super::LIMIT))
                        };
                    }
                };
                (port, thread::spawn(serve))
            }
            _ => bail!("there is no server of {kind}"),
        };
        Ok(Self {
            port,
            arrived,
            ended,
            thread,
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Ends the server once so many datagrams have arrived, or no more come. Returns their number.
    pub(crate) fn close(self, expected: u64) -> u64 {
        let deadline = process::deadline(PATIENCE);
        while self.arrived.load(Ordering::Relaxed) < expected && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        self.ended.store(true, Ordering::Relaxed);
        // A server that panicked has printed the reason.
        let _ = self.thread.join();
        self.arrived.load(Ordering::Relaxed)
    }
}

/// Plays the client in this machine.
pub(crate) fn client(
    netns: &Netns,
    kind: &str,
    (from, to): (SocketAddr, SocketAddr),
    count: u64,
    payload: usize,
) -> Result<Tally> {
    let deadline = process::deadline(super::LIMIT);
    match kind {
        EXCHANGE | DATAGRAMS => {
            let socket = netns.enter(|| UdpSocket::bind(from))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            let answered = kind == EXCHANGE;
            socket.connect(to)?;
            Ok(udp::send_each(&socket, count, payload, answered, deadline))
        }
        CONNECTIONS => Ok(netns.enter(|| tcp::ask_each(to, count, deadline))),
        BYTES => Ok(netns.enter(|| tcp::upload_all(to, count, deadline))),
        _ => bail!("there is no client of {kind}"),
    }
}
