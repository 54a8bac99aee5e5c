//! The packets from pod *a* to pod *b* that show a fault: few packets with known ports, so that a
//! test can find and count each of them.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::libc;
use nix::sys::socket::{Backlog, SockaddrStorage, connect, listen, setsockopt, sockopt};

use super::Stage;
use super::endpoints::{end_in_time_wait, never_cut, port_of, tcp};
use super::services::port_for;
use crate::raw::PacketSocket;
use crate::{Pod, frames};

/// The kind of traffic that shows a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Numbered datagrams with DF, from one port to another.
    Datagrams {
        /// The number of datagrams.
        count: usize,
        /// Size of the payload, bytes.
        payload: usize,
        /// TTL or hop limit, if it is not the usual one.
        ttl: Option<i32>,
        /// Source port; 0: any free port.
        from: u16,
        /// The socket at the destination port.
        receiver: Receiver,
    },
    /// SYNs of TCP connections, each from a different port.
    Syns {
        /// The number of SYNs.
        count: usize,
        /// The socket at the destination port.
        listener: Listener,
    },
    /// One connection from before the fault, with data on it afterwards.
    Stream,
    /// SYNs from a port whose last connection has just ended, with timestamps older than the last
    /// connection's.
    OldSyns,
}

/// The socket at the destination port of datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// A socket with room for all datagrams.
    Roomy,
    /// A socket with room for a few datagrams, which nobody reads.
    Full,
    /// No socket.
    Nobody,
}

/// The socket at the destination port of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// A listening socket.
    Ready,
    /// A listening socket on the loopback address only.
    Loopback,
    /// A listening socket whose queue of connections to accept is full.
    Full,
    /// No socket.
    Nobody,
}

impl Traffic {
    /// Ten small datagrams.
    #[must_use]
    pub const fn datagrams() -> Self {
        Self::Datagrams {
            count: 10,
            payload: 100,
            ttl: None,
            from: 0,
            receiver: Receiver::Roomy,
        }
    }

    /// More datagrams than a small ring buffer has room for.
    #[must_use]
    pub const fn flood() -> Self {
        Self::many_datagrams(20_000, 100)
    }

    pub(super) const fn datagrams_from(from: u16) -> Self {
        Self::Datagrams {
            count: 10,
            payload: 100,
            ttl: None,
            from,
            receiver: Receiver::Roomy,
        }
    }

    pub(super) const fn datagrams_with_ttl(ttl: i32) -> Self {
        Self::Datagrams {
            count: 10,
            payload: 100,
            ttl: Some(ttl),
            from: 0,
            receiver: Receiver::Roomy,
        }
    }

    /// Ten datagrams that fit in the smallest MTU of any lab, which is 1350 bytes for pods, and in
    /// no smaller one.
    pub(super) const fn large_datagrams() -> Self {
        Self::Datagrams {
            count: 10,
            payload: 1300,
            ttl: None,
            from: 0,
            receiver: Receiver::Roomy,
        }
    }

    pub(super) const fn many_datagrams(count: usize, payload: usize) -> Self {
        Self::Datagrams {
            count,
            payload,
            ttl: None,
            from: 0,
            receiver: Receiver::Roomy,
        }
    }

    pub(super) const fn datagrams_to(receiver: Receiver, count: usize) -> Self {
        Self::Datagrams {
            count,
            payload: 100,
            ttl: None,
            from: 0,
            receiver,
        }
    }

    /// Five connections to a listening socket.
    pub(super) const fn syns() -> Self {
        Self::syns_to(Listener::Ready)
    }

    pub(super) const fn syns_to(listener: Listener) -> Self {
        Self::Syns { count: 5, listener }
    }

    /// The name of the protocol in tracer.
    #[must_use]
    pub const fn proto(self) -> &'static str {
        match self {
            Self::Datagrams { .. } => "udp",
            Self::Syns { .. } | Self::Stream | Self::OldSyns => "tcp",
        }
    }
}

/// The sent packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The number of packets, without retransmissions.
    pub packets: usize,
}

/// Sequence numbers of [`Traffic::OldSyns`].
const OLD: Range<u64> = 0x1000..0x1005;

