//! Where a fault is made, and the words that the scripts need.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Mutex;

use anyhow::Result;

use crate::netns::Netns;
use crate::{Lab, LabSpec, Node, Pod, Service, Tunnel, Wiring};

/// In the IP header.
pub(super) const UDP: u8 = 17;

/// A lab with two pods on each node, one family of addresses, and what must
/// stay open for the fault to last.
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

    /// The same on a lab that is there already, with two nodes and two pods on each.
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

    /// The pod that is sent to.
    #[must_use]
    pub fn b(&self) -> &Pod {
        &self.lab.pods[2]
    }

    /// The other pod on the receiver's node.
    #[must_use]
    pub fn b2(&self) -> &Pod {
        &self.lab.pods[3]
    }

    /// The pod that is to get the traffic: the Service's endpoint, or *b*.
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

    /// Either of two, by the family.
    pub(super) fn pick<T>(&self, v4: T, v6: T) -> T {
        if self.v6 { v6 } else { v4 }
    }

    /// A pod's address as a route of its own: `10.0.0.7/32`.
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

    /// A node's address that packets for its pods are sent to on the wire: in a
    /// tunnel's packets, or the next hop.
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

    /// The next hop from the near node to the far one, as a route says it.
    pub(super) fn next_hop(&self) -> String {
        self.lab.next_hop(self.near(), self.far(), self.v6)
    }

    /// The interface that a node's routes to a pod lead out of.
    pub(super) fn towards<'a>(&'a self, pod: &'a Pod) -> &'a str {
        if self.lab.wiring.has_bridge() {
            &self.lab.node_of(pod).bridge
        } else {
            &pod.veth
        }
    }

    /// The interface by which a node gets what another node's pods send.
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

    /// What nftables calls this family.
    pub(super) fn family(&self) -> &'static str {
        self.pick("ip", "ip6")
    }

    /// The packets from *a* to *b*, for nftables where it sees them bare.
    pub(super) fn flow(&self) -> String {
        let (family, a, b) = (
            self.family(),
            self.address(self.a()),
            self.address(self.b()),
        );
        format!("{family} saddr {a} {family} daddr {b}")
    }

    /// The same packets on the wire, for nftables: in a tunnel's packets by their
    /// inner destination.
    pub(super) fn flow_on_the_wire(&self) -> String {
        match self.outer_headers() {
            Some(outer) => outer + &self.address_at(self.pick(16, 24)),
            None => self.flow(),
        }
    }

    /// The same, answers: by the inner source.
    pub(super) fn answers_on_the_wire(&self) -> String {
        match self.outer_headers() {
            Some(outer) => outer + &self.address_at(self.pick(12, 8)),
            None => {
                let (family, b) = (self.family(), self.address(self.b()));
                format!("{family} saddr {b}")
            }
        }
    }

    /// What nftables must find in a tunnel's packets before it looks at the
    /// addresses in them, if there is a tunnel.
    fn outer_headers(&self) -> Option<String> {
        let tunnel = self.tunnel()?;
        Some(match self.outer_proto(tunnel) {
            UDP => format!("udp dport {} ", self.lab.port),
            proto => format!("meta l4proto {proto} "),
        })
    }

    /// The protocol of the packets of a tunnel that can be looked into, by its number
    /// in the IP header.
    pub(super) fn outer_proto(&self, tunnel: Tunnel) -> u8 {
        match tunnel {
            Tunnel::Vxlan | Tunnel::Geneve => UDP,
            Tunnel::IpIp | Tunnel::SixInFour | Tunnel::IpInV6 => self.pick(4, 41),
            Tunnel::Gre | Tunnel::GreFrames | Tunnel::GreInV6 => 47,
            Tunnel::WireGuard | Tunnel::IpSec => unreachable!("nobody can look into its packets"),
        }
    }

    /// Pod *b*'s address so many bytes behind the beginning of the inner IP
    /// header, as nftables says it: from the outer transport header on.
    fn address_at(&self, byte: usize) -> String {
        let before = match self.tunnel() {
            // UDP's header, theirs, and an Ethernet header.
            Some(Tunnel::Vxlan | Tunnel::Geneve) => 8 + 8 + 14,
            // With a key.
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

    /// Keeps something open until the stage goes.
    pub(super) fn keep(&self, fd: impl Into<OwnedFd>) {
        self.kept
            .lock()
            .expect("nobody panics holding it")
            .push(fd.into());
    }

    /// Closes what was kept.
    pub(super) fn release(&self) {
        self.kept.lock().expect("nobody panics holding it").clear();
    }
}
