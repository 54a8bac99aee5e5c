use anyhow::Result;
use serde_json::Value;
use tracer_tests::frames::{
    FRAME, GRE, IPV4, IPV4_IN_IP, IPV6, IPV6_IN_IP, UDP, ethernet, geneve, gre, ipv4, ipv6, udp,
    vxlan,
};

use crate::case::Case;
use crate::stage::{PORT, Stage, addressed};

/// The number of points for packets that no device unwraps: the second node's uplink. Unwrapped
/// packets are also seen at its overlay device.
const WRAPPED: u64 = 1;
const UNWRAPPED: u64 = 2;

/// A UDP datagram from node to node, as the second node receives it.
fn outer(stage: &Stage, datagram: &[u8]) -> Vec<u8> {
    between_nodes(stage, UDP, datagram)
}

fn between_nodes(stage: &Stage, proto: u8, payload: &[u8]) -> Vec<u8> {
    let [from, to] = [0, 1].map(|node| &stage.lab.nodes[node]);
    let packet = ipv4(proto, from.underlay, to.underlay, payload);
    addressed(ethernet(IPV4, &packet), &to.uplink_mac, &from.uplink_mac)
}

/// A frame in VXLAN, as the second node receives it.
fn wrapped(stage: &Stage, frame: &[u8]) -> Vec<u8> {
    outer(stage, &vxlan(stage.lab.port, stage.lab.vni, frame))
}

/// A frame as the first node's overlay device sends it.
fn inner(stage: &Stage, packet: &[u8]) -> Vec<u8> {
    let [from, to] = [0, 1].map(|node| &stage.lab.nodes[node]);
    addressed(ethernet(IPV4, packet), &to.overlay_mac, &from.overlay_mac)
}

/// A frame in VXLAN for an unknown MAC address: unwrapped once, it is not unwrapped again.
fn nested(stage: &Stage, frame: &[u8]) -> Vec<u8> {
    let [from, to] = [0, 1].map(|node| stage.lab.nodes[node].underlay);
    let datagram = vxlan(stage.lab.port, stage.lab.vni, frame);
    ethernet(IPV4, &ipv4(UDP, from, to, &datagram))
}

#[test]
fn cut_short() -> Result<()> {
    let stage = Stage::new()?;
    let frame = inner(&stage, &stage.datagram(&[0; 16]));
    let cut = |lengths: std::ops::Range<usize>| {
        lengths
            .map(|len| wrapped(&stage, &frame[..len]))
            .collect::<Vec<_>>()
    };
    let header = (0..8).map(|len| outer(&stage, &udp(40_000, stage.lab.port, &[8; 8][..len])));
    let cases = [
        // Without the VXLAN header, the packet is a datagram between the nodes.
        Case::new("the VXLAN header", header),
        Case::new("the inner Ethernet header", cut(0..14)).unparsed(WRAPPED),
        // Since 6.10, Linux requires a whole IP header before it unwraps.
        Case::new("the inner IP header", cut(14..34)).unparsed_once_or_twice(),
        // The outer headers end at the cut, too, so at the uplink only the ports are missing.
        // Unwrapped, the packet is shorter than its own header says.
        Case::new("the inner UDP ports", cut(34..38))
            .journey(1, "unknown")
            .unparsed(UNWRAPPED - 1),
        Case::new("the inner UDP header", cut(38..42)).journey(2, "dropped"),
        // net/ipv4/ip_input.c ip_rcv_core, after unwrapping.
        Case::new("the inner payload", cut(42..58)).journey(2, "dropped"),
    ];
    cases
        .into_iter()
        .try_for_each(|case| case.check(&stage, &stage.wire))
}

#[test]
fn of_others() -> Result<()> {
    let stage = Stage::new()?;
    let frame = inner(&stage, &stage.datagram(&[0; 16]));
    let (port, vni) = (stage.lab.port, stage.lab.vni);
    let mut no_vni = vxlan(port, vni, &frame);
    no_vni[8] = 0;
    let other = outer(&stage, &vxlan(port, vni ^ 1, &frame));
    let cases = [
        Case::new("without a valid VNI", [outer(&stage, &no_vni)]),
        // drivers/net/vxlan/vxlan_core.c vxlan_rcv.
        Case::new("with another VNI", [other]).journey(1, "dropped"),
        Case::new("as ever", [wrapped(&stage, &frame)]).journey(4, "delivered"),
        Case::new(
            "to another port",
            [outer(&stage, &vxlan(PORT, vni, &frame))],
        ),
    ];
    cases
        .into_iter()
        .try_for_each(|case| case.check(&stage, &stage.wire))
}