/// Sockets of both ends, ready to send.
#[derive(Debug)]
pub struct Sender {
    traffic: Traffic,
    from: Pod,
    source: IpAddr,
    to: SocketAddr,
    gateway_mac: String,
    ends: Ends,
    open: Vec<OwnedFd>,
}

#[derive(Debug)]
enum Ends {
    Udp {
        client: UdpSocket,
        server: Option<UdpSocket>,
    },
    Tcp,
    Stream(TcpStream),
    Old {
        port: u16,
        timestamp: u32,
    },
}

impl Sender {
    /// Prepares traffic from *a* to *b*. A connection from before the fault is made here, so this
    /// call must come before the fault.
    ///
    /// # Errors
    /// If a socket or a connection cannot be made.
    pub fn new(stage: &Stage, traffic: Traffic) -> Result<Self> {
        match stage.service {
            Some(_) => Self::to_service(stage, stage.a(), port_for(traffic), traffic),
            None => Self::between(stage, stage.a(), stage.b(), traffic),
        }
    }

    /// Prepares traffic from a pod to a port of the stage's Service, whose endpoints have the same
    /// port.
    pub(super) fn to_service(
        stage: &Stage,
        from: &Pod,
        port: u16,
        traffic: Traffic,
    ) -> Result<Self> {
        let service = stage.service.as_ref().context("there is a Service")?;
        let mut sender = Self::at(stage, [from, stage.target()], port, traffic)?;
        sender.to.set_ip(service.address(stage.v6));
        Ok(sender)
    }

    /// As [`Sender::new`], between any two pods.
    ///
    /// # Errors
    /// As [`Sender::new`].
    pub fn between(stage: &Stage, from: &Pod, to: &Pod, traffic: Traffic) -> Result<Self> {
        Self::at(stage, [from, to], 0, traffic)
    }

    /// As [`Sender::between`], to a port; 0: any free port.
    fn at(stage: &Stage, [from, to]: [&Pod; 2], port: u16, traffic: Traffic) -> Result<Self> {
        let (source, target) = (stage.address(from), stage.address(to));
        let mut open = Vec::new();
        let (ends, port) = match traffic {
            Traffic::Datagrams {
                ttl,
                from: own,
                receiver,
                ..
            } => {
                let server = to.netns.bind(target, || UdpSocket::bind((target, port)))?;
                let port = server.local_addr()?.port();
                let server = match receiver {
                    Receiver::Nobody => None,
                    Receiver::Roomy => {
                        setsockopt(&server, sockopt::RcvBufForce, &(8 << 20))?;
                        Some(server)
                    }
                    Receiver::Full => {
                        setsockopt(&server, sockopt::RcvBuf, &4096)?;
                        Some(server)
                    }
                };
                let client = from.netns.bind(source, || UdpSocket::bind((source, own)))?;
                never_cut(&client, source)?;
                if let Some(ttl) = ttl {
                    match source {
                        IpAddr::V4(_) => setsockopt(&client, sockopt::Ipv4Ttl, &ttl)?,
                        IpAddr::V6(_) => setsockopt(&client, sockopt::Ipv6Ttl, &ttl)?,
                    }
                }
                (Ends::Udp { client, server }, port)
            }
            Traffic::Syns { listener, .. } => {
                let address = match (listener, target) {
                    (Listener::Loopback, IpAddr::V4(_)) => Ipv4Addr::LOCALHOST.into(),
                    (Listener::Loopback, IpAddr::V6(_)) => Ipv6Addr::LOCALHOST.into(),
                    _ => target,
                };
                let server = to.netns.enter(|| tcp(SocketAddr::new(address, port), 0))?;
                let backlog = if listener == Listener::Full { 1 } else { 128 };
                listen(&server, Backlog::new(backlog)?)?;
                let port = port_of(&server)?;
                let address = SocketAddr::new(target, port);
                match listener {
                    Listener::Ready | Listener::Loopback => open.push(server),
                    Listener::Nobody => drop(server),
                    Listener::Full => {
                        open.push(server);
                        // The pod connects to itself, so no traffic crosses the nodes.
                        for _ in 0..2 {
                            let timeout = Duration::from_secs(2);
                            let filler = to
                                .netns
                                .enter(|| TcpStream::connect_timeout(&address, timeout));
                            open.push(filler?.into());
                        }
                    }
                }
                (Ends::Tcp, port)
            }
            Traffic::Stream => {
                let server = to
                    .netns
                    .bind(target, || TcpListener::bind((target, port)))?;
                let address = server.local_addr()?;
                let client = from.netns.enter(|| TcpStream::connect(address))?;
                let (accepted, _) = server.accept()?;
                open.extend([accepted.into(), server.into()]);
                (Ends::Stream(client), address.port())
            }
            Traffic::OldSyns => {
                let server = to
                    .netns
                    .bind(target, || TcpListener::bind((target, port)))?;
                let address = server.local_addr()?;
                let (port, timestamp) = end_in_time_wait(from, to, &server, address)?;
                open.push(server.into());
                (Ends::Old { port, timestamp }, address.port())
            }
        };
        Ok(Self {
            traffic,
            from: from.clone(),
            source,
            to: SocketAddr::new(target, port),
            gateway_mac: stage.lab.next_mac(from, to).to_owned(),
            ends,
            open,
        })
    }

