//! Which bytes of a journey were delivered, dropped, or neither.

use std::net::IpAddr;

use crate::{
    journey::{Arrival, Class, Drop, Journey, Range, Ranges, Scene, Step, arrival, expected},
    model::{Cause, Direction, Flags, OwnerKind, Role, Transport},
};

/// The bytes of a journey, by what became of them. Any packet without TCP data counts as one byte.
pub(super) struct Fates<'a> {
    /// The step that came nearest to the destination.
    pub(super) nearest: Option<(Arrival, &'a Step)>,
    /// Bytes that were seen at the destination, and not dropped later.
    pub(super) delivered: Ranges,
    /// Bytes that were dropped.
    pub(super) dropped: Ranges,
    /// Bytes that were neither delivered nor dropped.
    pub(super) rest: Ranges,
    /// Index of the drop that decides.
    pub(super) drop: Option<usize>,
    /// Drops of copies, by index.
    pub(super) copies: Vec<usize>,
    /// Drops that may also be the normal end of a packet's life, by index.
    pub(super) unclear: Vec<usize>,
    /// Steps of frames that ended at another MAC address, and the indexes of their drops. Other
    /// machines may have got the packet.
    pub(super) astray: Vec<(&'a Step, usize)>,
    /// Nodes where the dropped packet may have been a copy, although no other copy was seen to
    /// arrive.
    pub(super) perhaps_copies: Vec<usize>,
}

impl<'a> Fates<'a> {
    /// `taken`: the bytes that the receiver is known to have.
    pub(super) fn of(scene: &Scene, journey: &'a Journey, taken: &Ranges) -> Self {
        let whole = Range {
            start: 0,
            end: i64::from(journey.size()),
        };
        let wanted = journey.destination().map(|address| {
            let time = journey.start();
            expected(scene, address, time)
        });
        let nearest = nearest(scene, journey);
        let there = |step: &Step| {
            let arrived = reached(scene, journey, step);
            arrived != Arrival::No && Some(arrived) >= wanted
        };
        let mut delivered = Ranges::default();
        for step in journey.steps.iter().filter(|step| there(step)) {
            for part in &step.parts {
                delivered.insert(Range::offsets(*part));
            }
        }
        let mut fates = Self {
            nearest,
            delivered,
            dropped: Ranges::default(),
            rest: Ranges::default(),
            drop: None,
            copies: Vec::new(),
            unclear: Vec::new(),
            astray: Vec::new(),
            perhaps_copies: Vec::new(),
        };
        for (index, drop) in journey.drops.iter().enumerate() {
            fates.take(scene, journey, index, drop);
        }
        if fates.dropped.is_empty() {
            taken.iter().for_each(|range| fates.delivered.insert(range));
        }
        fates.rest.insert(whole);
        for known in [&fates.delivered, &fates.dropped] {
            known.iter().for_each(|range| fates.rest.remove(range));
        }
        fates
    }

    /// Whether a step belongs to a frame that ended at another MAC address.
    pub(super) fn is_astray(&self, step: &Step) -> bool {
        let mut astray = self.astray.iter();
        astray.any(|(other, _)| std::ptr::eq(*other, step))
    }

    /// Whether other machines may have got the packet of the drop that decides.
    pub(super) fn is_doubtful(&self) -> bool {
        let mut astray = self.astray.iter();
        astray.any(|(_, index)| self.drop == Some(*index))
    }

    /// Weighs one drop.
    fn take(&mut self, scene: &Scene, journey: &'a Journey, index: usize, drop: &Drop) {
        let part = Range::offsets(drop.part);
        let at_destination = at_destination(scene, journey, drop);
        let before = last_before(journey, drop);
        let is_loss = match drop.judgement.class {
            Class::Loss => true,
            // A reset asks for nothing, so a closed port does not refuse it.
            Class::Refusal => !is_reset(journey),
            // A bridge or switch floods a frame for another MAC address, and a mirror copies
            // frames; so the freed frame is usually a copy. The same holds for a frame in a VLAN
            // that nothing here belongs to. The drop is a loss where the packet had to arrive, or
            // if the frame came by a way that leads only here. If only the IP address names this
            // machine, `astray` keeps the doubt.
            Class::Flooded
                if matches!(
                    drop.judgement.cause,
                    Some(Cause::WrongMac | Cause::NoListener)
                ) =>
            {
                if at_destination {
                    !arrived_in_another_frame(scene, journey, drop)
                } else if *drop.netns == *HOST
                    && !self.delivered.intersects(part)
                    && let Some(step) = before.filter(|step| !goes_out(scene, step))
                {
                    let only = leads_only_here(scene, step, drop);
                    let is_wrong_mac = drop.judgement.cause == Some(Cause::WrongMac);
                    if is_wrong_mac && !only {
                        self.astray.push((step, index));
                    }
                    only || is_wrong_mac && is_meant_here(scene, journey, step)
                } else {
                    false
                }
            }
            Class::Flooded | Class::Delivered | Class::Duplicate => return,
            Class::Unknown => {
                self.unclear.push(index);
                return;
            }
        };
        if !is_loss {
            return;
        }
        // This part arrived, so the kernel freed another copy of it. But the receiver itself may
        // have dropped the part after it arrived, as may the interface that saw it last.
        let after_arrival =
            at_destination || before.is_some_and(|step| at_interface(scene, step, drop));
        if self.delivered.intersects(part) && !after_arrival {
            self.copies.push(index);
            return;
        }
        // Bridges and mirrors copy packets that they forward. The namespaces of the sending and the
        // receiving pod do not. In the host's namespace, the buffer that a step saw before is the
        // packet itself, unless the frame was flooded.
        let same_buffer = drop.same_buffer && *drop.netns == *HOST;
        let is_flooded = drop.judgement.class == Class::Flooded;
        if !at_destination && !at_source(scene, journey, drop) && (!same_buffer || is_flooded) {
            self.perhaps_copies.push(drop.node);
        }
        self.delivered.remove(part);
        self.dropped.insert(part);
        self.drop.get_or_insert(index);
    }
}

/// The agents' name of a node's own network namespace.
pub(super) const HOST: &str = "host";

/// The last step on the drop's node, if the kernel freed the sk_buff that this step saw. `None` if
/// that is not certain, or if the node saw the packet after the drop.
fn last_before<'a>(journey: &'a Journey, drop: &Drop) -> Option<&'a Step> {
    let mut there = journey.steps.iter().filter(|step| step.node == drop.node);
    let last = there.clone().max_by_key(|step| step.time)?;
    (drop.same_buffer && there.all(|step| step.time <= drop.time)).then_some(last)
}

