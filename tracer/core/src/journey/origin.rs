//! A node's own packets. The node's rules translate them before any interface sees them.

use super::{Journey, Scene};
use crate::model::{Direction, Ends};

/// The ends of a packet before its first hop.
///
/// These are the hop's own ends, unless the packet's node sent the packet itself, and conntrack of
/// that node tells the ends that it had before. `None` for packets that are never translated.
#[must_use]
pub fn sent_to(scene: &Scene, journey: &Journey) -> Option<Ends> {
    translated_within(scene, journey).or_else(|| journey.packet.ends())
}

fn translated_within(scene: &Scene, journey: &Journey) -> Option<Ends> {
    let way = journey.translated.as_deref()?;
    let first = journey.steps.first()?;
    let (agent, _) = way.told?;
    let comes_out = scene.point(first).direction == Direction::Egress;
    let is_own = scene.nodes[first.node].local.contains(&way.first.src);
    // A packet of a connection that others opened is an answer, and is translated back elsewhere.
    let is_told = agent == first.node && way.is_reply == Some(false);
    (comes_out && is_own && is_told && journey.ends_at(first) == Some(way.last))
        .then_some(way.first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        by_hand::{A, B, NODE_A, NODE_B, UPLINK_IN, UPLINK_OUT, journey, scene},
        journey::{Closed, Translated},
    };

    const SERVICE: [u8; 4] = [10, 96, 0, 10];

    /// A packet of a source to B, and the ends that conntrack of a node tells.
    fn sent(by: [u8; 4], told: Option<usize>, first: usize) -> (Scene, Journey, Ends) {
        let mut journey = journey(&[(0, first), (1, UPLINK_IN)], Closed::Known);
        journey.packet.src = by.into();
        let last = journey.packet.ends().expect("it has ends");
        let first = Ends {
            dst: SERVICE.into(),
            ..last
        };
        journey.translated = Some(Box::new(Translated {
            first,
            last,
            told: told.map(|node| (node, 0)),
            is_reply: Some(false),
        }));
        (scene(), journey, first)
    }

    #[test]
    fn conntrack_of_the_sending_node_tells_where_the_packet_was_sent() {
        let (scene, mut journey, first) = sent(NODE_A, Some(0), UPLINK_OUT);
        assert_eq!(sent_to(&scene, &journey), Some(first));
        let way = journey.translated.as_mut().expect("a translation");
        way.is_reply = Some(true);
        assert_eq!(sent_to(&scene, &journey), journey.packet.ends());
        journey.translated = None;
        assert_eq!(sent_to(&scene, &journey), journey.packet.ends());
    }

    /// Where nobody has told it, the translation may be elsewhere.
    #[test]
    fn a_packet_that_others_sent_or_translated_is_as_it_was_seen() {
        for (by, told, first) in [
            (A, Some(0), UPLINK_OUT),
            (NODE_B, Some(0), UPLINK_OUT),
            (NODE_A, Some(1), UPLINK_OUT),
            (NODE_A, None, UPLINK_OUT),
            (NODE_A, Some(0), UPLINK_IN),
        ] {
            let (scene, journey, _) = sent(by, told, first);
            assert_eq!(sent_to(&scene, &journey), journey.packet.ends());
            assert_eq!(journey.packet.dst, std::net::IpAddr::from(B));
        }
    }
}