    /// The destination port, which no other traffic uses.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.to.port()
    }

    /// Sends all packets.
    ///
    /// # Errors
    /// If a socket cannot be made. It is no error if a route or a rule keeps the kernel from
    /// sending: some faults do this.
    pub fn send(&mut self) -> Result<Sent> {
        let packets = match (&mut self.ends, self.traffic) {
            (Ends::Udp { client, .. }, Traffic::Datagrams { count, payload, .. }) => {
                for number in 0..count {
                    let mut datagram = vec![b'.'; payload];
                    datagram[..8].copy_from_slice(&number.to_be_bytes());
                    let _ = client.send_to(&datagram, self.to);
                }
                count
            }
            (Ends::Stream(stream), _) => {
                stream.write_all(&[b'.'; 100])?;
                1
            }
            (Ends::Old { port, timestamp }, _) => {
                let socket = PacketSocket::open(&self.from.netns, &self.from.interface)?;
                for seq in OLD {
                    let ends = [SocketAddr::new(self.source, *port), self.to];
                    let frame = frames::syn(ends, u32::try_from(seq)?, *timestamp);
                    socket.send(&frames::between(&self.from.mac, &self.gateway_mac, &frame))?;
                }
                OLD.count()
            }
            (_, Traffic::Syns { count, .. }) => {
                for _ in 0..count {
                    let client = self
                        .from
                        .netns
                        .enter(|| tcp(SocketAddr::new(self.source, 0), libc::SOCK_NONBLOCK))?;
                    // The connection is in progress, or a route or a rule refuses it.
                    let _ = connect(client.as_raw_fd(), &SockaddrStorage::from(self.to));
                    self.open.push(client);
                }
                count
            }
            (Ends::Tcp | Ends::Udp { .. }, _) => unreachable!("made for another traffic"),
        };
        Ok(Sent { packets })
    }

    /// Whether a TCP packet to the port belongs to this traffic, by its flags, sequence number and
    /// payload size. An earlier connection had packets to the port, too.
    #[must_use]
    pub fn sends(&self, flags: &str, seq: u64, payload: u64) -> bool {
        match self.traffic {
            Traffic::Stream => payload != 0,
            Traffic::OldSyns => flags == "SYN" && OLD.contains(&seq),
            Traffic::Datagrams { .. } | Traffic::Syns { .. } => flags == "SYN",
        }
    }

    /// The number of datagrams that reached the receiver's buffer since the last call, and were not
    /// read.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn arrived(&self) -> Result<usize> {
        let Ends::Udp {
            server: Some(server),
            ..
        } = &self.ends
        else {
            return Ok(0);
        };
        server.set_nonblocking(true)?;
        let mut datagram = [0; 2048];
        let mut arrived = 0;
        while server.recv(&mut datagram).is_ok() {
            arrived += 1;
        }
        Ok(arrived)
    }
}
