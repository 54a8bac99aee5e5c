//! A host outside of a lab's cluster, behind the nodes' gateway.
//!
//! The host is the gateway of the nodes' default route. It also has an address of another network,
//! to which no node has a specific route. No agent watches the host. Pods' packets to it leave with
//! their node's address, as with Flannel's `--ip-masq`.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};

use super::{Lab, Node, wiring};
use crate::netns::Netns;

/// A host outside of the cluster.
#[derive(Clone, Debug)]
pub struct Outside {
    /// The host's network namespace.
    pub netns: Netns,
    /// The host's address in another network.
    pub v4: Ipv4Addr,
    /// The host's IPv6 address in another network.
    pub v6: Ipv6Addr,
}

impl Outside {
    /// The host's address of an IP version.
    #[must_use]
    pub fn address(&self, v6: bool) -> IpAddr {
        if v6 { self.v6.into() } else { self.v4.into() }
    }
}

impl Lab {
    /// Puts a host behind the nodes' gateway, makes the nodes masquerade pods' packets to it, and
    /// waits until every node reaches the host.
    ///
    /// # Errors
    /// If the host cannot be made.
    pub fn add_outside(&self) -> Result<Outside> {
        let outside = Outside {
            netns: Netns::named(format!("{}outside", self.claim.prefix())),
            v4: Ipv4Addr::new(203, 0, 113, 9),
            v6: Ipv6Addr::new(0x2001, 0xdb8, 0x99, 0, 0, 0, 0, 9),
        };
        wiring::make_outside(self, &outside)?;
        for node in &self.nodes {
            self.route_out(node)?;
            for v6 in [false, true] {
                if v6 && !self.wiring.carries_v6() {
                    continue;
                }
                self.masquerade(node, v6)?;
                let ping = format!("ping -n -q -c 1 -W 5 {}", outside.address(v6));
                node.netns
                    .run(&ping)
                    .with_context(|| format!("{} does not get out", node.name))?;
            }
        }
        Ok(outside)
    }

    /// Makes a node masquerade packets that leave the pods' network.
    fn masquerade(&self, node: &Node, v6: bool) -> Result<()> {
        let (family, pods) = (if v6 { "ip6" } else { "ip" }, self.cluster_cidr(v6));
        let mut rules = String::new();
        writeln!(
            rules,
            "table {family} flannel {{
                chain postrouting {{
                    type nat hook postrouting priority srcnat;
                    {family} saddr {pods} {family} daddr != {pods} masquerade fully-random;
                }}
            }}"
        )?;
        node.netns.batch("nft -f -", &rules).map(drop)
    }
}
