//! kube-proxy's mode IPVS. Each Service's address is at an interface of the node, so that packets to
//! it are this node's own. The kernel's load balancer takes them there and sends them on to an
//! endpoint. Rules of netfilter only masquerade.
//!
//! Services here have cluster IPs and nothing else: no node ports, no external addresses, and no
//! policy.

use std::fmt::Write as _;

use anyhow::Result;

use super::{Lab, MASQUERADE, Node};

/// kube-proxy's interface with the addresses of all Services.
const DEVICE: &str = "kube-ipvs0";

/// The command that makes IPVS forget all Services. Every network namespace can run it if the kernel has
/// IPVS.
pub(super) const CLEAR: &str = "ipvsadm --clear";

/// Writes all Services of the lab on a node again.
pub(super) fn program(lab: &Lab, node: &Node) -> Result<()> {
    // An answer from a pod of the same node crosses the bridge alone. IPVS translates it only if
    // netfilter sees bridged packets, as kubeadm has nodes do.
    node.netns.run("modprobe br_netfilter")?;
    // kube-proxy asks for entries of connection tracking, which loads this module.
    node.netns.run("modprobe nf_conntrack_netlink")?;
    node.netns.run(CLEAR)?;
    // IPVS enters its translations in connection tracking, as kube-proxy has it do.
    node.netns.sysctl(&[("ipv4/vs/conntrack", "1")])?;
    if node
        .netns
        .run(&format!("ip link show dev {DEVICE}"))
        .is_err()
    {
        node.netns
            .run(&format!("ip link add {DEVICE} type dummy"))?;
        node.netns.run(&format!("ip link set {DEVICE} up"))?;
    }
    let (mut addresses, mut services, mut rules) = (String::new(), String::new(), String::new());
    for v6 in lab.families() {
        let (family, host) = if v6 { ("ip6", 128) } else { ("ip", 32) };
        let cluster = lab.cluster_cidr(v6);
        let (mut marked, mut masqueraded) = (String::new(), String::new());
        for service in lab.services.iter().filter(|service| !service.is_headless) {
            let address = service.address(v6);
            let nodad = if v6 { " nodad" } else { "" };
            writeln!(
                addresses,
                "address replace {address}/{host} dev {DEVICE}{nodad}"
            )?;
            for (index, port) in service.ports.iter().enumerate() {
                let at = service.at(v6, index);
                let kind = if port.proto == "udp" { "-u" } else { "-t" };
                writeln!(services, "-A {kind} {at} -s rr")?;
                writeln!(
                    marked,
                    "{family} saddr != {cluster} {family} daddr {address} {} dport {} meta mark set mark or {MASQUERADE}",
                    port.proto, port.port
                )?;
                for endpoint in lab.led_to(service, node, v6, false) {
                    let to = std::net::SocketAddr::new(endpoint, port.target);
                    writeln!(services, "-a {kind} {at} -r {to} -m -w 1")?;
                    // A pod may be its own endpoint.
                    writeln!(
                        masqueraded,
                        "{family} saddr {endpoint} {family} daddr {endpoint} {} dport {} masquerade fully-random",
                        port.proto, port.target
                    )?;
                }
            }
        }
        write!(
            rules,
            "table {family} kube-proxy {{}}
delete table {family} kube-proxy
table {family} kube-proxy {{
chain services {{ type filter hook prerouting priority dstnat;
{marked}}}
chain postrouting {{ type nat hook postrouting priority srcnat;
mark and {MASQUERADE} == {MASQUERADE} masquerade fully-random
{masqueraded}}}
}}\n"
        )?;
    }
    node.netns.batch("ip -batch -", &addresses)?;
    node.netns.batch("ipvsadm --restore", &services)?;
    node.netns.batch("nft -f -", &rules).map(drop)
}
