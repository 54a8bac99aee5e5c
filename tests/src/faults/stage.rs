//! The lab for a fault, and helpers for scripts.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Mutex;

use anyhow::Result;

use crate::netns::Netns;
use crate::{Lab, LabSpec, Node, Pod, Service, Tunnel, Wiring};

/// UDP's number in the IP header.
pub(super) const UDP: u8 = 17;

/// A lab with two pods on each node, one family of addresses, and the descriptors that must stay
/// open during the fault.
#[derive(Debug)]
pub struct Stage {
    /// The lab.
    pub lab: Lab,
    /// Whether the traffic is IPv6.
    pub v6: bool,
    /// The Service that the traffic is sent to, if it is not sent to pod *b* itself.
    pub service: Option<Service>,
    kept: Mutex<Vec<OwnedFd>>,
}

impl Stage {
    pub(super) fn new(wiring: Wiring, nodes: usize, v6: bool) -> Result<Self> {
        let spec = LabSpec {
            nodes,
            pods_per_node: 2,
            wiring,
            ..LabSpec::default()
        };
        Ok(Self::on(Lab::new(&spec)?, v6))
    }

    /// A stage on an existing lab, with two nodes and two pods on each.
    #[must_use]
    pub fn on(lab: Lab, v6: bool) -> Self {
        Self {
            lab,
            v6,
            service: None,
            kept: Mutex::default(),
        }
    }

    /// The node of pod *a*.
    #[must_use]
    pub fn near(&self) -> &Node {
        &self.lab.nodes[0]
    }

    /// The node of pod *b*.
    #[must_use]
    pub fn far(&self) -> &Node {
        &self.lab.nodes[1]
    }

    /// The pod that sends.
    #[must_use]
    pub fn a(&self) -> &Pod {
        &self.lab.pods[0]
    }

    /// The other pod on the sender's node.
    #[must_use]
    pub fn a2(&self) -> &Pod {
        &self.lab.pods[1]
    }

    /// The pod that is the destination.
    #[must_use]
    pub fn b(&self) -> &Pod {
        &self.lab.pods[2]
    }

    /// The other pod on the receiver's node.
    #[must_use]
    pub fn b2(&self) -> &Pod {
        &self.lab.pods[3]
    }

    /// The pod that must get the traffic: the Service's endpoint, or *b*.
    #[must_use]
    pub fn target(&self) -> &Pod {
        let service = self.service.as_ref();
        let endpoint = service.and_then(|service| self.lab.endpoints_of(service).next());
        endpoint.unwrap_or_else(|| self.b())
    }

    /// A pod's address in this stage's family.
    #[must_use]
    pub fn address(&self, pod: &Pod) -> IpAddr {
        pod.address(self.v6)
    }

    /// One of two values, by the family.
    pub(super) fn pick<T>(&self, v4: T, v6: T) -> T {
        if self.v6 { v6 } else { v4 }
    }

    /// A pod's address as a host route: `10.0.0.7/32`.
    pub(super) fn host_route(&self, pod: &Pod) -> String {
        format!("{}/{}", self.address(pod), self.pick(32, 128))
    }

