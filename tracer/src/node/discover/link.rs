//! A network interface, as `RTM_NEWLINK` describes it.

use std::net::IpAddr;

use netlink_packet_core::{NlasIterator, Parseable as _, ParseableParametrized as _};
use netlink_packet_route::link::{
    InfoGeneve, InfoGre, InfoGre6, InfoIpTunnel, InfoIpVlan, InfoKind, InfoVxlan, IpVlanMode,
    LinkAttribute, LinkFlags, LinkHeader, LinkLayerType, LinkXdp,
};

use super::attributes::{Mac, attributes};
use crate::interfaces::Vxlan;

/// The size of `struct ifinfomsg`, before the attributes.
const HEADER: usize = 16;

/// A network interface.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) ether: bool,
    pub(super) mac: Option<Mac>,
    pub(super) mtu: u32,
    pub(super) up: bool,
    pub(super) master: Option<u32>,
    /// Interface index of the veth peer, or of the device below.
    pub(super) lower: Option<u32>,
    /// Id of the namespace of `lower`, as this namespace knows it; `None`: this namespace.
    pub(super) lower_namespace: Option<i32>,
    pub(super) xdp: Option<u32>,
    pub(super) vxlan: Option<Vxlan>,
    /// UDP destination port of a Geneve device.
    pub(super) geneve_port: Option<u16>,
    /// Network identifier (VNI) of a Geneve device; `None` if it is set for each packet.
    pub(super) geneve_vni: Option<u32>,
    /// Fixed remote address of a tunnel.
    pub(super) remote: Option<IpAddr>,
    /// Whether the namespace of the lower device routes the packets of an ipvlan device.
    pub(super) routed_below: bool,
}

