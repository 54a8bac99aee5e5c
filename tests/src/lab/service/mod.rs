//! Services of a lab: kube-proxy's rules in each node's namespace, and the objects that kube-proxy
//! would have read.
//!
//! The rules have kube-proxy's own structure, in its modes iptables, nftables and IPVS, for both IP
//! versions. A Service's port has a chain, and so has each endpoint, which is chosen at random.
//! Some packets are marked and masqueraded: from outside the pods' network, by a node port, or back
//! to their own source. Packets to a Service without endpoints are rejected. As real nodes do,
//! these nodes have a default route. Its gateway does not exist, because no packet is meant to go
//! there.

mod iptables;
mod ipvs;
mod nftables;
mod objects;

use std::collections::hash_map::DefaultHasher;
use std::fmt::Write as _;
use std::hash::{Hash as _, Hasher as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result};

use super::devices::{is_for_another_kernel, kernel_runs};
use super::{Lab, Node, Pod};
use crate::process;
use crate::rng::Rng;

pub(super) use objects::items;

/// kube-proxy's mark of packets to masquerade.
const MASQUERADE: &str = "0x4000";

/// kube-proxy's mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// `--proxy-mode iptables`, with the variant of iptables that writes to nftables.
    Iptables,
    /// `--proxy-mode nftables`.
    Nftables,
    /// `--proxy-mode ipvs`, of Services with cluster IPs.
    Ipvs,
}

impl Proxy {
    /// Whether this kernel does not have what the mode needs, so that a test must leave it to another
    /// kernel. If so, prints that. Never true where [`MACHINE_VARIABLE`](super::MACHINE_VARIABLE) is
    /// set.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn is_for_another_kernel(self) -> Result<bool> {
        match self {
            Self::Iptables | Self::Nftables => Ok(false),
            Self::Ipvs => is_for_another_kernel("IPVS", kernel_runs(ipvs::CLEAR)?),
        }
    }
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// The port's name.
    pub name: String,
    /// `tcp` or `udp`.
    pub proto: &'static str,
    /// The port's number at the Service's addresses.
    pub port: u16,
    /// The endpoints' port.
    pub target: u16,
    /// The port at all nodes, if it has one.
    pub node_port: Option<u16>,
}

impl ServicePort {
    /// A TCP port without a node port.
    #[must_use]
    pub fn tcp(port: u16, target: u16) -> Self {
        Self {
            name: format!("tcp-{port}"),
            proto: "tcp",
            port,
            target,
            node_port: None,
        }
    }

    /// A UDP port without a node port.
    #[must_use]
    pub fn udp(port: u16, target: u16) -> Self {
        Self {
            name: format!("udp-{port}"),
            proto: "udp",
            ..Self::tcp(port, target)
        }
    }
}

/// A Service of a lab.
#[derive(Clone, Debug)]
pub struct Service {
    /// The Service's name in Kubernetes.
    pub name: String,
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's cluster IP.
    pub v4: Ipv4Addr,
    /// The Service's cluster IP of the other version.
    pub v6: Ipv6Addr,
    /// The Service's ports.
    pub ports: Vec<ServicePort>,
    /// The indices of the Service's endpoints in [`Lab::pods`].
    pub endpoints: Vec<usize>,
    /// The endpoints that are not ready, by their indices. No rule leads to them.
    pub unready: Vec<usize>,
    /// An address in the Service's EndpointSlice and rules that no pod has.
    pub gone: Option<IpAddr>,
    /// The Service's addresses for clients outside, by IP version.
    pub external: Option<External>,
    /// Whether the Service has no virtual address, so that its name stands for its endpoints.
    pub is_headless: bool,
    /// Whether packets from outside stay on the node that gets them, and keep their source:
    /// `externalTrafficPolicy: Local`.
    pub is_local: bool,
    /// Whether pods' packets stay on their node: `internalTrafficPolicy: Local`.
    pub is_local_inside: bool,
    /// Whether a client keeps its endpoint: `sessionAffinity: ClientIP`.
    pub keeps_clients: bool,
    /// Whether all packets to the Service are masqueraded: kube-proxy's `--masquerade-all`.
    pub masquerades_all: bool,
}

/// The addresses of a Service for clients outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct External {
    /// The IPv4 address.
    pub v4: Ipv4Addr,
    /// The IPv6 address.
    pub v6: Ipv6Addr,
    /// Whether a load balancer has the addresses. Otherwise they are `externalIPs`.
    pub of_balancer: bool,
}