/// Whether the packet arrived in another frame than the one that was dropped. The other frame has
/// another MAC address, or is a broadcast or multicast frame that came in by another interface. For
/// example, a bond gets a broadcast by each of its uplinks, and accepts it from one of them.
fn arrived_in_another_frame(scene: &Scene, journey: &Journey, drop: &Drop) -> bool {
    let part = Range::offsets(drop.part);
    journey.steps.iter().any(|step| {
        let mut parts = step.parts.iter().map(|part| Range::offsets(*part));
        let is_other = match (step.dst_mac, drop.dst_mac) {
            (Some(one), Some(other)) if one != other => true,
            (Some(mac), Some(_)) => {
                let point = scene.point(step);
                let elsewhere = drop.device.as_deref() != Some(&*point.interface);
                mac.0[0] & 1 == 1 && elsewhere && point.direction == Direction::Ingress
            }
            _ => false,
        };
        is_other
            && parts.any(|seen| seen.intersection(part).is_some())
            && reached(scene, journey, step) != Arrival::No
    })
}

/// Whether a frame that this step saw, and the kernel then dropped, came by a way that leads only
/// to this machine. Such ways are a tunnel to this machine, and a pod's own veth. A frame with the
/// MAC address of this interface counts as well: then something else was wrong, such as its VLAN.
/// Other machines may have got any other frame that came in by a bridge or an uplink.
fn leads_only_here(scene: &Scene, step: &Step, drop: &Drop) -> bool {
    let point = scene.point(step);
    let at_it = drop.device.as_deref() == Some(&*point.interface);
    let hello = &scene.nodes[step.node];
    let unwrapped = |outer: IpAddr| !at_it && hello.local.contains(&outer);
    let is_its_own = || {
        let mut devices = hello.network.devices.iter();
        let mac = step.dst_mac;
        mac.is_some() && devices.any(|one| one.interface == point.interface && one.mac == mac)
    };
    match (point.role, step.encap) {
        (Role::Overlay, _) => true,
        (Role::Veth, _) => at_it,
        (_, Some(encap)) => unwrapped(encap.outer_dst),
        _ => at_it && is_its_own(),
    }
}

