//! Verdicts on journeys made by hand.

mod absence;
mod changes;
mod drops;
mod edges;
mod losses;
mod questions;
mod translation;
mod wire;
mod xdp;

use std::time::Duration;

use super::*;
use crate::{
    by_hand::{
        B, FROM_POD, INTO_POD, NODE_A, NODE_B, TO_POD, UPLINK_IN, UPLINK_OUT, disown, journey,
        node, point, scene,
    },
    input::{DeviceHealth, Health, SocketHealth},
    journey::{Closed, Journey, Scene, Step},
    model::{
        Cause, Direction, Encap, EncapKind, Foreign, Owner, OwnerKind, Point, Role, Transport,
    },
};

/// A TCP segment with 3000 bytes of data.
fn three_thousand_bytes() -> Transport {
    Transport::Tcp(crate::model::Tcp {
        src_port: 1,
        dst_port: 2,
        seq: 1,
        ack: 1,
        flags: crate::model::Flags(crate::model::Flags::ACK),
        window: 1,
        payload_len: 3000,
        timestamps: None,
        options_hash: 0,
    })
}

/// Whether a verdict has evidence that matches a pattern.
macro_rules! rests_on {
    ($verdict:expr, $($evidence:tt)+) => {
        $verdict.evidence.iter().any(|one| matches!(one, $($evidence)+))
    };
}
use rests_on;

/// The leg from the first node's uplink to the second's. `step` is the index of the first uplink's
/// step.
fn on_the_wire(step: usize) -> Leg {
    Leg {
        kind: LegKind::Wire,
        step,
        node: 1,
        points: vec![UPLINK_IN],
    }
}

/// Limits a step to the first bytes of the journey.
fn seen(journey: &mut Journey, step: usize, bytes: u32) {
    journey.steps[step].seen = bytes;
    journey.steps[step].parts = [(0, bytes)].into();
}

/// Agents that are alive and have lost nothing.
#[derive(Clone, Copy)]
struct Calm {
    hops_lost: bool,
    /// The only place where hops were lost.
    lost_at: Option<Where>,
    sampled: bool,
    drops_lost: bool,
    uneven: bool,
    /// Number of packets that every point has seen, by its agent's last report.
    packets: Option<u64>,
    /// Index of a point that has seen no packet.
    idle: Option<usize>,
    /// Index of a node whose agent was gone.
    agent_gone: Option<usize>,
    /// Name of a counter of the receiver's sockets and of each node's uplink, and its rise.
    rose: Option<(&'static str, u64)>,
    /// Whether other packets by the same next hop came in.
    came_in: Option<bool>,
    /// Silence of all interfaces.
    silence: Option<Silence>,
    largest: Option<u32>,
}

const CALM: Calm = Calm {
    hops_lost: false,
    lost_at: None,
    sampled: false,
    drops_lost: false,
    uneven: false,
    packets: Some(100),
    idle: None,
    agent_gone: None,
    rose: None,
    came_in: Some(false),
    silence: None,
    largest: None,
};

impl Circumstances for Calm {
    fn hops_lost(&self, place: Where, _: i64, _: i64) -> bool {
        self.hops_lost || self.lost_at == Some(place)
    }

    fn drops_lost(&self, _: Option<usize>, _: i64, _: i64) -> bool {
        self.drops_lost
    }

    fn agent_gone(&self, _: i64, _: i64) -> Option<usize> {
        self.agent_gone
    }

    fn uneven(&self, _: i64, _: i64) -> bool {
        self.uneven
    }

    fn sampled(&self, _: i64) -> bool {
        self.sampled
    }

