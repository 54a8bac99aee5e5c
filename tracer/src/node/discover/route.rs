//! Routes, as `RTM_GETROUTE` answers them.

use std::net::IpAddr;

use netlink_packet_core::ParseableParametrized as _;
use netlink_packet_route::{
    AddressFamily,
    route::{
        RouteAddress, RouteAttribute, RouteHeader, RouteIp6Tunnel, RouteIpTunnel, RouteLwEnCapType,
        RouteLwTunnelEncap, RouteType, RouteVia,
    },
};

use super::attributes::attributes;

/// The size of `struct rtmsg`, before the attributes.
const HEADER: usize = 12;

/// The route to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Packets leave by one of these hops.
    Out {
        /// At least one hop; the kernel's choice is first.
        hops: Vec<Hop>,
        /// Source address that the kernel would choose.
        source: Option<IpAddr>,
        /// Whether the route is for this address alone.
        host_route: bool,
        /// Whether it is the default route.
        default: bool,
    },
    /// The address belongs to this namespace.
    Local,
    /// There is no route; the text says why.
    None(String),
}

/// A next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) device: u32,
    /// Gateway; `None` if the destination is on the link.
    pub(super) gateway: Option<IpAddr>,
    /// Remote address that the route gives to a tunnel without a fixed one.
    pub(super) remote: Option<IpAddr>,
}

impl Route {
    /// Parses what the kernel would do, and the table entry behind it, if it is known.
    pub(super) fn parse(chosen: &[u8], entry: Option<&[u8]>) -> Self {
        let Ok(header) = RouteHeader::parse(chosen) else {
            return Self::None("the kernel's answer could not be read".to_owned());
        };
        match header.kind {
            RouteType::Unicast => {}
            RouteType::Local => return Self::Local,
            kind => return Self::None(format!("its route is of the kind {kind:?}").to_lowercase()),
        }
        let chosen = parts(chosen, &header);
        let mut hops: Vec<_> = hop(None, &chosen).into_iter().collect();
        let (mut host_route, mut default) = (false, false);
        if let Some(entry) = entry
            && let Ok(header) = RouteHeader::parse(entry)
        {
            let bits = if header.address_family == AddressFamily::Inet {
                32
            } else {
                128
            };
            host_route = header.destination_prefix_length == bits;
            default = header.destination_prefix_length == 0;
            for path in parts(entry, &header).iter().flat_map(|part| match part {
                RouteAttribute::MultiPath(paths) => paths.as_slice(),
                _ => &[],
            }) {
                let path = hop(Some(path.interface_index), &path.attributes);
                let same = |path: &Hop, hop: &Hop| {
                    (path.device, path.gateway) == (hop.device, hop.gateway)
                };
                hops.extend(path.filter(|path| !hops.iter().any(|hop| same(path, hop))));
            }
        }
        if hops.is_empty() {
            return Self::None("its route names no device".to_owned());
        }
        let source = chosen.iter().find_map(|part| match part {
            RouteAttribute::PrefSource(address) => ip(address),
            _ => None,
        });
        Self::Out {
            hops,
            source,
            host_route,
            default,
        }
    }
}

fn parts(message: &[u8], header: &RouteHeader) -> Vec<RouteAttribute> {
    let family = header.address_family;
    let read = |encapsulation| {
        let parse = move |nla: &_| {
            RouteAttribute::parse_with_param(nla, (family, header.kind, encapsulation))
        };
        attributes(message, HEADER, parse)
    };
    // The kind of an encapsulation comes after it.
    let kind = read(RouteLwEnCapType::None).find_map(|part| match part {
        RouteAttribute::EncapType(kind) => Some(kind),
        _ => None,
    });
    read(kind.unwrap_or(RouteLwEnCapType::None)).collect()
}