/// Whether the IP addresses of a frame that came in at this step name this machine, whatever its
/// MAC address. A bridge sees frames for other machines as well, so only uplinks count.
fn is_meant_here(scene: &Scene, journey: &Journey, step: &Step) -> bool {
    let hello = &scene.nodes[step.node];
    let owner = || scene.owner(journey.destination()?, step.time);
    scene.point(step).role == Role::Uplink
        && match step.encap {
            Some(encap) => hello.local.contains(&encap.outer_dst),
            None => owner().is_some_and(|owner| owner.node == hello.node),
        }
}

/// Whether a packet left its node at this step.
fn goes_out(scene: &Scene, step: &Step) -> bool {
    let point = scene.point(step);
    (point.role == Role::Uplink || point.is_opaque()) && point.direction == Direction::Egress
}

/// Whether a drop was at the interface of this step. A drop without a known interface counts as
/// one.
fn at_interface(scene: &Scene, step: &Step, drop: &Drop) -> bool {
    let point = scene.point(step);
    let device = drop.device.as_deref();
    *drop.netns == *point.netns && device.is_none_or(|device| device == point.interface)
}

/// The step that came nearest to the destination.
fn nearest<'a>(scene: &Scene, journey: &'a Journey) -> Option<(Arrival, &'a Step)> {
    journey
        .steps
        .iter()
        .map(|step| (reached(scene, journey, step), step))
        .max_by_key(|(arrival, step)| (*arrival, step.seen))
}

fn reached(scene: &Scene, journey: &Journey, step: &Step) -> Arrival {
    let Some(address) = journey.destination() else {
        return Arrival::No;
    };
    let point = scene.point(step);
    arrival(scene, step.node, point, address, step.encap.is_some())
}

/// Whether a drop was in the network namespace of the packet's destination.
fn at_destination(scene: &Scene, journey: &Journey, drop: &Drop) -> bool {
    let Some(address) = journey.destination() else {
        return false;
    };
    let hello = &scene.nodes[drop.node];
    let here = match scene.owner(address, drop.time) {
        Some(owner) if owner.kind == OwnerKind::Pod => owner.node == hello.node,
        _ => true,
    };
    (here && *drop.netns == *namespace(scene, address, drop.time)) || hello.local.contains(&address)
}

/// Whether a drop was in the network namespace of the pod that sent the packet.
fn at_source(scene: &Scene, journey: &Journey, drop: &Drop) -> bool {
    let pod = scene.pod(journey.packet.src, drop.time);
    pod.is_some_and(|pod| *drop.netns == *pod)
}

/// The agents' name of the network namespace of the pod that has this address at a time.
pub(super) fn namespace(scene: &Scene, address: IpAddr, time: i64) -> String {
    let name = scene.pod(address, time).map(str::to_owned);
    name.unwrap_or_else(|| address.to_string())
}

/// Whether the agent of this node watches for drops in the network namespace of the receiver.
pub(super) fn watches_receiver(scene: &Scene, node: usize, journey: &Journey) -> bool {
    journey.destination().is_some_and(|address| {
        let start = journey.start();
        scene.watches(node, &namespace(scene, address, start), start)
    })
}

/// Whether an agent observes the interface of the pod that the packet is for.
pub(super) fn watches_interface(scene: &Scene, journey: &Journey) -> bool {
    journey
        .destination()
        .is_some_and(|address| expected(scene, address, journey.start()) == Arrival::There)
}

fn is_reset(journey: &Journey) -> bool {
    matches!(&journey.packet.transport, Transport::Tcp(tcp) if tcp.flags.has(Flags::RST))
}
