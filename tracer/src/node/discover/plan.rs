//! Builds a plan.

use std::net::IpAddr;

use tracer_core::model::{Device, EncapKind, Mac, Tunnel, Way};

use super::{link::Link, route::Hop, table::Host};
use crate::interfaces::{Interface, Plan, PodNamespace, Role};

/// A plan under construction, with its snapshot.
pub(super) struct Draft<'a> {
    pub(super) host: &'a Host,
    /// Whether a pod without an interface is a note, not an error.
    pub(super) lenient: bool,
    plan: Plan,
    /// Numbers of pods for which the node routes, and of pods that are on the wire themselves.
    pods: [usize; 2],
}

impl<'a> Draft<'a> {
    pub(super) fn new(host: &'a Host) -> Self {
        let mut plan = Plan::default();
        for &(_, address) in &host.addresses {
            include(&mut plan.local, address);
        }
        for vxlan in host.links.values().filter_map(|link| link.vxlan.as_ref()) {
            include(&mut plan.vxlan_ports, vxlan.port);
        }
        for port in host.links.values().filter_map(|link| link.geneve_port) {
            include(&mut plan.geneve_ports, port);
        }
        Self {
            host,
            lenient: false,
            plan,
            pods: [0; 2],
        }
    }

    /// Adds an interface; a known one keeps its role and its reason.
    pub(super) fn add(&mut self, role: Role, device: u32, why: String) {
        if self
            .plan
            .interfaces
            .iter()
            .any(|found| found.ifindex == device)
        {
            return;
        }
        let Some(link) = self.host.links.get(&device) else {
            self.note(format!(
                "interface {device} ({why}) appeared or vanished while looking: run again"
            ));
            return;
        };
        if !link.up {
            self.note(format!(
                "{} is down or has no carrier: packets end there",
                link.name
            ));
        }
        self.plan.interfaces.push(Interface {
            ifindex: link.index,
            name: link.name.clone(),
            role,
            link_kind: link.kind.clone(),
            l2: link.ether,
            mac: link.mac,
            mtu: link.mtu,
            up: link.up,
            addresses: self.host.addresses_of(device).collect(),
            pods: Vec::new(),
            vxlan: link.vxlan.clone(),
            master: link.master,
            xdp: link.xdp,
            xdp_hook: None,
            why,
        });
    }

    /// Adds the devices by which an uplink sends: the device below a VLAN, or the devices of a
    /// bond. Packets pass both the uplink and such a device, and only there it is visible which
    /// one of a bond it was.
    pub(super) fn add_below(&mut self, device: u32) {
        let host = self.host;
        let Some(uplink) = host.links.get(&device) else {
            return;
        };
        for link in host.below(uplink) {
            self.add(
                Role::Uplink,
                link.index,
                format!("{} sends out of it", uplink.name),
            );
            // VLANs and bonds may be nested.
            self.add_below(link.index);
        }
    }

    /// Notes that frames for a pod's own MAC address come in at a device of the node.
    pub(super) fn add_mac(&mut self, device: u32, mac: [u8; 6]) {
        let device = Device {
            interface: self.host.name(device),
            mac: Some(Mac(mac)),
            tunnel: None,
            until: None,
        };
        include(&mut self.plan.network.devices, device);
    }

    /// Notes whether the node routes a pod's packets.
    pub(super) fn count_pod(&mut self, routed: bool) {
        self.pods[usize::from(!routed)] += 1;
    }

    /// Whether the node's routes matter. They do not if all of its pods are on the wire
    /// themselves.
    pub(super) fn routes(&self) -> bool {
        self.pods[0] > 0 || self.pods[1] == 0
    }

    /// Notes that a pod is behind an interface.
    pub(super) fn add_pod(&mut self, device: u32, pod: IpAddr) {
        let mut interfaces = self.plan.interfaces.iter_mut();
        if let Some(interface) = interfaces.find(|found| found.ifindex == device) {
            include(&mut interface.pods, pod);
        }
    }

    pub(super) fn add_namespace(&mut self, namespace: PodNamespace) {
        include(&mut self.plan.pod_namespaces, namespace);
    }

    pub(super) fn add_next_hop(&mut self, address: IpAddr) {
        include(&mut self.plan.next_hops, address);
    }

    /// Notes the next hop of packets for an address outside of tunnels.
    pub(super) fn add_way(&mut self, to: IpAddr, hop: &Hop, default: bool) {
        let next = hop.gateway.unwrap_or(to);
        let way = Way {
            to,
            interface: self.host.name(hop.device),
            gateway: hop.gateway,
            mac: self.host.mac_of(hop.device, next).map(Mac),
            default,
        };
        include(&mut self.plan.network.routes, way);
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        include(&mut self.plan.notes, note.into());
    }

    pub(super) fn finish(mut self) -> Plan {
        self.plan
            .interfaces
            .sort_by_key(|interface| (interface.role, interface.ifindex));
        let links = self.host.links.values();
        let faces_nodes = links.filter(|link| self.faces_nodes(link));
        let mut devices: Vec<_> = faces_nodes.map(device).collect();
        for device in std::mem::take(&mut self.plan.network.devices) {
            include(&mut devices, device);
        }
        self.plan.network.devices = devices;
        self.plan
    }

    /// Whether packets of other nodes may arrive at an interface. They do not arrive at the
    /// host-side ends of pods' interfaces, of which there may be thousands. Those have no
    /// address, or one that all have.
    fn faces_nodes(&self, link: &Link) -> bool {
        let mut found = self.plan.interfaces.iter();
        let is_uplink =
            found.any(|found| found.ifindex == link.index && found.role == Role::Uplink);
        let has_address = || {
            let mut own = self.host.addresses_of(link.index);
            own.any(|address| !is_link_local(address))
        };
        let has_place = link.mac.is_some() || link.vxlan.is_some() || link.geneve_port.is_some();
        has_place && (!link.is_pair() || is_uplink || has_address())
    }
}

const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn device(link: &Link) -> Device {
    let vxlan = link.vxlan.as_ref().map(|vxlan| Tunnel {
        kind: EncapKind::Vxlan,
        vni: (vxlan.vni > 0).then_some(vxlan.vni),
        port: vxlan.port,
    });
    let geneve = link.geneve_port.map(|port| Tunnel {
        kind: EncapKind::Geneve,
        vni: link.geneve_vni,
        port,
    });
    Device {
        interface: link.name.clone(),
        mac: link.mac.filter(|mac| *mac != [0; 6]).map(Mac),
        tunnel: vxlan.or(geneve),
        until: None,
    }
}

fn include<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}
