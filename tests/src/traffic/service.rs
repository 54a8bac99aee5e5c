//! Clients of a Service. They know its address only, and cannot choose the endpoint. Each endpoint
//! therefore counts its answers.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::Result;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{IpTransparent, ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::PATIENCE;
use super::tcp::{TICK, answer, ask};
use super::udp::{self, is_answered, numbered};
use crate::lab::Pod;
use crate::netns::Netns;

/// The results of connections, or of exchanges of datagrams, with a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The number that were begun.
    pub begun: u64,
    /// The number that were answered, as the client saw it.
    pub answered: u64,
    /// The number that each endpoint has answered, in the order of the endpoints.
    pub by_endpoint: Vec<u64>,
}

impl Served {
    /// Whether all were answered, each by one endpoint.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let by_endpoint: u64 = self.by_endpoint.iter().sum();
        self.begun > 0 && self.answered == self.begun && by_endpoint == self.begun
    }
}

/// A server: its namespace, and the address on which it listens.
pub type Server<'a> = (&'a Netns, SocketAddr);

/// Opens `count` TCP connections from a namespace to a Service, one after the other. Each has a
/// question and an answer. The `endpoints` listen on their port `target`.
///
/// # Errors
/// If an endpoint cannot listen.
pub fn tcp_to_service(
    from: &Netns,
    to: SocketAddr,
    endpoints: (&[&Pod], u16),
    count: u64,
) -> Result<Served> {
    tcp_to(from, to, &servers(to, endpoints), count)
}

/// Sends `count` datagrams from a namespace to a Service, each from a new socket and after the
/// answer to the previous one. The `endpoints` listen on their port `target`.
///
/// # Errors
/// If a socket cannot be made.
pub fn udp_to_service(
    from: &Netns,
    to: SocketAddr,
    endpoints: (&[&Pod], u16),
    count: u64,
) -> Result<Served> {
    udp_to(from, to, &servers(to, endpoints), count)
}

fn servers<'a>(to: SocketAddr, (endpoints, target): (&[&'a Pod], u16)) -> Vec<Server<'a>> {
    let server = |pod: &&'a Pod| {
        let address = SocketAddr::new(pod.address(to.is_ipv6()), target);
        (&pod.netns, address)
    };
    endpoints.iter().map(server).collect()
}

/// As [`tcp_to_service`], to an address that `servers` serve.
///
/// # Errors
/// As [`tcp_to_service`].
pub fn tcp_to(from: &Netns, to: SocketAddr, servers: &[Server<'_>], count: u64) -> Result<Served> {
    let listeners: Vec<TcpListener> = servers.iter().map(listen).collect::<Result<_>>()?;
    tcp_by(&listeners, from, to, count)
}

/// As [`tcp_to`], by a proxy to which a rule leads connections for another address (`TPROXY`). The
/// proxy answers with the requested address.
///
/// # Errors
/// As [`tcp_to_service`].
pub fn tcp_by_proxy(
    from: &Netns,
    to: SocketAddr,
    proxy: &Server<'_>,
    count: u64,
) -> Result<Served> {
    let listener = listen(proxy)?;
    setsockopt(&listener, IpTransparent, &true)?;
    tcp_by(&[listener], from, to, count)
}

fn listen((netns, address): &Server<'_>) -> Result<TcpListener> {
    let listener = netns.bind(address, || TcpListener::bind(address))?;
    setsockopt(&listener, ReceiveTimeout, &TimeVal::milliseconds(TICK))?;
    Ok(listener)
}

fn tcp_by(listeners: &[TcpListener], from: &Netns, to: SocketAddr, count: u64) -> Result<Served> {
    let serve = |listener: &TcpListener, answered: &AtomicU64, ended: &AtomicBool| {
        while !ended.load(Ordering::Relaxed) {
            if let Ok((stream, _)) = listener.accept()
                && answer(stream).is_ok()
            {
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let client = || (0..count).filter(|_| ask(to).is_ok()).count() as u64;
    Ok(served(listeners, serve, count, || from.enter(client)))
}

/// As [`udp_to_service`], to an address that `servers` serve.
///
/// # Errors
/// As [`udp_to_service`].
pub fn udp_to(from: &Netns, to: SocketAddr, servers: &[Server<'_>], count: u64) -> Result<Served> {
    let listen = |(netns, address): &Server<'_>| -> Result<UdpSocket> {
        let socket = netns.bind(address, || UdpSocket::bind(address))?;
        socket.set_read_timeout(Some(udp::TICK))?;
        Ok(socket)
    };
    let sockets: Vec<UdpSocket> = servers.iter().map(listen).collect::<Result<_>>()?;
    let serve = |socket: &UdpSocket, answered: &AtomicU64, ended: &AtomicBool| {
        let mut datagram = [0; 2048];
        while !ended.load(Ordering::Relaxed) {
            if let Ok((len, client)) = socket.recv_from(&mut datagram)
                && socket.send_to(&datagram[..len], client).is_ok()
            {
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let any = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    // All sockets stay open until the end, so that each has a different port.
    let mut clients = Vec::new();
    let mut exchange = |number: u64| -> Result<bool> {
        clients.push(UdpSocket::bind(any)?);
        let client = &clients[clients.len() - 1];
        client.connect(to)?;
        client.set_read_timeout(Some(PATIENCE))?;
        let question = numbered(number, 64);
        Ok(client.send(&question).is_ok() && is_answered(client, &question))
    };
    let client = || {
        let answered = (0..count).filter(|number| exchange(*number).is_ok_and(|yes| yes));
        answered.count() as u64
    };
    Ok(served(&sockets, serve, count, || from.enter(client)))
}

/// Runs `client` while each of `sockets` serves.
fn served<S: Sync>(
    sockets: &[S],
    serve: impl Fn(&S, &AtomicU64, &AtomicBool) + Sync,
    begun: u64,
    client: impl FnOnce() -> u64,
) -> Served {
    let counts: Vec<AtomicU64> = sockets.iter().map(|_| AtomicU64::new(0)).collect();
    let (ended, serve) = (AtomicBool::new(false), &serve);
    let answered = thread::scope(|scope| {
        for (socket, count) in sockets.iter().zip(&counts) {
            let ended = &ended;
            scope.spawn(move || serve(socket, count, ended));
        }
        let answered = client();
        ended.store(true, Ordering::Relaxed);
        answered
    });
    Served {
        begun,
        answered,
        by_endpoint: counts.into_iter().map(AtomicU64::into_inner).collect(),
    }
}
