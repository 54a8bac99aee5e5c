//! Sorts out packets that the follow watched, but that nobody asked about.

use std::net::IpAddr;

use crate::{
    journey::{Course, Journey, Scene},
    model::{OwnerKind, Packet, Transport},
};

/// Whether a journey turns out to be between ends outside of the follow. Such journeys are
/// watched because a Service may send packets to many pods, and because a node's address may
/// stand for a source.
///
/// The address of a Service or a node does not tell where a packet goes or comes from.
pub(super) fn is_of_others(scene: &Scene, journey: &Journey) -> bool {
    let is_error =
        matches!(&journey.packet.transport, Transport::Icmp(icmp) if icmp.quote.is_some());
    let Some(own) = journey.packet.ends().filter(|_| !is_error) else {
        return false;
    };
    if scene.asked.is_empty() {
        return false;
    }
    let (first, last) = match journey.translated.as_deref() {
        Some(translated) => (translated.first, translated.last),
        None => (own, own),
    };
    let (asking, other) = match journey.direction {
        Course::Request => (first.src, last.dst),
        Course::Reply => (last.dst, first.src),
    };
    let time = journey.start();
    let is_of_pod = |address| {
        let owner = scene.owners.at(address, time);
        owner.is_some_and(|owner| owner.kind == OwnerKind::Pod)
    };
    let is_among =
        |all: &[ipnet::IpNet], address: IpAddr| all.iter().any(|net| net.contains(&address));
    let is_other = is_of_pod(other) && !is_among(&scene.asked, other);
    is_other || !is_among(&scene.sources, asking)
}

/// Whether the packet is neighbour discovery with a machine outside of the follow. A router
/// asks from its link-local address, which the kernel programs let through, and so does a pod
/// beside the followed one.
pub(super) fn is_of_strangers(scene: &Scene, packet: &Packet) -> bool {
    let is_strange = |address: IpAddr| {
        let IpAddr::V6(v6) = address else {
            return false;
        };
        let mut nodes = scene.nodes.iter();
        v6.is_unicast_link_local() && !nodes.any(|hello| hello.local.contains(&address))
    };
    packet.is_neighbour() && (is_strange(packet.src) || is_strange(packet.dst))
}

#[cfg(test)]
mod tests {
    use super::is_of_others;
    use crate::{
        by_hand::{A, B, FROM_POD, NODE_A, journey, scene},
        journey::{Closed, Course, Journey, Translated},
        model::{Ends, Owner, OwnerKind},
    };

    const SERVICE: [u8; 4] = [10, 96, 0, 10];
    const OTHER: [u8; 4] = [10, 244, 2, 8];

    /// A journey from the source in `first` to the destination in `last`.
    fn translated(first: [[u8; 4]; 2], last: [[u8; 4]; 2]) -> Journey {
        let mut journey = journey(&[(0, FROM_POD)], Closed::Known);
        let ends = |[src, dst]: [[u8; 4]; 2]| Ends {
            src: src.into(),
            dst: dst.into(),
            src_port: 40_000,
            dst_port: 80,
        };
        journey.packet = journey.packet.with_ends(&ends(first));
        journey.translated = Some(Box::new(Translated {
            first: ends(first),
            last: ends(last),
            told: None,
            is_reply: None,
        }));
        journey
    }

    #[test]
    fn what_goes_to_another_endpoint_or_comes_from_another_source_is_of_others() {
        let mut scene = scene();
        let owner = |name: &str, kind| Owner {
            name: name.to_owned(),
            kind,
            node: String::new(),
        };
        scene
            .owners
            .insert(OTHER.into(), owner("default/other", OwnerKind::Pod));
        scene
            .owners
            .insert(SERVICE.into(), owner("default/svc", OwnerKind::Service));
        scene.sources = vec![std::net::IpAddr::from(A).into()];
        let asked = translated([A, SERVICE], [A, B]);
        let elsewhere = translated([A, SERVICE], [A, OTHER]);
        let foreign = translated([NODE_A, B], [NODE_A, B]);
        let nowhere = translated([A, SERVICE], [A, SERVICE]);
        let of_others = |scene: &_| {
            [&asked, &elsewhere, &foreign, &nowhere].map(|journey| is_of_others(scene, journey))
        };
        // Everything that is watched was requested.
        assert_eq!(of_others(&scene), [false; 4]);
        scene.asked = vec![std::net::IpAddr::from(B).into()];
        assert_eq!(of_others(&scene), [false, true, true, false]);

        let answer = |from: [u8; 4]| {
            let mut journey = translated([from, NODE_A], [SERVICE, A]);
            journey.direction = Course::Reply;
            journey
        };
        assert!(!is_of_others(&scene, &answer(B)));
        assert!(is_of_others(&scene, &answer(OTHER)));
    }
}
