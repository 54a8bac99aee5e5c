//! How much of a journey fared how.

use std::net::IpAddr;

use crate::{
    journey::{
        Arrival, Class, Drop, Journey, OwnerKind, Range, Ranges, Scene, Step, arrival, destination,
        expected,
    },
    link::{Direction, Flags, Role, Transport},
};

/// The bytes of a journey by what became of them; of what is no TCP data, the
/// one packet is a byte.
pub(super) struct Fates<'a> {
    /// The step that came nearest to the destination.
    pub(super) nearest: Option<(Arrival, &'a Step)>,
    /// What was seen where its way ends, and not dropped after.
    pub(super) delivered: Ranges,
    /// What was dropped.
    pub(super) dropped: Ranges,
    /// What was neither.
    pub(super) rest: Ranges,
    /// Index of the drop that decides.
    pub(super) drop: Option<usize>,
    /// Drops of copies, and those that cannot be told from the end of a
    /// packet's life, by index.
    pub(super) copies: Vec<usize>,
    /// See `copies`.
    pub(super) unclear: Vec<usize>,
}

impl<'a> Fates<'a> {
    /// `taken`: what its receiver is known to have.
    pub(super) fn of(scene: &Scene, journey: &'a Journey, taken: &Ranges) -> Self {
        let whole = Range {
            start: 0,
            end: i64::from(journey.size()),
        };
        let wanted = destination(&journey.packet).map(|address| {
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

    /// Weighs one drop.
    fn take(&mut self, scene: &Scene, journey: &Journey, index: usize, drop: &Drop) {
        let part = Range::offsets(drop.part);
        let at_destination = at_destination(scene, journey, drop);
        let before = last_before(journey, drop);
        let is_loss = match drop.judgement.class {
            Class::Loss => true,
            // To nobody, a reset is not refused: it asks nothing.
            Class::Refusal => !is_reset(journey),
            // A frame for another MAC address is a copy that a bridge floods,
            // unless this is who it was meant for, or it is all there is: a
            // node that got it and did not send it on.
            Class::Flooded if drop.judgement.cause == WRONG_MAC => {
                let all_there_is = before.is_some_and(|step| !goes_out(scene, step));
                at_destination
                    || (all_there_is && *drop.netns == *HOST && !self.delivered.intersects(part))
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
        // What arrived, and was not dropped after by who got it or by the last
        // interface before, was another copy.
        let after_arrival =
            at_destination || before.is_some_and(|step| at_interface(scene, step, drop));
        if self.delivered.intersects(part) && !after_arrival {
            self.copies.push(index);
            return;
        }
        self.delivered.remove(part);
        self.dropped.insert(part);
        self.drop.get_or_insert(index);
    }
}

/// The cause of drops of frames for somebody else.
const WRONG_MAC: &str = "wrong-mac";

/// What a node's own namespace is called.
const HOST: &str = "host";

/// Where a packet was seen last before it was dropped in the very same buffer;
/// `None` if that is not certain, or if it was seen there after.
fn last_before<'a>(journey: &'a Journey, drop: &Drop) -> Option<&'a Step> {
    let mut there = journey.steps.iter().filter(|step| step.node == drop.node);
    let last = there.clone().max_by_key(|step| step.time)?;
    (drop.same_buffer && there.all(|step| step.time <= drop.time)).then_some(last)
}

/// Whether a packet left its node at this step.
fn goes_out(scene: &Scene, step: &Step) -> bool {
    let point = scene.point(step);
    (point.role == Role::Uplink || point.is_opaque()) && point.direction == Direction::Egress
}

/// Whether a drop was at the interface of this step, as far as that is known.
fn at_interface(scene: &Scene, step: &Step, drop: &Drop) -> bool {
    let point = scene.point(step);
    let device = drop.device.as_deref();
    device.is_none_or(|device| device == point.interface && *drop.netns == *point.netns)
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
    let Some(address) = destination(&journey.packet) else {
        return Arrival::No;
    };
    let point = scene.point(step);
    arrival(scene, step.node, point, address, step.encap.is_some())
}

/// Whether a drop was in the namespace that the packet is for.
fn at_destination(scene: &Scene, journey: &Journey, drop: &Drop) -> bool {
    let Some(address) = destination(&journey.packet) else {
        return false;
    };
    let hello = &scene.nodes[drop.node];
    let here = match scene.owners.get(&address) {
        Some(owner) if owner.kind == OwnerKind::Pod => owner.node == hello.node,
        _ => true,
    };
    (here && *drop.netns == *namespace(scene, address)) || hello.local.contains(&address)
}

/// What agents call the namespace of a pod with this address.
pub(super) fn namespace(scene: &Scene, address: IpAddr) -> String {
    let name = scene.pod(address).map(str::to_owned);
    name.unwrap_or_else(|| address.to_string())
}

/// Whether drops are seen where a packet goes that was handed over on this node.
pub(super) fn watches_receiver(scene: &Scene, node: usize, journey: &Journey) -> bool {
    destination(&journey.packet).is_some_and(|address| {
        let name = namespace(scene, address);
        scene.watches(node, &name, journey.start())
    })
}

/// Whether the interface of the pod that a packet is for is observed.
pub(super) fn watches_interface(scene: &Scene, journey: &Journey) -> bool {
    destination(&journey.packet)
        .is_some_and(|address| expected(scene, address, journey.start()) == Arrival::There)
}

fn is_reset(journey: &Journey) -> bool {
    matches!(&journey.packet.transport, Transport::Tcp(tcp) if tcp.flags.has(Flags::RST))
}