impl Link {
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        let header = LinkHeader::parse(message).ok()?;
        let mut link = Self {
            index: header.index,
            ether: header.link_layer_type == LinkLayerType::Ether,
            up: header.flags.contains(LinkFlags::Up | LinkFlags::Running),
            ..Self::default()
        };
        for nla in NlasIterator::new(message.get(HEADER..)?).map_while(Result::ok) {
            if nla.kind() == libc::IFLA_LINKINFO {
                // These options are parsed separately, because one odd option of a kind must
                // not hide the kind.
                link.read_info(nla.value());
            } else if let Ok(attribute) =
                LinkAttribute::parse_with_param(&nla, header.interface_family)
            {
                link.read_attribute(attribute);
            }
        }
        Some(link)
    }

    fn read_attribute(&mut self, attribute: LinkAttribute) {
        match attribute {
            LinkAttribute::IfName(name) => self.name = name,
            LinkAttribute::Address(mac) => self.mac = mac.try_into().ok(),
            LinkAttribute::Mtu(mtu) => self.mtu = mtu,
            LinkAttribute::Controller(index) => self.master = Some(index),
            LinkAttribute::Link(index) => self.lower = Some(index).filter(|&index| index != 0),
            LinkAttribute::LinkNetNsId(id) => self.lower_namespace = Some(id),
            LinkAttribute::Xdp(xdp) => {
                // With programs in several modes, only the ids per mode are set.
                self.xdp = xdp.iter().find_map(|attribute| match attribute {
                    LinkXdp::ProgId(id)
                    | LinkXdp::DrvProgId(id)
                    | LinkXdp::SkbProgId(id)
                    | LinkXdp::HwProgId(id)
                        if *id != 0 =>
                    {
                        Some(*id)
                    }
                    _ => None,
                });
            }
            _ => {}
        }
    }

    fn read_info(&mut self, info: &[u8]) {
        for nla in NlasIterator::new(info).map_while(Result::ok) {
            if let Ok(kind) = InfoKind::parse(&nla) {
                self.kind = kind.to_string();
            } else if nla.kind() == libc::IFLA_INFO_DATA {
                self.read_tunnel(nla.value());
            }
        }
    }

    /// Reads the options of the kind that the message named before.
    fn read_tunnel(&mut self, options: &[u8]) {
        let remote = match self.kind.as_str() {
            "vxlan" => self.read_vxlan(options),
            "geneve" => self.read_geneve(options),
            "ipip" | "sit" | "ip6tnl" => {
                let kind = InfoKind::from(self.kind.as_str());
                let parse = |nla: &_| InfoIpTunnel::parse_with_param(nla, kind.clone());
                attributes(options, 0, parse).find_map(|option| match option {
                    InfoIpTunnel::Remote(address) => Some(address),
                    _ => None,
                })
            }
            "gre" | "gretap" => attributes(options, 0, InfoGre::parse).find_map(|option| {
                let InfoGre::Remote(address) = option else {
                    return None;
                };
                Some(address.into())
            }),
            "ip6gre" | "ip6gretap" => attributes(options, 0, InfoGre6::parse).find_map(|option| {
                let InfoGre6::Remote(address) = option else {
                    return None;
                };
                Some(address.into())
            }),
            "ipvlan" => {
                self.routed_below = attributes(options, 0, InfoIpVlan::parse).any(|option| {
                    let routed = [IpVlanMode::L3, IpVlanMode::L3S];
                    matches!(option, InfoIpVlan::Mode(mode) if routed.contains(&mode))
                });
                None
            }
            _ => None,
        };
        self.remote = remote.filter(|end: &IpAddr| !end.is_unspecified() && !end.is_multicast());
    }

    fn read_vxlan(&mut self, options: &[u8]) -> Option<IpAddr> {
        let mut vxlan = Vxlan {
            vni: 0,
            port: 0,
            local: None,
        };
        let mut remote = None;
        for option in attributes(options, 0, InfoVxlan::parse) {
            match option {
                InfoVxlan::Id(vni) => vxlan.vni = vni,
                InfoVxlan::Port(port) => vxlan.port = port,
                InfoVxlan::Local(address) => vxlan.local = Some(address.into()),
                InfoVxlan::Local6(address) => vxlan.local = Some(address.into()),
                InfoVxlan::Group(address) => remote = Some(address.into()),
                InfoVxlan::Group6(address) => remote = Some(address.into()),
                _ => {}
            }
        }
        self.vxlan = Some(vxlan);
        remote
    }

    fn read_geneve(&mut self, options: &[u8]) -> Option<IpAddr> {
        let mut remote = None;
        for option in attributes(options, 0, InfoGeneve::parse) {
            match option {
                InfoGeneve::Port(port) => self.geneve_port = Some(port),
                InfoGeneve::Id(vni) => self.geneve_vni = Some(vni).filter(|vni| *vni > 0),
                InfoGeneve::Remote(address) => remote = Some(address.into()),
                InfoGeneve::Remote6(address) => remote = Some(address.into()),
                _ => {}
            }
        }
        remote
    }

    /// Whether the device is one end of a pair, whose peer can be in a pod.
    pub(super) fn is_pair(&self) -> bool {
        matches!(self.kind.as_str(), "veth" | "netkit")
    }

    pub(super) fn is_bridge(&self) -> bool {
        self.kind == "bridge"
    }

    /// Whether packets that are sent to the device leave the node inside other packets.
    pub(super) fn is_tunnel(&self) -> bool {
        const KINDS: [&str; 17] = [
            "vxlan",
            "geneve",
            "bareudp",
            "ipip",
            "sit",
            "ip6tnl",
            "gre",
            "gretap",
            "erspan",
            "ip6gre",
            "ip6gretap",
            "ip6erspan",
            "vti",
            "vti6",
            "xfrm",
            "wireguard",
            "tun",
        ];
        KINDS.contains(&self.kind.as_str())
    }

    /// The outer address that a next hop stands for; `None` if it cannot. A 6in4 tunnel takes
    /// the IPv4 address at the end of an IPv6 one (`ipip6_tunnel_xmit` in net/ipv6/sit.c).
    pub(super) fn outer_address(&self, next: IpAddr) -> Option<IpAddr> {
        let outer = match next {
            IpAddr::V6(next) if self.kind == "sit" => next.to_ipv4()?.into(),
            next => next,
        };
        Some(outer).filter(|outer| self.carries_over(*outer))
    }

    /// Whether the tunnel can have this outer address.
    pub(super) fn carries_over(&self, outer: IpAddr) -> bool {
        match self.kind.as_str() {
            "ipip" | "sit" | "gre" | "gretap" | "erspan" | "vti" => outer.is_ipv4(),
            "ip6tnl" | "ip6gre" | "ip6gretap" | "ip6erspan" | "vti6" => outer.is_ipv6(),
            _ => {
                let local = self.vxlan.as_ref().and_then(|vxlan| vxlan.local);
                local.is_none_or(|local| local.is_ipv4() == outer.is_ipv4())
            }
        }
    }
}

#[cfg(test)]
mod tests;
