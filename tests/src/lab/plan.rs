//! The plan of a lab, made before the lab itself. Every name, address and number follows from the
//! seed, so no test depends on one network, and each test can be repeated.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{LabSpec, Names, Node, Pod, Tunnel, Uplinks, Wiring, wiring::tunnel};
use crate::netns::Netns;
use crate::rng::Rng;

/// Everything in a lab that follows from its seed.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) nodes: Vec<Node>,
    pub(super) pods: Vec<Pod>,
    pub(super) middle: Netns,
    pub(super) vni: u32,
    pub(super) vlan: u16,
    pub(super) port: u16,
    pub(super) mtu: u32,
    pub(super) pod_mtu: u32,
}

impl Plan {
    /// `prefix` begins the names of all namespaces and makes them unique.
    pub(super) fn new(spec: &LabSpec, seed: u64, prefix: &str) -> Self {
        let mut rng = Rng::new(seed);
        let mtu = match rng.range(0, 2) {
            0 => 1500,
            1 => rng.range(1400, 1600),
            _ => rng.range(8900, 9000),
        };
        let mtu = spec.mtu.unwrap_or(mtu);
        // Linux's default, IANA's, or a port that nobody guesses. The last is below the range of
        // ephemeral ports, so no socket gets it by chance.
        let ports = [8472, 4789, rng.range(10_000, 30_000)];
        let port = ports[rng.range(0, 2) as usize];
        let nodes = nodes(spec, &mut rng, prefix);
        let pods = pods(spec, &mut rng, prefix, &nodes);
        let vni = rng.range(1, 0xff_ffff);
        Self {
            nodes,
            pods,
            middle: Netns::named(format!("{prefix}middle")),
            vni,
            vlan: u16::try_from(1 + vni % 4094).expect("VLANs have 12 bits"),
            port: u16::try_from(port).expect("all ports are below 65536"),
            mtu,
            pod_mtu: mtu - spec.wiring.overhead(true) - spec.uplinks.overhead(),
        }
    }
}

fn nodes(spec: &LabSpec, rng: &mut Rng, prefix: &str) -> Vec<Node> {
    let word = rng.pick(&["node", "worker", "host", "metal", "edge"]);
    let count = u8::try_from(spec.nodes).expect("LabSpec::check limits the nodes");
    let underlay = match rng.range(0, 1) {
        0 => [192, 168, rng.byte(0, 255)],
        _ => [172, rng.byte(16, 31), rng.byte(0, 255)],
    };
    let first_host = rng.byte(2, 254 - count);
    let cluster_v4 = rng.byte(0, 255);
    let first_subnet = rng.byte(0, 255 - count);
    let cluster_v6 = [0; 3].map(|_| rng.range(0, 0xffff) as u16);
    (0..count)
        .map(|index| {
            let name = format!("{word}-{}", letters(index));
            let subnet = first_subnet + index;
            let v4 = |host| Ipv4Addr::new(10, cluster_v4, subnet, host);
            let v6 = |host| {
                let [a, b, c] = cluster_v6;
                Ipv6Addr::new(0xfd00 | (a & 0xff), b, c, subnet.into(), 0, 0, 0, host)
            };
            let [bridge, mut overlay, uplink] = interfaces(spec.names, rng);
            if spec.names == Names::Realistic {
                overlay = overlay_name(spec.wiring).to_owned();
            }
            let overlay_of_v6 = match (spec.wiring.separates_v6(), spec.names) {
                (false, _) => overlay.clone(),
                (true, Names::Realistic) => "vxlan-v6.calico".to_owned(),
                (true, Names::Odd) => "docker0".to_owned(),
            };
            let [x, y, z] = underlay;
            let (way, second_uplink) = on_top(spec, &uplink);
            Node {
                netns: Netns::named(format!("{prefix}{name}")),
                underlay: Ipv4Addr::new(x, y, z, first_host + index),
                uplink,
                way,
                second_uplink,
                uplink_mac: rng.mac(),
                bridge,
                bridge_mac: rng.mac(),
                bridge_v4: v4(1),
                bridge_v6: v6(1),
                overlay,
                overlay_of_v6,
                overlay_mac: rng.mac(),
                overlay_v4: v4(0),
                overlay_v6: v6(0),
                pod_cidr_v4: format!("{}/24", v4(0)),
                pod_cidr_v6: format!("{}/64", v6(0)),
                middle_port: format!("to-{name}"),
                name,
            }
        })
        .collect()
}

fn pods(spec: &LabSpec, rng: &mut Rng, prefix: &str, nodes: &[Node]) -> Vec<Pod> {
    let count = u8::try_from(spec.pods_per_node).expect("LabSpec::check limits the pods");
    let mut pods = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let first_host = rng.byte(2, 254 - count);
        for host in (first_host..).take(count.into()) {
            let app = rng.pick(&[
                "web", "cart", "api", "db", "queue", "auth", "search", "mail",
            ]);
            let name = format!("{app}-{}-{}", rng.suffix(9), rng.suffix(5));
            let [a, b, c, _] = node.bridge_v4.octets();
            let [d, e, f, g, ..] = node.bridge_v6.segments();
            let (interface, veth) = match spec.names {
                Names::Realistic => {
                    let number = rng.range(0, !0);
                    let veth = if spec.wiring.has_bridge() {
                        format!("veth{number:08x}")
                    } else {
                        format!("cali{number:011x}")
                    };
                    ("eth0".to_owned(), veth)
                }
                Names::Odd => (
                    rng.pick(&["net1", "flannel.1", "lan", "ens3"]).to_owned(),
                    format!(
                        "{}{:08x}",
                        rng.pick(&["lxc", "cali", "tap", "p"]),
                        rng.range(0, !0)
                    ),
                ),
            };
            pods.push(Pod {
                netns: Netns::named(format!("{prefix}{name}")),
                name,
                namespace: rng
                    .pick(&["default", "shop", "payments", "team-a"])
                    .to_owned(),
                uid: rng.uuid(),
                node: index,
                v4: Ipv4Addr::new(a, b, c, host),
                v6: Ipv6Addr::new(d, e, f, g, 0, 0, 0, 0x1000 + u16::from(host)),
                interface,
                mac: rng.mac(),
                veth,
            });
        }
    }
    pods
}