    /// The network of a node's pods.
    pub(super) fn pods_of<'a>(&self, node: &'a Node) -> &'a str {
        node.pod_cidr(self.v6)
    }

    /// A node's tunnel device.
    pub(super) fn overlay<'a>(&self, node: &'a Node) -> &'a str {
        node.tunnel_device(self.v6)
    }

    /// A node's address in packets for its pods on the wire: the outer destination, or the next
    /// hop.
    pub(super) fn outer(&self, node: &Node) -> IpAddr {
        match self.tunnel() {
            Some(_) => node.outer(self.lab.wiring, self.v6),
            None => node.address(self.v6),
        }
    }

    /// The address of a node's VXLAN device: the next hop of others to it.
    pub(super) fn vtep(&self, node: &Node) -> IpAddr {
        node.tunnel_address(self.v6)
    }

    /// The next hop from the near node to the far node, in a route's syntax.
    pub(super) fn next_hop(&self) -> String {
        self.lab.next_hop(self.near(), self.far(), self.v6)
    }

    /// The interface of a node's routes to a pod.
    pub(super) fn towards<'a>(&'a self, pod: &'a Pod) -> &'a str {
        if self.lab.wiring.has_bridge() {
            &self.lab.node_of(pod).bridge
        } else {
            &pod.veth
        }
    }

    /// The interface through which packets of another node's pods come in.
    pub(super) fn inlet<'a>(&self, node: &'a Node) -> &'a str {
        match self.tunnel() {
            Some(_) => self.overlay(node),
            None => &node.uplink,
        }
    }

    pub(super) fn tunnel(&self) -> Option<Tunnel> {
        self.lab.tunnel(self.near(), self.far())
    }

    /// `ip` with this family's flag.
    pub(super) fn ip(&self, netns: &Netns, words: &str) -> Result<()> {
        let flag = self.pick("-4", "-6");
        netns.run(&format!("ip {flag} {words}")).map(drop)
    }

    /// The name of this family in nftables.
    pub(super) fn family(&self) -> &'static str {
        self.pick("ip", "ip6")
    }

    /// An nftables match for the packets from *a* to *b* without a tunnel.
    pub(super) fn flow(&self) -> String {
        let (family, a, b) = (
            self.family(),
            self.address(self.a()),
            self.address(self.b()),
        );
        format!("{family} saddr {a} {family} daddr {b}")
    }

    /// An nftables match for the packets from *a* to *b* on the wire, in a tunnel by their inner
    /// destination.
    pub(super) fn flow_on_the_wire(&self) -> String {
        match self.outer_headers() {
            Some(outer) => outer + &self.address_at(self.pick(16, 24)),
            None => self.flow(),
        }
    }

    /// An nftables match for the answers on the wire, in a tunnel by their inner source.
    pub(super) fn answers_on_the_wire(&self) -> String {
        match self.outer_headers() {
            Some(outer) => outer + &self.address_at(self.pick(12, 8)),
            None => {
                let (family, b) = (self.family(), self.address(self.b()));
                format!("{family} saddr {b}")
            }
        }
    }

    /// The nftables match for a tunnel's outer headers, before a match on the inner addresses.
    /// `None` without a tunnel.
    fn outer_headers(&self) -> Option<String> {
        let tunnel = self.tunnel()?;
        Some(match self.outer_proto(tunnel) {
            UDP => format!("udp dport {} ", self.lab.port),
            proto => format!("meta l4proto {proto} "),
        })
    }

    /// The outer protocol of a tunnel that can be parsed, by its number in the IP header.
    pub(super) fn outer_proto(&self, tunnel: Tunnel) -> u8 {
        match tunnel {
            Tunnel::Vxlan | Tunnel::Geneve => UDP,
            Tunnel::IpIp | Tunnel::SixInFour | Tunnel::IpInV6 => self.pick(4, 41),
            Tunnel::Gre | Tunnel::GreFrames | Tunnel::GreInV6 => 47,
            Tunnel::WireGuard | Tunnel::IpSec => unreachable!("nobody can look into its packets"),
        }
    }

    /// An nftables match on pod *b*'s address, `byte` bytes after the beginning of the inner IP
    /// header. The match counts from the outer transport header.
    fn address_at(&self, byte: usize) -> String {
        let before = match self.tunnel() {
            // UDP's header, the tunnel's own, and an Ethernet header.
            Some(Tunnel::Vxlan | Tunnel::Geneve) => 8 + 8 + 14,
            // A GRE header with a key.
            Some(Tunnel::Gre | Tunnel::GreInV6) => 8,
            Some(Tunnel::GreFrames) => 8 + 14,
            _ => 0,
        };
        let bit = 8 * (before + byte);
        match self.address(self.b()) {
            IpAddr::V4(v4) => format!("@th,{bit},32 {:#x}", v4.to_bits()),
            IpAddr::V6(v6) => format!("@th,{bit},128 {:#x}", v6.to_bits()),
        }
    }

    /// Keeps a descriptor open until the stage is dropped.
    pub(super) fn keep(&self, fd: impl Into<OwnedFd>) {
        self.kept
            .lock()
            .expect("nobody panics holding it")
            .push(fd.into());
    }

    /// Closes the kept descriptors.
    pub(super) fn release(&self) {
        self.kept.lock().expect("nobody panics holding it").clear();
    }
}