#[test]
fn nested_in_each_other() -> Result<()> {
    let stage = Stage::new()?;
    let frame = inner(&stage, &stage.datagram(&[0; 16]));
    let twice = wrapped(&stage, &nested(&stage, &frame));
    let three_times = wrapped(&stage, &nested(&stage, &nested(&stage, &frame)));
    let ten_times = (0..9).fold(frame.clone(), |frame, _| nested(&stage, &frame));
    let ten_times = wrapped(&stage, &ten_times);
    let cases = [
        // The frame in the inner tunnel is for another MAC address than the overlay device's.
        Case::new("twice", [twice.clone()]).journey(2, "dropped"),
        // The outermost tunnel is removed before the second point.
        Case::new("three times", [three_times])
            .unparsed(1)
            .journey(1, "dropped"),
        Case::new("ten times", [ten_times]).unparsed(UNWRAPPED),
    ];
    for case in cases {
        case.check(&stage, &stage.wire)?;
    }
    let seen = stage.watch(&[], || stage.wire.send(&twice))?;
    let hops = seen.journeys[0]["hops"].as_array().expect("a list of hops");
    let levels: Vec<&Value> = hops.iter().map(|hop| &hop["encap"]["levels"]).collect();
    assert_eq!(levels, [2, 1]);
    Ok(())
}

/// No device of the nodes unwraps the packet, which is seen at the uplink and ends there.
#[test]
fn ip_in_ip() -> Result<()> {
    let stage = Stage::new()?;
    let [from, to] = [0, 1].map(|pod| stage.lab.pods[pod].v6);
    let v4 = stage.datagram(&[0; 16]);
    let v6 = ipv6(UDP, from, to, &udp(4000, PORT, &[0; 16]));
    let in_ip = |proto, packet: &[u8]| between_nodes(&stage, proto, packet);
    let cut = (0..20).map(|len| in_ip(IPV4_IN_IP, &v4[..len]));
    let other = [in_ip(IPV6_IN_IP, &v4), in_ip(IPV4_IN_IP, &v6)];
    let twice = ipv4(IPV4_IN_IP, stage.lab.pods[0].v4, stage.lab.pods[1].v4, &v4);
    let cases = [
        Case::new("IPv4 in IPv4", [in_ip(IPV4_IN_IP, &v4)]).journey(1, "dropped"),
        Case::new("IPv6 in IPv4", [in_ip(IPV6_IN_IP, &v6)]).journey(1, "dropped"),
        Case::new("twice", [in_ip(IPV4_IN_IP, &twice)]).journey(1, "dropped"),
        Case::new("of another version than announced", other).unparsed(WRAPPED),
        Case::new("the inner header cut short", cut).unparsed(WRAPPED),
    ];
    for case in cases {
        case.check(&stage, &stage.wire)?;
    }
    let seen = stage.watch(&[], || stage.wire.send(&in_ip(IPV4_IN_IP, &v4)))?;
    let encap = &seen.journeys[0]["hops"][0]["encap"];
    assert_eq!(
        (&encap["kind"], &encap["levels"]),
        (&"ipip".into(), &1.into())
    );
    assert!(encap["vni"].is_null(), "{encap}");
    for (key, node) in [("outer_src", 0), ("outer_dst", 1)] {
        let underlay = stage.lab.nodes[node].underlay.to_string();
        assert_eq!(encap[key], underlay, "{encap}");
    }
    Ok(())
}

/// IANA's port of Geneve.
const GENEVE_PORT: u16 = 6081;

