//! A node of made-up tables, on which the tests of the search run.

use std::{collections::HashMap, net::IpAddr, path::PathBuf};

use super::{
    DiscoverError, Remote, Request, Router,
    attributes::Mac,
    link::Link,
    namespaces::{PodLink, Search},
    plan::Draft,
    pod,
    route::{Hop, Route},
    table::{FdbEntry, Host, Neighbour},
    underlay,
};
use crate::interfaces::{Plan, Role, Vxlan};

pub(super) const BRIDGE: u32 = 5;
pub(super) const VETH: u32 = 6;
pub(super) const TUNNEL: u32 = 7;
pub(super) const UPLINK: u32 = 2;
pub(super) const POD_MAC: Mac = [2, 0, 0, 0, 0, 0x11];
pub(super) const VTEP_MAC: Mac = [2, 0, 0, 0, 0, 0x22];

/// A node: its snapshot, and the routes that its kernel would answer.
#[derive(Default)]
pub(super) struct Node {
    pub(super) host: Host,
    pub(super) routes: HashMap<IpAddr, Route>,
    inside: Vec<PodLink>,
}

struct Routes<'a>(&'a HashMap<IpAddr, Route>);

impl Router for Routes<'_> {
    fn route(&mut self, destination: IpAddr) -> Result<Route, DiscoverError> {
        let none = || Route::None("there is no route to it".to_owned());
        Ok(self.0.get(&destination).cloned().unwrap_or_else(none))
    }
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

impl Node {
    /// A node of a Flannel cluster with one pod, 10.1.0.5, and a route to another node's, 10.2.0.0/24.
    pub(super) fn flannel() -> Self {
        let mut node = Self::default();
        node.link(UPLINK, "", None);
        node.link(BRIDGE, "bridge", None);
        node.link(VETH, "veth", Some(BRIDGE));
        node.link(TUNNEL, "vxlan", None).vxlan = Some(Vxlan {
            vni: 1,
            port: 8472,
            local: Some(ip("192.0.2.1")),
        });
        node.host.addresses = vec![
            (UPLINK, ip("192.0.2.1")),
            (BRIDGE, ip("10.1.0.1")),
            (TUNNEL, ip("10.1.0.0")),
        ];
        node.out("10.1.0.5", BRIDGE, None);
        node.neighbour(BRIDGE, "10.1.0.5", POD_MAC);
        node.forward(VETH, Some(BRIDGE), POD_MAC, None);
        node.out("10.2.0.7", TUNNEL, Some("10.2.0.0"));
        node.neighbour(TUNNEL, "10.2.0.0", VTEP_MAC);
        node.forward(TUNNEL, None, VTEP_MAC, Some("192.0.2.2"));
        node.out("192.0.2.2", UPLINK, None);
        node
    }

    /// A node of a Calico cluster with IP-in-IP, with the same addresses: no bridge, and a route to the pod
    /// alone.
    pub(super) fn calico() -> Self {
        let mut node = Self::default();
        node.link(UPLINK, "", None);
        node.link(VETH, "veth", None);
        node.link(TUNNEL, "ipip", None);
        node.host.addresses = vec![
            (UPLINK, ip("192.0.2.1")),
            (TUNNEL, ip("10.1.0.0")),
            (VETH, ip("fe80::ecee:eeff:feee:eeee")),
        ];
        node.route("10.1.0.5", &[(VETH, None)], true);
        node.out("10.2.0.7", TUNNEL, Some("192.0.2.2"));
        node.out("192.0.2.2", UPLINK, None);
        node
    }

    pub(super) fn link(&mut self, index: u32, kind: &str, master: Option<u32>) -> &mut Link {
        let link = Link {
            index,
            name: format!("if{index}"),
            kind: kind.to_owned(),
            ether: ![
                "ipip",
                "sit",
                "ip6tnl",
                "gre",
                "ip6gre",
                "wireguard",
                "xfrm",
            ]
            .contains(&kind),
            up: true,
            master,
            ..Link::default()
        };
        self.host.links.entry(index).insert_entry(link).into_mut()
    }