impl External {
    /// The address of an IP version.
    #[must_use]
    pub fn address(&self, v6: bool) -> IpAddr {
        if v6 { self.v6.into() } else { self.v4.into() }
    }
}

impl Service {
    /// The Service's virtual address of an IP version.
    #[must_use]
    pub fn address(&self, v6: bool) -> IpAddr {
        if v6 { self.v6.into() } else { self.v4.into() }
    }

    /// The address to which a client of a port connects.
    #[must_use]
    pub fn at(&self, v6: bool, port: usize) -> SocketAddr {
        SocketAddr::new(self.address(v6), self.ports[port].port)
    }

    /// The Service's name as `tracer` takes it: `namespace/name`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl Lab {
    /// Adds a Service with these pods as endpoints, and writes the rules of all Services again on
    /// every node. Its names and addresses follow from the lab's seed.
    ///
    /// # Errors
    /// If a rule cannot be written.
    pub fn add_service(
        &mut self,
        proxy: Proxy,
        ports: Vec<ServicePort>,
        endpoints: &[usize],
    ) -> Result<Service> {
        let index = self.services.len();
        let mut rng = Rng::new(self.seed() ^ (0x5e71_1ce5 + index as u64));
        // The address is outside of the pods' network, whose second byte all nodes share.
        let [_, pods, ..] = self.nodes[0].bridge_v4.octets();
        let host = u8::try_from(index).context("a lab has few Services")? + 10;
        let v4 = Ipv4Addr::new(10, pods.wrapping_add(1), rng.byte(0, 255), host);
        let service = Service {
            name: format!("{}-{}", rng.pick(&["cart", "api", "store"]), rng.suffix(4)),
            namespace: rng.pick(&["default", "shop", "payments"]).to_owned(),
            v4,
            v6: Ipv6Addr::new(0xfdfe, 0, 0, 0, 0, 0, 0, host.into()),
            ports,
            endpoints: endpoints.to_vec(),
            unready: Vec::new(),
            gone: None,
            external: None,
            is_headless: false,
            is_local: false,
            is_local_inside: false,
            keeps_clients: false,
            masquerades_all: false,
        };
        self.services.push(service.clone());
        self.program(proxy)?;
        Ok(service)
    }

    /// Changes a Service, by its index in [`Lab::services`].
    ///
    /// # Errors
    /// If a rule cannot be written.
    pub fn alter_service(
        &mut self,
        proxy: Proxy,
        service: usize,
        alter: impl FnOnce(&mut Service),
    ) -> Result<()> {
        alter(&mut self.services[service]);
        self.program(proxy)
    }

    /// Removes the rules of all Services from a node, as if its kube-proxy had never run.
    ///
    /// # Errors
    /// If the rules cannot be removed.
    pub fn unprogram(&self, node: &Node) -> Result<()> {
        for family in ["ip", "ip6"] {
            let script = format!(
                "table {family} nat {{}}\ndelete table {family} nat\n\
                 table {family} filter {{}}\ndelete table {family} filter\n\
                 table {family} kube-proxy {{}}\ndelete table {family} kube-proxy\n"
            );
            node.netns.batch("nft -f -", &script)?;
        }
        Ok(())
    }

    fn program(&self, proxy: Proxy) -> Result<()> {
        for node in &self.nodes {
            self.route_out(node)?;
            match proxy {
                Proxy::Iptables => {
                    for v6 in self.families() {
                        let program = if v6 { "ip6tables" } else { "iptables" };
                        let line = format!("{program}-nft-restore --wait");
                        node.netns.batch(&line, &iptables::rules(self, node, v6)?)?;
                    }
                }
                Proxy::Nftables => {
                    for v6 in self.families() {
                        let rules = nftables::rules(self, node, v6)?;
                        node.netns.batch("nft -f -", &rules)?;
                    }
                }
                Proxy::Ipvs => ipvs::program(self, node)?,
            }
        }
        Ok(())
    }

    /// Adds a default route. Its gateway exists only with a host outside of the cluster.
    pub(super) fn route_out(&self, node: &Node) -> Result<()> {
        let (gateway, gateway_v6) = node.gateways();
        let mut script = format!(
            "route replace default via {gateway} dev {} onlink\n",
            node.way
        );
        if self.wiring.carries_v6() {
            writeln!(
                script,
                "route replace default via {gateway_v6} dev {} onlink",
                node.way
            )?;
        }
        node.netns.batch("ip -batch -", &script).map(drop)
    }