fn hop(device: Option<u32>, parts: &[RouteAttribute]) -> Option<Hop> {
    let device = device.or_else(|| {
        parts.iter().find_map(|part| match part {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        })
    })?;
    let gateway = parts.iter().find_map(|part| match part {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some((*address).into()),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    });
    let encapsulation = parts.iter().find_map(|part| match part {
        RouteAttribute::Encap(options) => Some(options),
        _ => None,
    });
    let remote = encapsulation
        .into_iter()
        .flatten()
        .find_map(|option| match option {
            RouteLwTunnelEncap::Ip(RouteIpTunnel::Destination(address)) => Some((*address).into()),
            RouteLwTunnelEncap::Ip6(RouteIp6Tunnel::Destination(address)) => {
                Some((*address).into())
            }
            _ => None,
        });
    Some(Hop {
        device,
        gateway,
        remote,
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable as _;
    use netlink_packet_route::route::{RouteMessage, RouteNextHop};

    use super::*;

    fn message(kind: RouteType, prefix: u8, attributes: Vec<RouteAttribute>) -> Vec<u8> {
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.destination_prefix_length = prefix;
        message.header.kind = kind;
        message.attributes = attributes;
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    fn gateway(last: u8) -> RouteAttribute {
        RouteAttribute::Gateway(RouteAddress::Inet([192, 0, 2, last].into()))
    }

    #[test]
    fn every_way_of_a_multipath_route_is_kept_once() {
        let source = RouteAttribute::PrefSource(RouteAddress::Inet([192, 0, 2, 100].into()));
        let chosen = message(
            RouteType::Unicast,
            32,
            vec![RouteAttribute::Oif(3), gateway(2), source],
        );
        let path = |device, last| {
            let mut path = RouteNextHop::default();
            path.interface_index = device;
            path.attributes = vec![gateway(last)];
            path
        };
        let paths = RouteAttribute::MultiPath(vec![path(2, 1), path(3, 2)]);
        let entry = message(RouteType::Unicast, 16, vec![paths]);
        let hop = |device, last| Hop {
            device,
            gateway: Some([192, 0, 2, last].into()),
            remote: None,
        };
        assert_eq!(
            Route::parse(&chosen, Some(&entry)),
            Route::Out {
                hops: vec![hop(3, 2), hop(2, 1)],
                source: Some([192, 0, 2, 100].into()),
                host_route: false,
                default: false,
            }
        );
    }

    #[test]
    fn an_ipv4_route_may_have_an_ipv6_gateway() {
        let via = RouteAttribute::Via(RouteVia::Inet6([0xfe80, 0, 0, 0, 0, 0, 0, 1].into()));
        let parts = vec![RouteAttribute::Oif(3), via];
        let route = Route::parse(&message(RouteType::Unicast, 32, parts), None);
        let Route::Out { hops, .. } = route else {
            panic!("{route:?}")
        };
        assert_eq!(hops[0].gateway, Some([0xfe80, 0, 0, 0, 0, 0, 0, 1].into()));
    }

    #[test]
    fn a_route_may_know_the_remote_of_its_tunnel() {
        let id = RouteLwTunnelEncap::Ip(RouteIpTunnel::Id(7));
        let to = RouteIpTunnel::Destination([192, 0, 2, 9].into());
        let to6 = RouteIp6Tunnel::Destination([0x2001, 0xdb8, 0, 0, 0, 0, 0, 9].into());
        for (kind, to, remote) in [
            (
                RouteLwEnCapType::Ip,
                RouteLwTunnelEncap::Ip(to),
                IpAddr::from([192, 0, 2, 9]),
            ),
            (
                RouteLwEnCapType::Ip6,
                RouteLwTunnelEncap::Ip6(to6),
                IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 9]),
            ),
        ] {
            let parts = vec![
                RouteAttribute::Encap(vec![id.clone(), to]),
                RouteAttribute::EncapType(kind),
                RouteAttribute::Oif(3),
            ];
            let route = Route::parse(&message(RouteType::Unicast, 32, parts), None);
            let Route::Out { hops, .. } = route else {
                panic!("{route:?}")
            };
            let expected = Hop {
                device: 3,
                gateway: None,
                remote: Some(remote),
            };
            assert_eq!(hops, [expected]);
        }
    }

    #[test]
    fn other_kinds_lead_nowhere() {
        let local = message(RouteType::Local, 32, vec![RouteAttribute::Oif(1)]);
        assert_eq!(Route::parse(&local, None), Route::Local);
        let dropped = message(RouteType::BlackHole, 32, vec![RouteAttribute::Oif(1)]);
        assert!(matches!(Route::parse(&dropped, None), Route::None(_)));
        let bare = message(RouteType::Unicast, 32, vec![]);
        assert!(matches!(Route::parse(&bare, None), Route::None(_)));
        assert!(matches!(Route::parse(&[1, 2], None), Route::None(_)));
    }
}
