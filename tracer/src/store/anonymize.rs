//! A recording that can be given away: addresses, names and MACs replaced,
//! each by the same one everywhere; times, sizes and everything else kept.
//!
//! Replacements are numbered in the order in which originals appear, so nothing
//! of an original is in them. What they mean is kept: an address of the asking
//! side stays one, a group's address a group's, and what is no particular
//! party's (`0.0.0.0`, `fe80::`'s prefix, broadcasts, loopback) stays as it is.
//! Free text is left out: it may quote anything.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::IpNet;

use super::Head;
use crate::{
    journey::{Owner, OwnerKind},
    link::{
        Arp, Batch, Encap, Freed, Health, Hello, Hop, Icmp, Mac, Neighbour, Packet, Pair, Point,
        Quote, Report, Transport,
    },
};

/// Where replaced IPv4 addresses are: of the asking side, of others, groups
/// (RFC 5737 and RFC 1918 have no room for all).
const SOURCES_V4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 0);
const OTHERS_V4: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 0);
const GROUPS_V4: Ipv4Addr = Ipv4Addr::new(239, 0, 0, 0);
/// The same of IPv6.
const SOURCES_V6: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 0);
const OTHERS_V6: Ipv6Addr = Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 0);
const GROUPS_V6: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0);
const LINK_LOCAL_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0);
/// How many bits the networks of replaced addresses have.
const PREFIX_V4: u8 = 16;
const PREFIX_V6: u8 = 64;

/// Numbers originals in the order in which they appear, from 1.
#[derive(Debug)]
struct Numbers<T>(HashMap<T, u32>);

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Eq + Hash> Numbers<T> {
    fn of(&mut self, original: T) -> u32 {
        let next = u32::try_from(self.0.len() + 1).unwrap_or(u32::MAX);
        *self.0.entry(original).or_insert(next)
    }
}

/// Replaces, in one recording.
#[derive(Debug, Default)]
pub(crate) struct Anonymizer {
    sources: Vec<IpNet>,
    addresses: Numbers<IpAddr>,
    macs: Numbers<Mac>,
    nodes: Numbers<String>,
    pods: Numbers<String>,
    interfaces: Numbers<String>,
    boots: Numbers<String>,
}

impl Anonymizer {
    /// What a recording is about. Before all else: it says who asks.
    pub(crate) fn head(&mut self, head: Head) -> Head {
        let Head {
            version,
            recording,
            piece,
            armed,
            last,
            anonymized: _,
            key: _,
            time,
            follow: _,
            warnings: _,
            pairs,
            sources,
            hold,
            open,
            count,
            nodes,
            owners,
        } = head;
        self.sources.clone_from(&sources);
        let owners = owners
            .into_iter()
            .map(|(address, owner)| (self.address(address), self.owner(owner)))
            .collect();
        let nodes = nodes.into_iter().map(|hello| self.hello(hello)).collect();
        let pairs: Vec<Pair> = pairs
            .into_iter()
            .map(|pair| Pair {
                a: self.network(pair.a),
                b: self.network(pair.b),
                ..pair
            })
            .collect();
        let mut replaced: Vec<IpNet> = sources.iter().map(source_network).collect();
        replaced.sort_unstable();
        replaced.dedup();
        let ends = pairs.first().map(|pair| (pair.a, pair.b));
        Head {
            version,
            recording,
            piece,
            armed,
            last,
            anonymized: true,
            // Hashes are replaced: none of them is another's.
            key: 0,
            time,
            follow: ends.map_or_else(String::new, |(a, b)| format!("{a} → {b} (anonymized)")),
            warnings: Vec::new(),
            pairs,
            sources: replaced,
            hold,
            open,
            count,
            nodes,
            owners,
        }
    }

    /// What an agent sent.
    pub(crate) fn batch(&mut self, batch: &Batch) -> Batch {
        let Batch {
            stream,
            hops,
            freed,
            watermark,
            report,
        } = batch.clone();
        Batch {
            stream,
            hops: hops.into_iter().map(|hop| self.hop(hop)).collect(),
            freed: freed.into_iter().map(|freed| self.freed(freed)).collect(),
            watermark,
            report: report.map(|report| self.report(report)),
        }
    }