    /// The pods behind a Service.
    pub fn endpoints_of<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a Pod> {
        service.endpoints.iter().map(|index| &self.pods[*index])
    }

    /// The addresses to which rules on a node lead, of an IP version: the Service's endpoints, or
    /// only those of the node, and the address that no pod has.
    fn led_to(&self, service: &Service, node: &Node, v6: bool, own_only: bool) -> Vec<IpAddr> {
        let pods = self.endpoints_of(service);
        let pods = pods.filter(|pod| !own_only || self.node_of(pod).name == node.name);
        let gone = service.gone.filter(|gone| gone.is_ipv6() == v6);
        pods.map(|pod| pod.address(v6)).chain(gone).collect()
    }

    /// The IP versions of the lab: whether each is IPv6.
    fn families(&self) -> impl Iterator<Item = bool> {
        [false, true]
            .into_iter()
            .filter(|v6| !v6 || self.wiring.carries_v6())
    }

    /// The network of all pods, of an IP version: kube-proxy's `--cluster-cidr`.
    pub(super) fn cluster_cidr(&self, v6: bool) -> String {
        if v6 {
            let [a, b, c, ..] = self.nodes[0].bridge_v6.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        } else {
            let [a, b, ..] = self.nodes[0].bridge_v4.octets();
            format!("{a}.{b}.0.0/16")
        }
    }
}

/// A connection that a node translates, by the tuples of both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translated {
    /// The source and the destination of the first packet, before the translation.
    pub original: [SocketAddr; 2],
    /// The source and the destination of answers, before their translation.
    pub reply: [SocketAddr; 2],
}

/// The connections of a protocol, `tcp` or `udp`, in a node's connection tracking, by the program
/// `conntrack`.
///
/// # Errors
/// If the program cannot be run, or its output cannot be parsed.
pub fn conntrack(node: &Node, proto: &str, v6: bool) -> Result<Vec<Translated>> {
    let family = if v6 { "ipv6" } else { "ipv4" };
    let mut command = node.netns.command("conntrack");
    command.args(["-L", "-f", family, "-p", proto]);
    let text = process::run(&mut command, "")?;
    let lines = text.lines().filter(|line| line.contains("src="));
    lines
        .map(|line| translated(line).with_context(|| format!("conntrack printed: {line}")))
        .collect()
}

/// Parses `tcp 6 117 TIME_WAIT src=10.1.1.5 dst=10.2.0.10 sport=4 dport=80 src=… …`.
fn translated(line: &str) -> Option<Translated> {
    let values = |key: &str| -> Vec<&str> {
        let words = line.split_whitespace();
        words.filter_map(|word| word.strip_prefix(key)).collect()
    };
    let [sources, targets] = [values("src="), values("dst=")];
    let [from, to] = [values("sport="), values("dport=")];
    let way = |index: usize| {
        let end = |addresses: &[&str], ports: &[&str]| {
            let address: IpAddr = addresses.get(index)?.parse().ok()?;
            Some(SocketAddr::new(address, ports.get(index)?.parse().ok()?))
        };
        Some([end(&sources, &from)?, end(&targets, &to)?])
    };
    Some(Translated {
        original: way(0)?,
        reply: way(1)?,
    })
}

/// The 16 characters that kube-proxy makes from a name.
fn hashed(name: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let hash = hasher.finish();
    let letter = |place: u32| char::from(LETTERS[(hash.rotate_left(place * 4) & 31) as usize]);
    (0..16).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_conntrack_prints_is_read() {
        let line = "tcp      6 117 TIME_WAIT src=10.1.1.5 dst=10.2.0.10 sport=40000 dport=80 \
                    src=10.1.2.7 dst=10.1.1.5 sport=8080 dport=40000 [ASSURED] mark=0 use=1";
        let [client, service, server] =
            ["10.1.1.5:40000", "10.2.0.10:80", "10.1.2.7:8080"].map(str::parse);
        let [client, service, server] = [client, service, server].map(|end| end.expect("an end"));
        assert_eq!(
            translated(line),
            Some(Translated {
                original: [client, service],
                reply: [server, client],
            })
        );
        assert_eq!(
            translated("icmp 1 29 src=10.1.1.5 dst=10.2.0.10 type=8"),
            None
        );
    }
}
