use netlink_packet_core::Emitable as _;
use netlink_packet_route::link::{InfoData, LinkInfo, LinkMessage, XdpAttached};

use super::*;

fn parse(attributes: Vec<LinkAttribute>, layer: LinkLayerType) -> Link {
    let mut message = LinkMessage::default();
    message.header.index = 7;
    message.header.link_layer_type = layer;
    message.header.flags = LinkFlags::Up | LinkFlags::Running;
    message.attributes = attributes;
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    Link::parse(&bytes).expect("a link")
}

fn info(kind: InfoKind, data: InfoData) -> LinkAttribute {
    LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)])
}

#[test]
fn reads_a_vxlan_device() {
    let options = vec![
        InfoVxlan::Id(42),
        InfoVxlan::Port(8472),
        InfoVxlan::Local([192, 0, 2, 1].into()),
        InfoVxlan::Group([239, 0, 0, 1].into()),
    ];
    let link = parse(
        vec![
            LinkAttribute::IfName("odd name".to_owned()),
            LinkAttribute::Mtu(1450),
            LinkAttribute::Address(vec![2; 6]),
            info(InfoKind::Vxlan, InfoData::Vxlan(options)),
            LinkAttribute::Xdp(vec![
                LinkXdp::Attached(XdpAttached::Driver),
                LinkXdp::ProgId(33),
            ]),
        ],
        LinkLayerType::Ether,
    );
    assert_eq!(
        (link.index, link.name.as_str(), link.mtu),
        (7, "odd name", 1450)
    );
    assert!(link.up && link.ether && link.is_tunnel());
    assert_eq!(link.mac, Some([2; 6]));
    assert_eq!(link.xdp, Some(33));
    let local = Some([192, 0, 2, 1].into());
    assert_eq!(
        link.vxlan,
        Some(Vxlan {
            vni: 42,
            port: 8472,
            local
        })
    );
    assert_eq!(link.remote, None, "a multicast group is not a remote");
    assert!(link.carries_over([192, 0, 2, 9].into()));
    assert!(!link.carries_over([0u16; 8].into()));
}

#[test]
fn an_ip_tunnel_has_no_mac_and_one_outer_family() {
    let remote = InfoIpTunnel::Remote([192, 0, 2, 2].into());
    let link = parse(
        vec![
            LinkAttribute::Address(vec![192, 0, 2, 1]),
            info(InfoKind::IpIp, InfoData::IpTunnel(vec![remote])),
        ],
        LinkLayerType::Tunnel,
    );
    assert!(link.is_tunnel() && !link.ether);
    assert_eq!(link.mac, None);
    assert_eq!(link.remote, Some([192, 0, 2, 2].into()));
    assert!(!link.carries_over([0u16; 8].into()));
}

#[test]
fn reads_a_geneve_device() {
    let of = |options| {
        let info = info(InfoKind::Geneve, InfoData::Geneve(options));
        parse(vec![info], LinkLayerType::Ether)
    };
    let fixed = of(vec![
        InfoGeneve::Id(7),
        InfoGeneve::Remote([192, 0, 2, 2].into()),
        InfoGeneve::Port(6081),
    ]);
    assert!(fixed.is_tunnel() && fixed.ether);
    assert_eq!(fixed.remote, Some([192, 0, 2, 2].into()));
    assert_eq!(fixed.geneve_port, Some(6081));

    let any = of(vec![InfoGeneve::Port(7777), InfoGeneve::CollectMetadata]);
    assert_eq!((any.remote, any.geneve_port), (None, Some(7777)));
    assert!(any.carries_over([192, 0, 2, 2].into()) && any.carries_over([0u16; 8].into()));
}

#[test]
fn reads_gre_and_ip_tunnels_of_either_version() {
    let (v4, v6) = ([192, 0, 2, 2], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 2]);
    let gre = || InfoGre::Remote(v4.into());
    let gre6 = || InfoGre6::Remote(v6.into());
    let outer = |address: IpAddr| InfoIpTunnel::Remote(address);
    let kinds = [
        (
            InfoKind::GreTun,
            InfoData::GreTun(vec![gre()]),
            LinkLayerType::Ipgre,
            true,
        ),
        (
            InfoKind::GreTap,
            InfoData::GreTap(vec![gre()]),
            LinkLayerType::Ether,
            true,
        ),
        (
            InfoKind::GreTun6,
            InfoData::GreTun6(vec![gre6()]),
            LinkLayerType::Ip6gre,
            false,
        ),
        (
            InfoKind::GreTap6,
            InfoData::GreTap6(vec![gre6()]),
            LinkLayerType::Ether,
            false,
        ),
        (
            InfoKind::SitTun,
            InfoData::IpTunnel(vec![outer(v4.into())]),
            LinkLayerType::Sit,
            true,
        ),
        (
            InfoKind::Ip6Tnl,
            InfoData::IpTunnel(vec![outer(v6.into())]),
            LinkLayerType::Tunnel6,
            false,
        ),
    ];
    for (kind, data, layer, over_v4) in kinds {
        let link = parse(vec![info(kind.clone(), data)], layer);
        assert_eq!(link.ether, layer == LinkLayerType::Ether, "{kind}");
        assert!(link.is_tunnel(), "{kind}");
        let (own, other): (IpAddr, IpAddr) = if over_v4 {
            (v4.into(), v6.into())
        } else {
            (v6.into(), v4.into())
        };
        assert_eq!(link.remote, Some(own), "{kind}");
        assert!(
            link.carries_over(own) && !link.carries_over(other),
            "{kind}"
        );
    }
}

#[test]
fn a_6in4_tunnel_takes_the_address_within_the_next_hop() {
    let link = parse(
        vec![info(InfoKind::SitTun, InfoData::IpTunnel(Vec::new()))],
        LinkLayerType::Sit,
    );
    let v4 = IpAddr::from([192, 0, 2, 2]);
    assert_eq!(
        link.outer_address("::192.0.2.2".parse().expect("one")),
        Some(v4)
    );
    assert_eq!(link.outer_address(v4), Some(v4));
    assert_eq!(
        link.outer_address([0x2001, 0xdb8, 0, 0, 0, 0, 0, 2].into()),
        None
    );
}

#[test]
fn an_option_that_cannot_be_read_hides_no_other() {
    // A VNI of one byte, then a good port.
    let broken = InfoData::Other(vec![5, 0, 1, 0, 9, 0, 0, 0, 6, 0, 15, 0, 0x21, 0x18, 0, 0]);
    let link = parse(vec![info(InfoKind::Vxlan, broken)], LinkLayerType::Ether);
    let expected = Vxlan {
        vni: 0,
        port: 8472,
        local: None,
    };
    assert_eq!((link.kind.as_str(), link.vxlan), ("vxlan", Some(expected)));
}