    fn address(&mut self, address: IpAddr) -> IpAddr {
        let is_source = self.sources.iter().any(|net| net.contains(&address));
        match address {
            IpAddr::V4(v4) if v4.is_unspecified() || v4.is_loopback() || v4.is_broadcast() => {
                address
            }
            IpAddr::V6(v6) if v6.is_unspecified() || v6.is_loopback() => address,
            IpAddr::V4(v4) => {
                let network = match () {
                    () if v4.is_multicast() => GROUPS_V4,
                    () if is_source => SOURCES_V4,
                    () => OTHERS_V4,
                };
                let number = self.addresses.of(address);
                Ipv4Addr::from_bits(network.to_bits() | number).into()
            }
            IpAddr::V6(v6) => {
                let network = match () {
                    () if v6.is_multicast() => GROUPS_V6,
                    () if v6.is_unicast_link_local() => LINK_LOCAL_V6,
                    () if is_source => SOURCES_V6,
                    () => OTHERS_V6,
                };
                let number = self.addresses.of(address);
                Ipv6Addr::from_bits(network.to_bits() | u128::from(number)).into()
            }
        }
    }

    /// A network of one address keeps being one.
    fn network(&mut self, network: IpNet) -> IpNet {
        if network.prefix_len() == network.max_prefix_len() {
            self.address(network.addr()).into()
        } else if self.sources.contains(&network) {
            source_network(&network)
        } else {
            other_network(&network)
        }
    }

    fn mac(&mut self, mac: Mac) -> Mac {
        // Groups and broadcasts are nobody's.
        let [first, ..] = mac.0;
        if first & 1 == 1 || mac == Mac::default() {
            return if mac.0 == [0xff; 6] || mac == Mac::default() {
                mac
            } else {
                let [_, _, a, b, c, d] = self.number_of(mac);
                Mac([0x03, 0, a, b, c, d])
            };
        }
        Mac(self.number_of(mac))
    }

    /// A locally administered address with the MAC's number.
    fn number_of(&mut self, mac: Mac) -> [u8; 6] {
        let [a, b, c, d] = self.macs.of(mac).to_be_bytes();
        [0x02, 0, a, b, c, d]
    }

    fn node(&mut self, name: String) -> String {
        if name.is_empty() {
            return name;
        }
        format!("node-{}", self.nodes.of(name))
    }

    fn pod(&mut self, name: String) -> String {
        format!("namespace/pod-{}", self.pods.of(name))
    }

    /// `host`, or a pod's name.
    fn netns(&mut self, name: &str) -> String {
        if name == "host" {
            name.to_owned()
        } else {
            self.pod(name.to_owned())
        }
    }

    fn interface(&mut self, name: &str) -> String {
        if name == "lo" {
            return name.to_owned();
        }
        format!("if{}", self.interfaces.of(name.to_owned()))
    }

    fn owner(&mut self, owner: Owner) -> Owner {
        let Owner { name, kind, node } = owner;
        Owner {
            name: match kind {
                OwnerKind::Pod => self.pod(name),
                OwnerKind::Node => self.node(name),
            },
            kind,
            node: self.node(node),
        }
    }

    fn hello(&mut self, hello: Hello) -> Hello {
        let Hello {
            node,
            boot_id,
            realtime_offset,
            points,
            streams,
            next_hops,
            local,
            drops,
            notes: _,
        } = hello;
        Hello {
            node: self.node(node),
            boot_id: if boot_id.is_empty() {
                boot_id
            } else {
                format!("boot-{}", self.boots.of(boot_id))
            },
            realtime_offset,
            points: points.into_iter().map(|point| self.point(point)).collect(),
            streams,
            next_hops: next_hops.into_iter().map(|hop| self.address(hop)).collect(),
            local: local.into_iter().map(|own| self.address(own)).collect(),
            drops: drops.map(|pods| {
                pods.iter()
                    .map(|pod| self.shared(pod, Self::netns))
                    .collect()
            }),
            notes: Vec::new(),
        }
    }

    fn point(&mut self, point: Point) -> Point {
        let Point {
            netns,
            interface,
            ifindex,
            direction,
            hook,
            role,
            kind,
            addresses,
            why: _,
            foreign,
        } = point;
        Point {
            netns: self.netns(&netns),
            interface: self.interface(&interface),
            ifindex,
            direction,
            hook,
            role,
            kind,
            addresses: addresses.into_iter().map(|own| self.address(own)).collect(),
            why: String::new(),
            foreign,
        }
    }

