//! Places of a capture's packets: the value of `--at`, and names of interfaces that contain the
//! place.

use std::{net::IpAddr, str::FromStr};

use tracer_core::model::{Direction, Mac, Role};

/// Name of a node's host namespace.
pub(crate) const HOST: &str = "host";

/// The value of `--at`: `[WHICH=]PLACE[,pod=POD][,role=ROLE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The value as typed.
    pub text: String,
    /// Packets that the value is for: a file, an interface of it by number or name, or both
    /// joined by `:`. `None`: those of the file at the same position.
    pub which: Option<String>,
    /// Place of these packets.
    pub place: Place,
}

/// The place at which packets were seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the node.
    pub node: String,
    /// `host`, or the pod's name for a pod's own network namespace.
    pub netns: String,
    /// Name of the interface.
    pub interface: String,
    /// Direction of the packets, if it was given.
    pub way: Option<Way>,
    /// Pods behind the interface: names or addresses.
    pub pods: Vec<String>,
    /// Role of the interface, if it was given.
    pub role: Option<Role>,
}

/// Direction of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// All packets have this direction.
    One(Direction),
    /// Packets from this MAC address went out; all others came in.
    Mac(Mac),
}

/// The form of `--at`, for error messages.
const SHAPE: &str = "give NODE/INTERFACE/DIRECTION, such as node-a/eth0/in; DIRECTION is in, out or \
                     the interface's MAC address";
const ROLES: [Role; 5] = [
    Role::Pod,
    Role::Veth,
    Role::Bridge,
    Role::Overlay,
    Role::Uplink,
];

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let (which, place) = match first.rsplit_once('=') {
            Some((which, place)) => (Some(which.to_owned()), place),
            None => (None, first),
        };
        let mut place = Place::named(place).ok_or_else(|| format!("no place; {SHAPE}"))?;
        for option in parts {
            match option.split_once('=') {
                Some(("pod", pod)) if !pod.is_empty() => place.pods.push(pod.to_owned()),
                Some(("role", role)) => {
                    let role = ROLES.into_iter().find(|known| known.name() == role);
                    place.role = Some(role.ok_or(
                        "no role of an interface; give role=pod, veth, bridge, overlay or uplink",
                    )?);
                }
                _ => {
                    return Err(format!(
                        "`{option}` says nothing about a place; give pod=NAMESPACE/NAME, \
                         pod=ADDRESS or role=ROLE"
                    ));
                }
            }
        }
        Ok(Self {
            text: text.to_owned(),
            which,
            place,
        })
    }
}

impl Place {
    /// Parses `NODE/INTERFACE`, `NODE/ADDRESS/INTERFACE` or `NODE/NAMESPACE/POD/INTERFACE`,
    /// each with an optional `/DIRECTION`.
    pub(crate) fn named(text: &str) -> Option<Self> {
        let mut parts: Vec<&str> = text.split('/').collect();
        let way = parts.last().and_then(|last| Way::named(last));
        if way.is_some() {
            parts.pop();
        }
        if parts.iter().any(|part| part.is_empty()) {
            return None;
        }
        let (node, netns, interface) = match *parts {
            [node, interface] => (node, HOST.to_owned(), interface),
            [node, pod, interface] if pod.parse::<IpAddr>().is_ok() => {
                (node, pod.to_owned(), interface)
            }
            [node, namespace, pod, interface] => (node, format!("{namespace}/{pod}"), interface),
            _ => return None,
        };
        Some(Self {
            node: node.to_owned(),
            netns,
            interface: interface.to_owned(),
            way,
            pods: Vec::new(),
            role: None,
        })
    }

    /// The place in an interface's name, as exports write it. A name without a direction does
    /// not count as a place.
    pub(crate) fn of_interface(name: &str) -> Option<Self> {
        Self::named(name).filter(|place| place.way.is_some())
    }