/// The device on top of an uplink, and the second uplink.
fn on_top(spec: &LabSpec, uplink: &str) -> (String, String) {
    let name = |realistic: &str, odd: &str| match spec.names {
        Names::Realistic => realistic.to_owned(),
        Names::Odd => odd.to_owned(),
    };
    let way = match spec.uplinks {
        Uplinks::One | Uplinks::Two => uplink.to_owned(),
        Uplinks::Vlan => name("eth0.vlan", "cbr0"),
        Uplinks::InVxlan => name("cloud0", "lan.7"),
        Uplinks::Bond => name("bond0", "eth7"),
        Uplinks::Team => name("team0", "eth7"),
    };
    let second = if spec.uplinks.are_two() {
        name("eth1", "ens9")
    } else {
        String::new()
    };
    (way, second)
}

/// The usual name of a tunnel device.
fn overlay_name(wiring: Wiring) -> &'static str {
    match (wiring.tunnel(), wiring.has_bridge()) {
        (Some(Tunnel::Vxlan) | None, true) => "flannel.1",
        (Some(Tunnel::Vxlan) | None, false) => "vxlan.calico",
        (Some(Tunnel::IpIp), true) => "flannel.ipip",
        (Some(Tunnel::IpIp), false) => tunnel::IP_IN_IP,
        (Some(Tunnel::Geneve), _) => "genev_sys_6081",
        (Some(Tunnel::Gre), _) => "gre_sys",
        (Some(Tunnel::SixInFour), _) => "sit1",
        (Some(Tunnel::GreFrames), _) => "gretap1",
        (Some(Tunnel::GreInV6), _) => "ip6gre1",
        (Some(Tunnel::IpInV6), _) => "ip6tnl1",
        (Some(Tunnel::WireGuard), _) => "flannel-wg",
        (Some(Tunnel::IpSec), _) => "ipsec1",
    }
}

/// The names of a node's bridge, overlay device and uplink.
fn interfaces(names: Names, rng: &mut Rng) -> [String; 3] {
    match names {
        Names::Realistic => ["cni0", "flannel.1", "eth0"].map(str::to_owned),
        // These names mean something else elsewhere, and no two are the same.
        Names::Odd => [
            rng.pick(&["br-lan", "vxlan0", "eth1", "virbr7", "flannel.9"])
                .to_owned(),
            rng.pick(&["cni1", "br0", "tun-mesh", "vx.4096", "wan0"])
                .to_owned(),
            rng.pick(&["enp5s0", "bond9", "cni0", "veth0", "flannel.1"])
                .to_owned(),
        ],
    }
}

/// a, b, … z, ba, bb, …
fn letters(index: u8) -> String {
    let letter = |digit: u8| char::from(b'a' + digit);
    match index / 26 {
        0 => letter(index).to_string(),
        high => [letter(high), letter(index % 26)].iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn plan(wiring: Wiring, names: Names, seed: u64) -> Plan {
        let spec = LabSpec {
            nodes: 40,
            pods_per_node: 5,
            wiring,
            names,
            ..LabSpec::default()
        };
        Plan::new(&spec, seed, "x-")
    }

    #[test]
    fn the_same_seed_gives_the_same_lab() {
        let text = |seed| format!("{:?}", plan(Wiring::Flannel, Names::Odd, seed));
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
    }

    #[test]
    fn nothing_is_called_twice_and_every_name_fits() {
        let kinds = Wiring::ALL.map(|wiring| [(wiring, Names::Realistic), (wiring, Names::Odd)]);
        let kinds = kinds.as_flattened().iter().cycle();
        for (seed, &(wiring, names)) in (0..200).zip(kinds) {
            let plan = plan(wiring, names, seed);
            let mut seen = HashSet::new();
            for node in &plan.nodes {
                let at_home = [&node.bridge, &node.overlay, &node.uplink];
                assert_eq!(
                    at_home.iter().collect::<HashSet<_>>().len(),
                    3,
                    "seed {seed}"
                );
                assert!(at_home.iter().all(|name| name.len() <= 15), "seed {seed}");
                assert!(node.middle_port.len() <= 15, "seed {seed}");
                let own = [
                    &node.name,
                    &node.uplink_mac,
                    &node.bridge_mac,
                    &node.overlay_mac,
                ];
                assert!(
                    own.into_iter().all(|value| seen.insert(value.clone())),
                    "seed {seed}"
                );
                assert!(seen.insert(node.underlay.to_string()), "seed {seed}");
            }
            for pod in &plan.pods {
                assert!(pod.veth.len() <= 15, "seed {seed}");
                let own = [
                    pod.name.clone(),
                    pod.uid.clone(),
                    pod.mac.clone(),
                    pod.veth.clone(),
                ];
                let addresses = [pod.v4.to_string(), pod.v6.to_string()];
                let mut all = own.into_iter().chain(addresses);
                assert!(all.all(|value| seen.insert(value)), "seed {seed}");
            }
        }
    }
}