    fn shared(&mut self, name: &str, replace: fn(&mut Self, &str) -> String) -> Arc<str> {
        Arc::from(replace(self, name))
    }

    fn report(&mut self, report: Report) -> Report {
        let Report {
            time,
            counters,
            gone,
            sample,
            malformed,
            elsewhere,
            drops,
            health,
        } = report;
        let elsewhere = elsewhere.into_iter().map(|mut other| {
            other.src = self.address(other.src);
            other.dst = self.address(other.dst);
            other
        });
        Report {
            time,
            counters,
            gone,
            sample,
            malformed,
            elsewhere: elsewhere.collect(),
            drops,
            health: health.map(|health| self.health(health)),
        }
    }

    fn health(&mut self, health: Health) -> Health {
        let Health {
            time,
            mut devices,
            mut sockets,
        } = health;
        for device in &mut devices {
            device.interface = self.shared(&device.interface, Self::interface);
        }
        for socket in &mut sockets {
            socket.netns = self.shared(&socket.netns, Self::netns);
        }
        Health {
            time,
            devices,
            sockets,
        }
    }

    fn hop(&mut self, hop: Hop) -> Hop {
        let Hop {
            point,
            time,
            skb,
            generation,
            len,
            segments,
            src_mac,
            dst_mac,
            vlan,
            encap,
            packet,
        } = hop;
        Hop {
            point,
            time,
            skb,
            generation,
            len,
            segments,
            src_mac: src_mac.map(|mac| self.mac(mac)),
            dst_mac: dst_mac.map(|mac| self.mac(mac)),
            vlan,
            encap: encap.map(|encap| self.encap(encap)),
            packet: self.packet(packet),
        }
    }

    fn freed(&mut self, freed: Freed) -> Freed {
        let Freed {
            time,
            skb,
            reason,
            place,
            netns,
            scope,
            device,
            dst_mac,
            protocol,
            encap,
            packet,
            facts: _,
        } = freed;
        Freed {
            time,
            skb,
            reason,
            place,
            netns: netns.map(|netns| self.shared(&netns, Self::netns)),
            scope,
            device: device.map(|device| self.shared(&device, Self::interface)),
            dst_mac: dst_mac.map(|mac| self.mac(mac)),
            protocol,
            encap: encap.map(|encap| self.encap(encap)),
            packet: packet.map(|packet| self.packet(packet)),
            facts: Arc::new([]),
        }
    }

    fn encap(&mut self, encap: Encap) -> Encap {
        Encap {
            outer_src: self.address(encap.outer_src),
            outer_dst: self.address(encap.outer_dst),
            ..encap
        }
    }

    fn packet(&mut self, packet: Packet) -> Packet {
        let transport = match packet.transport {
            Transport::Icmp(icmp) => Transport::Icmp(self.icmp(icmp)),
            Transport::Arp(arp) => Transport::Arp(Arp {
                sender: self.mac(arp.sender),
                target: self.mac(arp.target),
                ..arp
            }),
            other @ (Transport::Tcp(_)
            | Transport::Udp { .. }
            | Transport::Sctp { .. }
            | Transport::Other(_)) => other,
        };
        Packet {
            src: self.address(packet.src),
            dst: self.address(packet.dst),
            transport,
            ..packet
        }
    }

    fn icmp(&mut self, icmp: Icmp) -> Icmp {
        Icmp {
            neighbour: icmp.neighbour.map(|neighbour| Neighbour {
                target: self.address(neighbour.target),
                ..neighbour
            }),
            quote: icmp.quote.map(|quote| Quote {
                src: self.address(quote.src),
                dst: self.address(quote.dst),
                ..quote
            }),
            ..icmp
        }
    }
}

/// The network that addresses of a source are replaced in.
fn source_network(network: &IpNet) -> IpNet {
    replaced(network, SOURCES_V4, SOURCES_V6)
}

fn other_network(network: &IpNet) -> IpNet {
    replaced(network, OTHERS_V4, OTHERS_V6)
}

fn replaced(network: &IpNet, v4: Ipv4Addr, v6: Ipv6Addr) -> IpNet {
    let (address, prefix) = match network {
        IpNet::V4(_) => (IpAddr::from(v4), PREFIX_V4),
        IpNet::V6(_) => (IpAddr::from(v6), PREFIX_V6),
    };
    IpNet::new(address, prefix).expect("the prefixes are those of their families")
}
