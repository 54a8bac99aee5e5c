//! Facts that an agent reads after a drop, and that may explain it: routes, neighbour entries,
//! rules, the state of the interface.
//!
//! A drop reason says which part of the kernel dropped the packet. The state of that part may
//! change with the next command of an administrator, so it is read at once. Facts are no
//! conclusions, because they are read some milliseconds after the drop. Nothing is changed: no
//! module is loaded, no neighbour is asked.
//!
//! Invariant 1 (ARCHITECTURE.md): passive. Request only what exists already, because a request
//! may create a table or load a module.

mod chains;
mod hooks;
mod legacy;
mod look;
mod sockets;
mod topic;

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use look::Look;
use topic::Topic;
use tracer_core::model::{Fact, Freed, Mac, SocketProto, Transport};

use super::visit::Visitor;

/// How long facts stay valid.
const FRESH: Duration = Duration::from_secs(1);

/// Limit of different drops that are examined in that time, so that a scan of all ports and
/// addresses does not hold up the agent.
const PER_TIME: usize = 100;

/// Reads facts in the network namespaces of a node when packets are dropped there. It belongs
/// to the thread that created it, which must be in the node's host namespace and stays there.
pub(super) struct Explainer {
    visitor: Visitor,
    known: HashMap<Subject, Arc<[Fact]>>,
    since: Instant,
}

/// The properties of a dropped packet that decide which facts are read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Subject {
    netns: Arc<str>,
    topics: &'static [Topic],
    device: Option<Arc<str>>,
    /// Destination MAC address of the frame.
    mac: Option<Mac>,
    /// Whether a function of nftables dropped the packet.
    in_nftables: bool,
    packet: Option<Ends>,
}

/// The packet's ends as the place of the drop saw them: for a packet in a tunnel, the tunnel's
/// own addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Ends {
    src: IpAddr,
    dst: IpAddr,
    /// Protocol and port of the destination socket.
    listener: Option<(SocketProto, u16)>,
    /// Length of the packet, bytes, if its size matters.
    len: Option<u32>,
    /// Whether the addresses are a tunnel's.
    is_tunnel: bool,
}

impl Explainer {
    /// Creates an explainer for drops in the calling thread's namespace, `host`, and in others
    /// by name and path.
    ///
    /// # Errors
    /// If the thread's own namespace cannot be found.
    pub(super) fn new(
        namespaces: impl IntoIterator<Item = (Arc<str>, PathBuf)>,
    ) -> io::Result<Self> {
        Ok(Self {
            visitor: Visitor::new(Arc::from("host"), namespaces)?,
            known: HashMap::new(),
            since: Instant::now(),
        })
    }

    /// Replaces the other namespaces, by name and path.
    pub(super) fn replace(&mut self, namespaces: impl IntoIterator<Item = (Arc<str>, PathBuf)>) {
        self.visitor.replace(namespaces);
        // Facts from a namespace that had the same name are invalid.
        self.known.clear();
    }

    /// Facts that may explain a drop which has just happened; empty without any fact, or
    /// without time to read them.
    pub(super) fn explain(&mut self, freed: &Freed) -> Arc<[Fact]> {
        let Some(subject) = Subject::of(freed) else {
            return Arc::default();
        };
        if self.since.elapsed() >= FRESH {
            self.known.clear();
            self.since = Instant::now();
        }
        if let Some(facts) = self.known.get(&subject) {
            return Arc::clone(facts);
        }
        if self.known.len() >= PER_TIME {
            return Arc::default();
        }
        let read = || Look::at(&subject).read();
        let facts = self.visitor.visit(&subject.netns, read).unwrap_or_default();
        let facts: Arc<[Fact]> = facts.into();
        self.known.insert(subject, Arc::clone(&facts));
        facts
    }
}

impl Subject {
    /// The subject of a drop; `None` if there is nothing to read.
    fn of(freed: &Freed) -> Option<Self> {
        let topics = topic::of(&freed.reason, &freed.place.function);
        let never_a_packet = freed.packet.is_none() && freed.protocol == 0;
        if topics.is_empty() || never_a_packet {
            return None;
        }
        let packet = freed.packet.as_ref().map(|packet| {
            let (src, dst) = match freed.encap {
                Some(encap) => (encap.outer_src, encap.outer_dst),
                None => (packet.src, packet.dst),
            };
            Ends {
                src,
                dst,
                listener: match &packet.transport {
                    Transport::Tcp(tcp) => Some((SocketProto::Tcp, tcp.dst_port)),
                    Transport::Udp { dst_port, .. } => Some((SocketProto::Udp, *dst_port)),
                    _ => None,
                }
                .filter(|_| topics.contains(&Topic::Listener) && freed.encap.is_none()),
                len: Some(packet.len)
                    .filter(|_| topics.contains(&Topic::Mtu) && freed.encap.is_none()),
                is_tunnel: freed.encap.is_some(),
            }
        });
        let frame = topics.contains(&Topic::Mac) || topics.contains(&Topic::Forwarding);
        Some(Self {
            netns: Arc::clone(freed.netns.as_ref()?),
            topics,
            device: freed.device.clone(),
            mac: freed.dst_mac.filter(|_| frame),
            in_nftables: freed.place.function.starts_with("nft_"),
            packet,
        })
    }
}
