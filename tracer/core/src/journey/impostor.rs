//! Two owners of one address: an answer that does not come from where the question went.

use std::net::IpAddr;

use super::{Arrival, Impostor, Scene, arrival, frames::Frame};
use crate::model::{Direction, Hop, Mac, Point, Role, Transport};

/// The MAC address that Calico gives to all its interfaces.
const SHARED_MAC: Mac = Mac([0xee; 6]);

/// Whether many interfaces have this address by design. Gateways and node-local DNS caches use
/// link-local addresses on each node.
const fn is_shared(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Whether a MAC address belongs to a single interface. Group addresses do not.
fn is_of_one(mac: Mac) -> bool {
    mac.0[0] & 1 == 0 && mac != SHARED_MAC && mac != Mac::default()
}

/// Two MAC addresses, if each belongs to a different interface.
fn two(one: Option<Mac>, other: Option<Mac>) -> Option<(Mac, Mac)> {
    let (one, other) = (one?, other?);
    (one != other && is_of_one(one) && is_of_one(other)).then_some((one, other))
}

/// Whether the sender of an answer, which was first seen at `hop`, is not the one who got the
/// question. `asked`: agent, point and frame of each step of the question.
pub(super) fn impostor<'a>(
    scene: &Scene,
    (by, node, hop): (u64, usize, &Hop),
    mut asked: impl DoubleEndedIterator<Item = (usize, usize, &'a Frame)>,
) -> Option<Impostor> {
    let address = hop.packet.src;
    let here = &scene.nodes[node].points[hop.point];
    if is_shared(address) || !comes_out_of_a_pod(here) {
        return None;
    }
    let got = |(node, point, frame): &(usize, usize, &Frame)| {
        let point = &scene.nodes[*node].points[*point];
        let came = arrival(scene, *node, point, address, frame.encap.is_some());
        matches!(point.role, Role::Veth | Role::Pod) && came != Arrival::No
    };
    let (there_on, there, frame) = asked.rfind(got)?;
    let macs = two(hop.src_mac, frame.dst_mac);
    let there = &scene.nodes[there_on].points[there];
    let same = (node, &here.netns, here.ifindex) == (there_on, &there.netns, there.ifindex);
    // The pod's own interface received the question, whatever its MAC address was. Programs that
    // redirect into the pod (`bpf_redirect_peer`) leave the tunnel's MAC address.
    if same && here.role == Role::Pod {
        return None;
    }
    let elsewhere = here.role == there.role && !same;
    (elsewhere || macs.is_some()).then_some(Impostor {
        by,
        at: (node, hop.point),
        macs,
    })
}

/// Whether a second answer to one ARP request shows that another sender has the address.
pub(super) fn second_owner(
    (by, node, hop): (u64, usize, &Hop),
    first: &Transport,
) -> Option<Impostor> {
    let (Transport::Arp(answer), Transport::Arp(first)) = (&hop.packet.transport, first) else {
        return None;
    };
    let macs = two(Some(answer.sender), Some(first.sender))?;
    (!is_shared(hop.packet.src)).then_some(Impostor {
        by,
        at: (node, hop.point),
        macs: Some(macs),
    })
}

/// Whether packets at this point come from a pod, with the MAC address that the pod gave them.
fn comes_out_of_a_pod(point: &Point) -> bool {
    matches!(
        (point.role, point.direction),
        (Role::Veth | Role::Bridge, Direction::Ingress) | (Role::Pod, Direction::Egress)
    )
}
