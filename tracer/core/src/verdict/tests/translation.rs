//! Packets whose translation only a node's conntrack table shows.

use super::*;
use crate::{by_hand::A, journey::Translated, model::Ends};

const SERVICE: [u8; 4] = [10, 96, 0, 10];

/// A packet from A to the Service that was seen to leave its pod. Conntrack translates its
/// destination to `to`.
fn asked(to: [u8; 4]) -> (Scene, Journey) {
    let mut scene = scene();
    let service = Owner {
        name: "shop/cart".to_owned(),
        kind: OwnerKind::Service,
        node: String::new(),
    };
    scene.owners.insert(SERVICE.into(), service);
    let mut journey = journey(&[(0, FROM_POD)], Closed::Silence);
    journey.packet.dst = SERVICE.into();
    let first = journey.packet.ends().expect("it has ends");
    let last = Ends {
        dst: to.into(),
        ..first
    };
    journey.translated = translated(first, last, false);
    (scene, journey)
}

/// What conntrack on node A says of a packet.
fn translated(first: Ends, last: Ends, is_reply: bool) -> Option<Box<Translated>> {
    Some(Box::new(Translated {
        first,
        last,
        told: Some((0, 0)),
        is_reply: Some(is_reply),
    }))
}

#[test]
fn an_entry_that_leads_to_nobody_is_why_a_packet_does_not_arrive() {
    let (scene, journey) = asked([10, 244, 9, 9]);
    let (verdict, _) = judge(&scene, &journey, &CALM);
    assert_eq!(verdict.kind, Kind::Unknown);
    assert_eq!(verdict.cause, Some(Cause::StaleDnat));
    assert!(rests_on!(verdict, Evidence::Conntrack { node: 0, .. }));
}

/// The answer of a pod to A, which asked the Service. The answer passes these points, and keeps
/// the pod's address.
fn answered(by: [u8; 4], path: &[(usize, usize)]) -> (Scene, Journey) {
    let (scene, _) = asked(by);
    let mut journey = journey(path, Closed::Known);
    (journey.packet.src, journey.packet.dst) = (by.into(), A.into());
    let first = journey.packet.ends().expect("it has ends");
    let last = Ends {
        src: SERVICE.into(),
        ..first
    };
    journey.translated = translated(first, last, true);
    (scene, journey)
}

/// A bridge passes an answer to a pod of the same node by, without netfilter.
#[test]
fn an_answer_with_the_endpoints_address_is_told() {
    let to_client = [(0, FROM_POD), (0, TO_POD)];
    for is_undone in [true, false] {
        let (scene, mut journey) = answered(B, &to_client);
        let last = journey.translated.as_ref().map(|way| way.last);
        journey.steps[1].ends = last.filter(|_| is_undone).map(Box::new);
        let (verdict, _) = judge(&scene, &journey, &CALM);
        assert_eq!(verdict.kind, Kind::Delivered, "{verdict:?}");
        let told = rests_on!(verdict, Evidence::NotTranslatedBack { node: 0, service, is, same_node: true, .. }
            if service == "shop/cart" && is.0 == std::net::IpAddr::from(B));
        assert_eq!(told, !is_undone, "{verdict:?}");
    }
    let across = [(1, FROM_POD), (1, UPLINK_OUT), (0, UPLINK_IN), (0, TO_POD)];
    let (scene, journey) = answered(B, &across);
    let (verdict, _) = judge(&scene, &journey, &CALM);
    assert!(rests_on!(
        verdict,
        Evidence::NotTranslatedBack {
            same_node: false,
            ..
        }
    ));
}

/// The answer passes another pod, which sends it on to the client.
#[test]
fn an_answer_that_has_not_reached_its_client_is_not_accused() {
    let (mut scene, journey) = answered(B, &[(0, FROM_POD), (0, TO_POD)]);
    scene.nodes[0].points[TO_POD].addresses = vec![[10, 244, 1, 9].into()];
    let (verdict, _) = judge(&scene, &journey, &CALM);
    assert!(
        !rests_on!(verdict, Evidence::NotTranslatedBack { .. }),
        "{verdict:?}"
    );
}

#[test]
fn an_endpoint_that_no_pod_has_is_named() {
    const GONE: [u8; 4] = [10, 244, 9, 9];
    let (mut scene, journey) = asked(GONE);
    let endpoint = Owner {
        name: "shop/cart".to_owned(),
        kind: OwnerKind::Endpoint,
        node: String::new(),
    };
    scene.owners.insert(GONE.into(), endpoint);
    let (verdict, _) = judge(&scene, &journey, &CALM);
    assert_ne!(verdict.cause, Some(Cause::StaleDnat));
    let named = rests_on!(verdict, Evidence::NobodysEndpoint { service, to, .. }
        if service == "shop/cart" && to.0 == std::net::IpAddr::from(GONE));
    assert!(named, "{verdict:?}");
}

