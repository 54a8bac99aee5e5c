//! How a node is joined to the others: with one cable, with two, or with a device on top of its
//! cable.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};

use super::devices::{is_for_another_kernel, kernel_has};
use super::{Lab, Node};
use crate::process::until;

/// The device of the routes between nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Uplinks {
    /// The uplink.
    #[default]
    One,
    /// Either of two uplinks, by flow (ECMP). Neither uplink has the node's address.
    Two,
    /// A VLAN on the uplink.
    Vlan,
    /// A VXLAN on the uplink: the network of a cloud.
    InVxlan,
    /// A bond of two uplinks. One sends, and the other waits.
    Bond,
    /// A team of two uplinks. One sends, and the other waits.
    Team,
}

impl Uplinks {
    /// Whether this kernel does not support it; see
    /// [`Wiring::is_for_another_kernel`](super::Wiring::is_for_another_kernel).
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn is_for_another_kernel(self) -> Result<bool> {
        let missing = self.missing()?;
        is_for_another_kernel(missing.unwrap_or_default(), missing.is_none())
    }

    /// What this kernel lacks for it.
    pub(super) fn missing(self) -> Result<Option<&'static str>> {
        let (what, device) = match self {
            Self::Vlan => ("VLANs", "link one name probe type vlan id 7"),
            Self::Bond => ("bonds", "name probe type bond"),
            Self::Team => ("teams", "name probe type team"),
            Self::One | Self::Two | Self::InVxlan => return Ok(None),
        };
        Ok((!kernel_has(&format!("link add {device}"))?).then_some(what))
    }

    /// Whether a node has two cables.
    #[must_use]
    pub const fn are_two(self) -> bool {
        matches!(self, Self::Two | Self::Bond | Self::Team)
    }

    /// The size of its headers, in bytes of MTU.
    #[must_use]
    pub(super) const fn overhead(self) -> u32 {
        match self {
            Self::InVxlan => 50,
            Self::One | Self::Two | Self::Vlan | Self::Bond | Self::Team => 0,
        }
    }
}

/// The address of a node's cable, if no cable has the node's address.
fn link_address(node: &Node, cable: u8, v6: bool) -> IpAddr {
    let [.., host] = node.underlay.octets();
    if v6 {
        Ipv6Addr::new(0xfd00, 0xfe, 0, cable.into(), 0, 0, 0, host.into()).into()
    } else {
        Ipv4Addr::new(198, 18, cable, host).into()
    }
}

/// The commands of `ip` that connect a node to the others.
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
    let mut ip = String::new();
    if matches!(lab.uplinks, Uplinks::Bond | Uplinks::Team) {
        // Packets of the waiting uplink, with the MAC address that both have, would make the middle
        // box send to it.
        for port in [uplink, second_uplink] {
            let off = format!("ipv6/conf/{port}/disable_ipv6");
            node.netns.sysctl(&[(&off, "1")])?;
        }
    }
    if way == uplink || !lab.uplinks.are_two() {
        writeln!(ip, "link set dev {uplink} up")?;
    }
    match lab.uplinks {
        Uplinks::One => {}
        Uplinks::Two => {
            writeln!(ip, "link set dev {second_uplink} up")?;
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
        // The members of a bond must be down when they join it.
        Uplinks::Bond => write!(
            ip,
            "link add name {way} mtu {mtu} type bond mode active-backup miimon 100
             link set dev {uplink} master {way}
             link set dev {second_uplink} master {way}
             link set dev {way} type bond primary {uplink}\n"
        )?,
        Uplinks::Team => team(lab, node)?,
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

/// Waits until bonds send by their first uplink, as configured. Packets may be lost while bonds
/// change uplinks.
pub(super) fn settle(lab: &Lab) -> Result<()> {
    if lab.uplinks != Uplinks::Bond {
        return Ok(());
    }
    for Node {
        netns, way, uplink, ..
    } in &lab.nodes
    {
        let active = format!(" active_slave {uplink} ");
        until("the bond sends by its first uplink", || {
            let bond = netns.run(&format!("ip -d link show dev {way}"))?;
            Ok(bond.contains(&active))
        })?;
    }
    Ok(())
}

/// Makes a team of a node's two uplinks, the first of which sends. Without a daemon, this function
/// sets the uplink, the mode, and one MAC address for all three devices.
fn team(lab: &Lab, node: &Node) -> Result<()> {
    let Node {
        netns,
        uplink,
        way,
        second_uplink,
        uplink_mac,
        ..
    } = node;
    let mtu = lab.mtu;
    netns.run(&format!(
        "ip link add name {way} mtu {mtu} address {uplink_mac} type team"
    ))?;
    netns.run(&format!("teamnl {way} setoption mode activebackup"))?;
    let ports = format!(
        "link set dev {second_uplink} address {uplink_mac}
         link set dev {uplink} master {way}
         link set dev {second_uplink} master {way}\n"
    );
    netns.batch("ip -batch -", &ports)?;
    node.send_by(uplink)
}

impl Node {
    /// Makes the node's team send by one of its two uplinks.
    ///
    /// # Errors
    /// If the node has no team.
    pub fn send_by(&self, uplink: &str) -> Result<()> {
        let shown = self.netns.run(&format!("ip -o link show dev {uplink}"))?;
        let (index, _) = shown.split_once(':').context("ip prints no index")?;
        let option = format!("teamnl {} setoption activeport {index}", self.way);
        self.netns.run(&option).map(drop)
    }
}

/// Gives a node with two uplinks its addresses of an IP version, and the routes to the other
/// nodes'.
fn two_ways(lab: &Lab, node: &Node, v6: bool, ip: &mut String) -> Result<()> {
    let (version, bits, link_bits, flag) = if v6 {
        ("ipv6", 128, 64, "nodad")
    } else {
        ("ipv4", 32, 24, "")
    };
    let policy = format!("{version}/fib_multipath_hash_policy");
    node.netns.sysctl(&[(&policy, "1")])?;
    let own = node.address(v6);
    writeln!(ip, "address add {own}/{bits} dev lo {flag}")?;
    for (cable, uplink) in (0..).zip([&node.uplink, &node.second_uplink]) {
        let address = link_address(node, cable, v6);
        writeln!(ip, "address add {address}/{link_bits} dev {uplink} {flag}")?;
    }
    for other in lab.nodes.iter().filter(|other| other.name != node.name) {
        let hops = next_hops(node, other, v6);
        writeln!(ip, "route add {} src {own} {hops}", other.address(v6))?;
    }
    Ok(())
}

/// The next hops to another node, in a route's syntax.
pub(super) fn next_hops(node: &Node, other: &Node, v6: bool) -> String {
    if !node.has_two_ways() {
        return format!("via {} dev {}", other.address(v6), node.way);
    }
    format!(
        "nexthop via {} dev {} nexthop via {} dev {}",
        link_address(other, 0, v6),
        node.uplink,
        link_address(other, 1, v6),
        node.second_uplink
    )
}

/// The fdb entries that make a node's VXLAN uplink know the other nodes.
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