    pub(super) fn out(&mut self, to: &str, device: u32, gateway: Option<&str>) {
        self.route(to, &[(device, gateway)], false);
    }

    /// A route out of a tunnel, which gives it its remote.
    pub(super) fn through(&mut self, to: &str, device: u32, remote: &str) {
        let hop = Hop {
            device,
            gateway: None,
            remote: Some(ip(remote)),
        };
        let route = Route::Out {
            hops: vec![hop],
            source: None,
            host_route: false,
            default: false,
        };
        self.routes.insert(ip(to), route);
    }

    pub(super) fn route(&mut self, to: &str, hops: &[(u32, Option<&str>)], host_route: bool) {
        let hop = |&(device, gateway): &(u32, Option<&str>)| Hop {
            device,
            gateway: gateway.map(ip),
            remote: None,
        };
        let route = Route::Out {
            hops: hops.iter().map(hop).collect(),
            source: None,
            host_route,
            default: false,
        };
        self.routes.insert(ip(to), route);
    }

    pub(super) fn neighbour(&mut self, device: u32, address: &str, mac: Mac) {
        let address = ip(address);
        let entry = Neighbour {
            device,
            address,
            mac,
        };
        self.host.neighbours.push(entry);
    }

    pub(super) fn forward(
        &mut self,
        device: u32,
        bridge: Option<u32>,
        mac: Mac,
        remote: Option<&str>,
    ) {
        let remote = remote.map(ip);
        let entry = FdbEntry {
            device,
            bridge,
            mac,
            remote,
        };
        self.host.forwarding.push(entry);
    }

    pub(super) fn pod_link(&mut self, pod: &str, kind: &str, lower: u32) {
        self.inside.push(PodLink {
            pod: ip(pod),
            path: PathBuf::from("/run/netns/pod"),
            index: 2,
            name: "eth0".to_owned(),
            kind: kind.to_owned(),
            mac: Some(POD_MAC),
            is_pair: kind == "veth",
            lower,
            routed_below: false,
        });
    }

    pub(super) fn plan(&self, request: &Request) -> Result<Plan, DiscoverError> {
        let mut draft = Draft::new(&self.host);
        let mut routes = Routes(&self.routes);
        pod::locate(&mut draft, &mut routes, request, |sought| {
            let mut found = self.inside.clone();
            found.retain(|link| sought.contains(&link.pod));
            Ok(Search {
                found,
                notes: Vec::new(),
            })
        })?;
        if draft.routes() {
            for remote in &request.remotes {
                underlay::locate(&mut draft, &mut routes, remote, &request.pods)?;
            }
        }
        Ok(draft.finish())
    }

    /// The plan for the usual pod and one remote.
    pub(super) fn towards(&self, remote: &str, node_addresses: &[&str]) -> Plan {
        let request = Request {
            pods: vec![ip("10.1.0.5")],
            remotes: vec![Remote {
                address: ip(remote),
                node_addresses: node_addresses.iter().copied().map(ip).collect(),
            }],
            pod_interfaces: false,
            xdp: None,
            unplaced: Vec::new(),
        };
        self.plan(&request).expect("a plan")
    }
}

pub(super) fn only_pod(pod_interfaces: bool) -> Request {
    Request {
        pods: vec![ip("10.1.0.5")],
        remotes: Vec::new(),
        pod_interfaces,
        xdp: None,
        unplaced: Vec::new(),
    }
}

pub(super) fn found(plan: &Plan) -> Vec<(Role, u32)> {
    let interfaces = plan.interfaces.iter();
    interfaces
        .map(|interface| (interface.role, interface.ifindex))
        .collect()
}

pub(super) const POD_SIDE: [(Role, u32); 2] = [(Role::PodVeth, VETH), (Role::Bridge, BRIDGE)];

pub(super) fn pod_side_and(rest: &[(Role, u32)]) -> Vec<(Role, u32)> {
    [POD_SIDE.as_slice(), rest].concat()
}