    /// Role of the interface: as given, or as interfaces with such names usually have it.
    pub(crate) fn role(&self) -> Role {
        const BRIDGES: [&str; 6] = ["br", "cbr", "cni", "docker", "kube-bridge", "virbr"];
        const OVERLAYS: [&str; 13] = [
            "cilium_vxlan",
            "cilium_geneve",
            "flannel",
            "gen",
            "gre",
            "ip6tnl",
            "ipip",
            "sit",
            "tun",
            "vxlan",
            "weave",
            "wg",
            "wireguard",
        ];
        const VETHS: [&str; 6] = ["cali", "eni", "lxc", "nk", "tap", "veth"];
        let begins = |names: &[&str]| names.iter().any(|name| self.interface.starts_with(name));
        match self.role {
            Some(role) => role,
            None if self.netns != HOST => Role::Pod,
            None if !self.pods.is_empty() || begins(&VETHS) => Role::Veth,
            None if begins(&OVERLAYS) => Role::Overlay,
            None if begins(&BRIDGES) => Role::Bridge,
            None => Role::Uplink,
        }
    }
}

impl Way {
    fn named(text: &str) -> Option<Self> {
        match text {
            "in" | "ingress" => Some(Self::One(Direction::Ingress)),
            "out" | "egress" => Some(Self::One(Direction::Egress)),
            mac => mac.parse().ok().map(Self::Mac),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> At {
        text.parse().expect("a place")
    }

    #[test]
    fn a_place_has_a_node_an_interface_and_a_direction() {
        let place = at("node-a/eth0/in").place;
        assert_eq!(
            (&*place.node, &*place.netns, &*place.interface),
            ("node-a", "host", "eth0")
        );
        assert_eq!(place.way, Some(Way::One(Direction::Ingress)));
        let place = at("a/eth0/02:00:00:00:00:01").place;
        assert_eq!(place.way, Some(Way::Mac(Mac([2, 0, 0, 0, 0, 1]))));
        let place = at("a/shop/cart/eth0/egress").place;
        assert_eq!((&*place.netns, place.role()), ("shop/cart", Role::Pod));
        assert_eq!(at("a/10.244.1.5/eth0").place.netns, "10.244.1.5");
    }

    #[test]
    fn which_packets_and_what_is_behind_them_may_be_said() {
        let found = at("b.pcap:3=node-a/veth1,pod=shop/cart,pod=fd00::5");
        assert_eq!(found.which.as_deref(), Some("b.pcap:3"));
        assert_eq!(found.place.pods, ["shop/cart", "fd00::5"]);
        assert_eq!(found.place.role(), Role::Veth);
        let found = at("./x=y/a.pcap=node-a/eth0/in,role=bridge");
        assert_eq!(found.which.as_deref(), Some("./x=y/a.pcap"));
        assert_eq!(found.place.role(), Role::Bridge);
    }

    #[test]
    fn names_tell_what_an_interface_usually_is() {
        for (name, role) in [
            ("eth0", Role::Uplink),
            ("ens3", Role::Uplink),
            ("flannel.1", Role::Overlay),
            ("tunl0", Role::Overlay),
            ("vxlan.calico", Role::Overlay),
            ("cni0", Role::Bridge),
            ("veth12ab", Role::Veth),
            ("cali12ab", Role::Veth),
        ] {
            assert_eq!(at(&format!("a/{name}/in")).place.role(), role, "{name}");
        }
    }

    #[test]
    fn only_a_name_with_a_direction_says_where_an_interface_is() {
        assert!(Place::of_interface("node-a/eth0/ingress").is_some());
        assert!(Place::of_interface("node-b/shop/cart/eth0/egress").is_some());
        for name in ["eth0", "node-a/eth0", "node-a/eth0/drop", "any", "/eth0/in"] {
            assert_eq!(Place::of_interface(name), None, "{name}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused_with_what_would_do() {
        for text in [
            "eth0",
            "",
            "a/",
            "a/in",
            "a/02:00:00:00:00:01",
            "a/b/c/d/e/in",
        ] {
            let said = text.parse::<At>().expect_err("no place");
            assert!(said.contains("NODE/INTERFACE/DIRECTION"), "{text}: {said}");
        }
        for text in ["a/eth0/in,x=y", "a/eth0/in,pod=", "a/eth0/in,"] {
            let said = text.parse::<At>().expect_err("no option");
            assert!(said.contains("pod=NAMESPACE/NAME"), "{text}: {said}");
        }
        let said = "a/eth0/in,role=wire".parse::<At>().expect_err("no role");
        assert!(said.contains("role=pod"), "{said}");
    }
}