#[test]
fn an_entry_that_leads_to_a_pod_says_where_to_and_accuses_nobody() {
    let (scene, mut journey) = asked(B);
    let (verdict, _) = judge(&scene, &journey, &CALM);
    assert_ne!(verdict.cause, Some(Cause::StaleDnat));
    assert!(rests_on!(verdict, Evidence::Conntrack { node: 0, .. }));
    // A hop after the translation needs no conntrack entry as evidence.
    let last = journey
        .translated
        .as_ref()
        .map(|translated| translated.last);
    journey.steps[0].ends = last.map(Box::new);
    let (verdict, _) = judge(&scene, &journey, &CALM);
    assert!(!rests_on!(verdict, Evidence::Conntrack { .. }));
}

#[test]
fn an_entry_that_translates_the_source_alone_does_not_say_where_a_packet_goes() {
    let (scene, mut journey) = asked(B);
    let translated = journey.translated.as_mut().expect("an entry");
    translated.last = Ends {
        src: [192, 0, 2, 1].into(),
        ..translated.first
    };
    let (verdict, _) = judge(&scene, &journey, &CALM);
    assert!(!rests_on!(verdict, Evidence::Conntrack { .. }));
}

#[test]
fn what_is_refused_for_a_service_without_ready_endpoints_says_so() {
    for (kind, expected) in [
        (OwnerKind::Unserved, Some(Cause::NoEndpoints)),
        (OwnerKind::Empty, Some(Cause::NoEndpoints)),
        (OwnerKind::Service, Some(Cause::IcmpError)),
    ] {
        let (mut scene, mut journey) = asked(B);
        let service = Owner {
            name: "shop/ghost".to_owned(),
            kind,
            node: String::new(),
        };
        scene.owners = [(SERVICE.into(), service)].into_iter().collect();
        journey.translated = None;
        journey.refusal = Some(crate::journey::Refusal {
            by: 2,
            from: NODE_A.into(),
            icmp: Some((3, 3)),
            alike: false,
        });
        let (verdict, _) = judge(&scene, &journey, &CALM);
        assert_eq!(verdict.kind, Kind::Refused);
        assert_eq!(verdict.cause, expected);
        let names = rests_on!(verdict, Evidence::NoEndpoints { service, has_some }
            if service == "shop/ghost" && *has_some == (kind == OwnerKind::Unserved));
        assert_eq!(names, kind != OwnerKind::Service);
    }
}

/// The packet of [`asked`] has no acknowledgement, and the node redirects it to itself.
#[test]
fn what_a_node_redirects_to_itself_has_not_reached_its_receiver() {
    const GATEWAY: [u8; 4] = [10, 244, 1, 1];
    let (mut scene, mut journey) = asked(GATEWAY);
    let port = 15_001;
    journey.packet.dst = B.into();
    let translated = journey.translated.as_mut().expect("an entry");
    translated.first.dst = B.into();
    translated.last.dst_port = port;
    journey.answered_by = Some(2);
    let (verdict, _) = judge(&scene, &journey, &CALM);
    // It is not known that this is an address of the node.
    assert!(!matches!(verdict.outcome, Outcome::Proxied { .. }));
    scene.nodes[0].local.push(GATEWAY.into());
    let (verdict, _) = judge(&scene, &journey, &CALM);
    assert_eq!(verdict.kind, Kind::Delivered);
    let to = (GATEWAY.into(), port);
    assert_eq!(verdict.outcome, Outcome::Proxied { node: 0, to });
}

#[test]
fn what_leaves_with_a_services_address_was_not_translated() {
    let (mut scene, _) = asked(B);
    let mut journey = journey(&[(0, FROM_POD), (0, UPLINK_OUT)], Closed::Silence);
    journey.packet.dst = SERVICE.into();
    // The packet left by the default route, not by the tunnel.
    journey.steps[1].encap = None;
    let (verdict, _) = judge(&scene, &journey, &CALM);
    assert_eq!(verdict.kind, Kind::Left);
    assert_eq!(verdict.cause, Some(Cause::NotTranslated));
    let named = rests_on!(verdict, Evidence::NotTranslated { node: 0, service, .. }
        if service == "shop/cart");
    assert!(named);
    // A program at the uplink may translate the packet after that point.
    scene.nodes[0].points[UPLINK_OUT].foreign = vec![Foreign {
        id: 1,
        name: "to_world".to_owned(),
    }];
    let (verdict, _) = judge(&scene, &journey, &CALM);
    assert_ne!(verdict.cause, Some(Cause::NotTranslated));
}

#[test]
fn an_answer_that_another_makes_shows_nothing() {
    let (scene, mut journey) = asked(B);
    journey.translated = None;
    journey.packet.dst = B.into();
    journey.answered_by = Some(2);
    let (verdict, _) = judge(&scene, &journey, &CALM);
    assert_eq!(verdict.kind, Kind::Delivered);
    journey.stand_in = Some(crate::journey::StandIn { node: 0, point: 0 });
    let (verdict, _) = judge(&scene, &journey, &CALM);
    assert_eq!(verdict.kind, Kind::Unknown);
    assert_eq!(verdict.cause, Some(Cause::StandIn));
    assert!(rests_on!(verdict, Evidence::StandIn(_)));
}