    fn hold(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn settle(&self) -> Duration {
        Duration::from_millis(100)
    }

    fn packets(&self, _: usize, point: usize, _: i64) -> Option<u64> {
        if self.idle == Some(point) {
            return Some(0);
        }
        self.packets
    }

    fn rises(&self, _: usize, _: i64) -> Option<Rises> {
        let (name, by) = self.rose?;
        let health = |value| Health {
            sockets: vec![SocketHealth {
                netns: "default/b".into(),
                counters: vec![(name.to_owned().into(), value)],
            }],
            devices: vec![DeviceHealth {
                interface: "uplink".into(),
                rx_dropped: value,
                ..DeviceHealth::default()
            }],
            ..Health::default()
        };
        Some(Rises::between(&health(7), &health(7 + by)))
    }

    fn silence(&self, _: usize, _: &str, _: i64, _: i64) -> Option<Silence> {
        self.silence
    }

    fn came_in(&self, _: &Step, _: usize) -> Option<bool> {
        self.came_in
    }

    fn pattern(&self, _: usize, _: usize, _: &Sort, _: u32) -> Option<Pattern> {
        self.largest.map(Pattern::TooLarge)
    }
}

fn says(scene: &Scene, journey: &Journey) -> (Kind, Confidence, Option<Cause>) {
    let (verdict, parts) = judge(scene, journey, &CALM);
    assert_eq!(
        parts.sent,
        parts.delivered + parts.dropped + parts.lost + parts.unknown
    );
    (verdict.kind, verdict.confidence, verdict.cause)
}

const WHOLE: [(usize, usize); 4] = [(0, FROM_POD), (0, UPLINK_OUT), (1, UPLINK_IN), (1, TO_POD)];

#[test]
fn seen_at_the_last_point_is_delivered() {
    let journey = journey(&WHOLE, Closed::Known);
    assert_eq!(
        says(&scene(), &journey),
        (Kind::Delivered, Confidence::High, None)
    );
    let (verdict, _) = judge(&scene(), &journey, &CALM);
    let handed_over = Outcome::HandedOver {
        step: 3,
        observed: true,
    };
    assert_eq!(verdict.outcome, handed_over);
}

#[test]
fn seen_inside_the_pod_is_confirmed() {
    let mut scene = scene();
    scene.nodes[1]
        .points
        .push(point(Role::Pod, Direction::Ingress, B));
    let mut way = WHOLE.to_vec();
    let outside = journey(&way, Closed::Silence);
    assert_eq!(
        says(&scene, &outside),
        (Kind::Unknown, Confidence::Low, Some(Cause::NotSeenInPod))
    );
    way.push((1, INTO_POD));
    let inside = journey(&way, Closed::Known);
    assert_eq!(
        says(&scene, &inside),
        (Kind::Delivered, Confidence::Confirmed, None)
    );
}

#[test]
fn what_vanishes_on_a_node_is_unknown() {
    let scene = scene();
    for seen in [1, 3] {
        let silent = journey(&WHOLE[..seen], Closed::Silence);
        assert_eq!(
            says(&scene, &silent),
            (Kind::Unknown, Confidence::Low, None)
        );
        let open = journey(&WHOLE[..seen], Closed::End);
        assert_eq!(
            says(&scene, &open),
            (Kind::Unknown, Confidence::Low, Some(Cause::StillOpen))
        );
    }
}

/// In a tunnel, a packet to a node passes that node's interface before it is decapsulated. Then the
/// packet has not arrived yet.
#[test]
fn a_wrapped_packet_to_a_node_has_not_arrived() {
    let mut to_node = journey(&WHOLE[..3], Closed::Silence);
    to_node.packet.dst = NODE_B.into();
    assert_eq!(says(&scene(), &to_node).0, Kind::Unknown);
    to_node.steps[2].encap = None;
    assert_eq!(says(&scene(), &to_node).0, Kind::Delivered);
}

#[test]
fn towards_a_node_without_an_agent_it_has_left() {
    let mut scene = scene();
    scene.nodes.pop();
    let gone = journey(&WHOLE[..2], Closed::Silence);
    assert_eq!(says(&scene, &gone), (Kind::Left, Confidence::High, None));
    let not_yet = journey(&WHOLE[..1], Closed::Silence);
    assert_eq!(says(&scene, &not_yet).0, Kind::Unknown);
    // The tunnel leads to another node than the receiver's.
    let mut astray = scene.clone();
    let mut owner = scene.owner(B.into(), 0).expect("it has one").clone();
    owner.node = "node-c".to_owned();
    astray.owners.insert(B.into(), owner.clone());
    let (verdict, _) = judge(&astray, &gone, &CALM);
    assert_eq!(
        (verdict.kind, verdict.cause),
        (Kind::Left, Some(Cause::WrongNode))
    );
    let (node, home) = ("node-b".to_owned(), owner);
    assert_eq!(verdict.outcome, Outcome::WrongNode { node, home });
    assert!(rests_on!(verdict, Evidence::NotThere { from: 0, to, .. } if to == "node-b"));
    // Nobody knows the owner of the tunnel's remote address.
    disown(&mut scene, NODE_B);
    assert_eq!(says(&scene, &gone).0, Kind::Unknown);
}

#[test]
fn a_part_that_arrived_does_not_make_the_whole_delivered() {
    let mut part = journey(&WHOLE, Closed::Silence);
    part.packet.transport = three_thousand_bytes();
    seen(&mut part, 3, 2000);
    let (verdict, parts) = judge(&scene(), &part, &CALM);
    assert_eq!(verdict.kind, Kind::Unknown);
    assert_eq!(
        (parts.sent, parts.delivered, parts.unknown),
        (3000, 2000, 1000)
    );
}

#[test]
fn losses_and_rivals_lower_the_confidence() {
    let scene = scene();
    let unseen = journey(&WHOLE[..2], Closed::Silence);
    let (verdict, _) = judge(
        &scene,
        &unseen,
        &Calm {
            hops_lost: true,
            ..CALM
        },
    );
    assert!(rests_on!(verdict, Evidence::HopsLost));
    assert_eq!(verdict.cause, Some(Cause::EventsLost));
    let gone = Calm {
        hops_lost: true,
        agent_gone: Some(1),
        ..CALM
    };
    let (verdict, _) = judge(&scene, &unseen, &gone);
    assert!(rests_on!(verdict, Evidence::AgentGone(1)));
    assert_eq!(verdict.cause, Some(Cause::AgentGone));
    let mut rival = journey(&WHOLE, Closed::Known);
    rival.ambiguous = true;
    let (verdict, _) = judge(&scene, &rival, &CALM);
    assert_eq!(
        (verdict.kind, verdict.confidence),
        (Kind::Delivered, Confidence::Low)
    );
}

#[test]
fn bytes_that_were_not_seen_leaving_have_not_left() {
    let mut scene = scene();
    scene.nodes.pop();
    let mut gone = journey(&WHOLE[..2], Closed::Silence);
    gone.packet.transport = three_thousand_bytes();
    seen(&mut gone, 1, 1000);
    assert_eq!(says(&scene, &gone).0, Kind::Unknown);
    seen(&mut gone, 1, 3000);
    assert_eq!(says(&scene, &gone).0, Kind::Left);
}

#[test]
fn a_foreign_program_behind_ours_lowers_the_confidence() {
    let mut scene = scene();
    scene.nodes[1].points[TO_POD].foreign = vec![Foreign {
        id: 42,
        name: "to_somewhere".to_owned(),
    }];
    let journey = journey(&WHOLE, Closed::Known);
    assert_eq!(
        says(&scene, &journey),
        (Kind::Delivered, Confidence::Low, None)
    );
}

#[test]
fn what_was_under_way_at_the_start_is_not_guessed_about() {
    let mut scene = scene();
    scene.since = 1;
    let early = journey(&WHOLE[..2], Closed::Silence);
    assert_eq!(says(&scene, &early).2, Some(Cause::BeforeStart));
}

/// The owner of a Service's address is neither a pod nor a node, so nothing follows from that
/// address.
#[test]
fn a_services_address_is_nobodys_interface() {
    let mut scene = scene();
    let gone = journey(&WHOLE[..2], Closed::Silence);
    let service = Owner {
        name: "shop/b".to_owned(),
        kind: OwnerKind::Service,
        node: "node-c".to_owned(),
    };
    let mut unowned = scene.clone();
    disown(&mut unowned, B);
    scene.owners.insert(B.into(), service);
    let (verdict, parts) = judge(&scene, &gone, &CALM);
    let (nobodys, same) = judge(&unowned, &gone, &CALM);
    assert_eq!((verdict.kind, verdict.cause), (nobodys.kind, nobodys.cause));
    assert_eq!(parts, same);
    assert_eq!(scene.pod(B.into(), 0), None);
    assert_eq!(scene.service(B.into(), 0), Some("shop/b"));
}
