//! Where a fault is made, and the words that the scripts need.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Mutex;

use anyhow::Result;

use crate::netns::Netns;
use crate::{Lab, LabSpec, Node, Pod};

/// A lab with two pods on each node, one family of addresses, and what must
/// stay open for the fault to last.
#[derive(Debug)]
pub struct Stage {
    /// The lab.
    pub lab: Lab,
    /// Whether the traffic is IPv6.
    pub v6: bool,
    kept: Mutex<Vec<OwnedFd>>,
}

impl Stage {
    pub(super) fn new(nodes: usize, v6: bool, seed: Option<u64>) -> Result<Self> {
        let spec = LabSpec {
            nodes,
            pods_per_node: 2,
            seed,
            ..LabSpec::default()
        };
        Ok(Self {
            lab: Lab::new(&spec)?,
            v6,
            kept: Mutex::default(),
        })
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

    /// A pod's address in this stage's family.
    #[must_use]
    pub fn address(&self, pod: &Pod) -> IpAddr {
        if self.v6 {
            pod.v6.into()
        } else {
            pod.v4.into()
        }
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
        self.pick(&node.pod_cidr_v4, &node.pod_cidr_v6)
    }

    /// The address of a node's VXLAN device: the next hop of others to it.
    pub(super) fn vtep(&self, node: &Node) -> IpAddr {
        self.pick(node.overlay_v4.into(), node.overlay_v6.into())
    }

    /// The next hop from `from` to `to`, as a route says it.
    pub(super) fn next_hop(&self, from: &Node, to: &Node) -> String {
        format!("via {} dev {} onlink", self.vtep(to), from.overlay)
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

    /// The same packets, for nftables where it sees them in VXLAN: by the
    /// inner destination, behind 8 bytes of UDP, 8 of VXLAN and 14 of Ethernet.
    pub(super) fn flow_in_vxlan(&self) -> String {
        let inner = match self.address(self.b()) {
            IpAddr::V4(v4) => format!("@th,368,32 {:#x}", v4.to_bits()),
            IpAddr::V6(v6) => format!("@th,432,128 {:#x}", v6.to_bits()),
        };
        format!("udp dport {} {inner}", self.lab.port)
    }

    /// The same, answers: by the inner source.
    pub(super) fn answers_in_vxlan(&self) -> String {
        let inner = match self.address(self.b()) {
            IpAddr::V4(v4) => format!("@th,336,32 {:#x}", v4.to_bits()),
            IpAddr::V6(v6) => format!("@th,304,128 {:#x}", v6.to_bits()),
        };
        format!("udp dport {} {inner}", self.lab.port)
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