/// As [`ip_in_ip`], with options of every length.
#[test]
fn in_geneve() -> Result<()> {
    let stage = Stage::new()?;
    let [from, to] = [0, 1].map(|pod| stage.lab.pods[pod].v6);
    let v4 = stage.datagram(&[0; 16]);
    let v6 = ipv6(UDP, from, to, &udp(4000, PORT, &[0; 16]));
    let frame = inner(&stage, &v4);
    let with = |options: usize, kind, payload: &[u8]| {
        outer(
            &stage,
            &geneve(GENEVE_PORT, 7, &vec![0; options], kind, payload),
        )
    };
    let good = with(0, FRAME, &frame);
    let options = (1..64).map(|words| with(words * 4, FRAME, &frame));
    let changed = |at: usize, value| {
        let mut datagram = geneve(GENEVE_PORT, 7, &[], FRAME, &frame);
        datagram[at] = value;
        outer(&stage, &datagram)
    };
    let header = (0..8).map(|len| outer(&stage, &udp(40_000, GENEVE_PORT, &[0; 8][..len])));
    let cut = (0..14 + 20).map(|len| with(8, FRAME, &frame[..len]));
    let wrong = [with(0, IPV6, &v4), with(0, IPV4, &v6)];
    let others = [
        changed(8, 0x40),
        outer(&stage, &geneve(PORT, 7, &[], FRAME, &frame)),
    ];
    let nested = wrapped(&stage, &with(4, FRAME, &frame));
    let cases = [
        Case::new("frames", [good.clone()]).journey(1, "dropped"),
        Case::new("frames, with options", options).journey(1, "dropped"),
        Case::new("IPv4", [with(0, IPV4, &v4)]).journey(1, "dropped"),
        Case::new("IPv6", [with(8, IPV6, &v6)]).journey(1, "dropped"),
        Case::new("critical options", [changed(9, 0x40)]).journey(1, "dropped"),
        Case::new("a control packet", [changed(9, 0x80)]).journey(1, "dropped"),
        Case::new("another version, another port", others),
        Case::new("MPLS", [with(0, 0x8847, &v4)]).unparsed(WRAPPED),
        Case::new("the Geneve header cut short", header),
        Case::new("the inner headers cut short", cut).unparsed(WRAPPED),
        Case::new("of another version than announced", wrong).unparsed(WRAPPED),
    ];
    for case in cases {
        case.check(&stage, &stage.wire)?;
    }
    let seen = stage.watch(&[], || stage.wire.send(&good))?;
    let encap = &seen.journeys[0]["hops"][0]["encap"];
    assert_eq!(
        [&encap["kind"], &encap["vni"], &encap["levels"]],
        [&Value::from("geneve"), &7.into(), &1.into()]
    );
    let seen = stage.watch(&[], || stage.wire.send(&nested))?;
    let encap = &seen.journeys[0]["hops"][0]["encap"];
    assert_eq!(
        (&encap["kind"], &encap["levels"]),
        (&"geneve".into(), &2.into())
    );
    Ok(())
}

/// As [`ip_in_ip`], with every combination of fields.
#[test]
fn in_gre() -> Result<()> {
    let stage = Stage::new()?;
    let [from, to] = [0, 1].map(|pod| stage.lab.pods[pod].v6);
    let v4 = stage.datagram(&[0; 16]);
    let v6 = ipv6(UDP, from, to, &udp(4000, PORT, &[0; 16]));
    let frame = inner(&stage, &v4);
    let in_gre = |header: &[u8]| between_nodes(&stage, GRE, header);
    let plain = |kind, payload: &[u8]| in_gre(&gre([None; 3], kind, payload));
    let fields = (0..8).map(|flags| [1, 2, 4].map(|flag| (flags & flag != 0).then_some(9)));
    let every = fields.clone().map(|fields| in_gre(&gre(fields, IPV4, &v4)));
    let tap = fields.map(|fields| in_gre(&gre(fields, FRAME, &frame)));
    let changed = |at: usize, value| {
        let mut header = gre([None; 3], IPV4, &v4);
        header[at] = value;
        in_gre(&header)
    };
    let whole = gre([Some(1), Some(2), Some(3)], IPV4, &v4);
    let cut = |lengths: std::ops::Range<usize>| lengths.map(|len| in_gre(&whole[..len]));
    let wrong = [plain(IPV6, &v4), plain(IPV4, &v6)];
    let others = [changed(1, 1), changed(0, 0x40)];
    let cases = [
        Case::new("IPv4 with every field", every).journey(1, "dropped"),
        Case::new("frames with every field", tap).journey(1, "dropped"),
        Case::new("IPv6", [plain(IPV6, &v6)]).journey(1, "dropped"),
        Case::new("PPTP, source routes", others),
        Case::new("MPLS", [plain(0x8847, &v4)]).unparsed(WRAPPED),
        Case::new("within what says that it is a tunnel", cut(0..4)),
        Case::new("cut short", cut(4..16 + 20)).unparsed(WRAPPED),
        Case::new("of another version than announced", wrong).unparsed(WRAPPED),
    ];
    for case in cases {
        case.check(&stage, &stage.wire)?;
    }
    for (key, expected) in [
        (None, Value::Null),
        (Some(0), 0.into()),
        (Some(!0), u32::MAX.into()),
    ] {
        let frame = in_gre(&gre([None, key, None], IPV4, &v4));
        let seen = stage.watch(&[], || stage.wire.send(&frame))?;
        let encap = &seen.journeys[0]["hops"][0]["encap"];
        assert_eq!((&encap["kind"], &encap["vni"]), (&"gre".into(), &expected));
    }
    Ok(())
}
