//! How a node is joined to the others: with one cable, with two, or with
//! something on top of its cable.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use super::devices::{is_for_another_kernel, kernel_has};
use super::{Lab, Node};

/// What the routes between nodes lead out of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Uplinks {
    /// The uplink.
    #[default]
    One,
    /// Either of two uplinks, by flow (ECMP): the node's address is on none of
    /// them.
    Two,
    /// A VLAN on the uplink.
    Vlan,
    /// A VXLAN on the uplink: the network of a cloud.
    InVxlan,
}

impl Uplinks {
    /// Whether this kernel cannot have it; see
    /// [`Wiring::is_for_another_kernel`](super::Wiring::is_for_another_kernel).
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn is_for_another_kernel(self) -> Result<bool> {
        is_for_another_kernel("VLANs", self.is_possible()?)
    }

    pub(super) fn is_possible(self) -> Result<bool> {
        match self {
            Self::Vlan => kernel_has("link add link one name probe type vlan id 7"),
            Self::One | Self::Two | Self::InVxlan => Ok(true),
        }
    }

    /// What its headers cost, in bytes of MTU.
    #[must_use]
    pub(super) const fn overhead(self) -> u32 {
        match self {
            Self::InVxlan => 50,
            Self::One | Self::Two | Self::Vlan => 0,
        }
    }
}

/// The address of a node's cable, where that of the node is on none.
fn link_address(node: &Node, cable: u8, v6: bool) -> IpAddr {
    let [.., host] = node.underlay.octets();
    if v6 {
        Ipv6Addr::new(0xfd00, 0xfe, 0, cable.into(), 0, 0, 0, host.into()).into()
    } else {
        Ipv4Addr::new(198, 18, cable, host).into()
    }
}

/// The commands of `ip` that give a node its place among the others.
pub(super) fn set_up(lab: &Lab, node: &Node) -> Result<String> {
    let Node {
        underlay,
        uplink,
        way,
        second_uplink,
        ..
    } = node;
    let mtu = lab.mtu;
    let underlay_v6 = node.underlay_v6();
    let has_v6 = lab.wiring.carries_v6();
    let mut ip = format!("link set dev {uplink} mtu {mtu} up\n");
    match lab.uplinks {
        Uplinks::One => {}
        Uplinks::Two => {
            writeln!(ip, "link set dev {second_uplink} mtu {mtu} up")?;
            two_ways(lab, node, false, &mut ip)?;
            if has_v6 {
                two_ways(lab, node, true, &mut ip)?;
            }
            return Ok(ip);
        }
        Uplinks::Vlan => writeln!(
            ip,
            "link add link {uplink} name {way} type vlan id {}",
            lab.vlan
        )?,
        Uplinks::InVxlan => writeln!(
            ip,
            "address add {local}/24 dev {uplink}
             link add name {way} mtu {} type vxlan id {} dstport {} local {local} dev {uplink}",
            mtu - Uplinks::InVxlan.overhead(),
            lab.vni ^ 1,
            lab.port + 1,
            local = link_address(node, 0, false),
        )?,
    }
    writeln!(ip, "address add {underlay}/24 brd + dev {way}")?;
    if has_v6 {
        writeln!(ip, "address add {underlay_v6}/64 dev {way} nodad")?;
    }
    if way != uplink {
        writeln!(ip, "link set dev {way} up")?;
    }
    Ok(ip)
}

/// Gives a node with two uplinks its addresses of an IP version, and the routes to
/// those of the others.
fn two_ways(lab: &Lab, node: &Node, v6: bool, ip: &mut String) -> Result<()> {
    let (version, bits, link_bits, flag) = if v6 {
        ("ipv6", 128, 64, "nodad")
    } else {
        ("ipv4", 32, 24, "")
    };
    let policy = format!("{version}/fib_multipath_hash_policy");
    node.netns.sysctl(&[(&policy, "1")])?;
    let own = underlay(node, v6);
    writeln!(ip, "address add {own}/{bits} dev lo {flag}")?;
    for (cable, uplink) in (0..).zip([&node.uplink, &node.second_uplink]) {
        let address = link_address(node, cable, v6);
        writeln!(ip, "address add {address}/{link_bits} dev {uplink} {flag}")?;
    }
    for other in lab.nodes.iter().filter(|other| other.name != node.name) {
        let hops = next_hops(node, other, v6);
        writeln!(ip, "route add {} src {own} {hops}", underlay(other, v6))?;
    }
    Ok(())
}

/// A node's address among the nodes.
fn underlay(node: &Node, v6: bool) -> IpAddr {
    if v6 {
        node.underlay_v6().into()
    } else {
        node.underlay.into()
    }
}

/// Where packets to another node go, as a route says it.
pub(super) fn next_hops(node: &Node, other: &Node, v6: bool) -> String {
    if node.second_uplink.is_empty() {
        return format!("via {} dev {}", underlay(other, v6), node.way);
    }
    format!(
        "nexthop via {} dev {} nexthop via {} dev {}",
        link_address(other, 0, v6),
        node.uplink,
        link_address(other, 1, v6),
        node.second_uplink
    )
}

/// What a node's VXLAN uplink has to know: that the others are there.
pub(super) fn far_ends(lab: &Lab, node: &Node) -> String {
    if lab.uplinks != Uplinks::InVxlan {
        return String::new();
    }
    let others = lab.nodes.iter().filter(|other| other.name != node.name);
    others
        .map(|other| {
            let (way, end) = (&node.way, link_address(other, 0, false));
            format!("fdb append 00:00:00:00:00:00 dev {way} dst {end}\n")
        })
        .collect()
}
