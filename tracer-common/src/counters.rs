//! Counters: what became of every packet and every event.
//!
//! A program counts each packet at an observation point in exactly one of these counters, per
//! CPU and per point. So their sum is the kernel's own `run_cnt` of the program.
//!
//! Invariant 3 (ARCHITECTURE.md): the accounting balances. A new way out of a program
//! needs a counter.

use crate::event::PLACES;

/// What became of one packet at one observation point.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// The packet does not belong to the follow.
    Miss = 0,
    /// The packet belongs to the follow, and its event is in the ring buffer.
    Emitted = 1,
    /// The packet belongs to the follow, but the ring buffer had no room: a lost event.
    RingFull = 2,
    /// The packet belongs to the follow, but the event budget of this window was spent: a lost
    /// event.
    RateLimited = 3,
    /// The packet belongs to the follow, but not to the sample.
    SampledOut = 4,
    /// The packet has a header that the walk cannot parse: truncated, of an impossible length,
    /// nested too deeply, or of an unknown kind. So the packet may belong to the follow.
    Unparsed = 5,
}

impl Counter {
    /// Number of counters.
    pub const COUNT: usize = 6;

    /// All counters, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Miss,
        Self::Emitted,
        Self::RingFull,
        Self::RateLimited,
        Self::SampledOut,
        Self::Unparsed,
    ];
}

/// The counters of one observation point on one CPU, indexed by [`Counter`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Counters {
    /// Packets, by [`Counter`].
    pub packets: [u64; Counter::COUNT],
}

const _: () = assert!(size_of::<Counters>() == 48);

impl Counters {
    /// Number of packets in `counter`.
    #[must_use]
    pub const fn get(&self, counter: Counter) -> u64 {
        self.packets[counter as usize]
    }

    /// Number of packets that the program saw: the sum of all counters.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.packets.iter().sum()
    }

    /// The increase since the values `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            packets: since(&self.packets, &before.packets),
        }
    }

    /// Adds the counters of another CPU or point.
    pub fn add(&mut self, other: &Self) {
        add(&mut self.packets, &other.packets);
    }
}

/// The increase of counters since the values `before`.
pub(crate) fn since<const N: usize>(counters: &[u64; N], before: &[u64; N]) -> [u64; N] {
    core::array::from_fn(|index| counters[index].saturating_sub(before[index]))
}

/// Adds counters to their sums.
pub(crate) fn add<const N: usize>(sums: &mut [u64; N], counters: &[u64; N]) {
    for (sum, count) in sums.iter_mut().zip(counters) {
        *sum = sum.saturating_add(*count);
    }
}

/// Number of counter slots per namespace and place ([`crate::event::HopEvent::place`]): one for
/// each value of an interface index's low nine bits.
pub const SLOTS_PER_PLACE: u32 = 512;

/// Number of counter slots per namespace.
pub const SLOTS: u32 = SLOTS_PER_PLACE * PLACES as u32;

/// The counter slot of an observation point.
///
/// Interfaces whose indexes have the same low nine bits share a slot. Sums stay right, but
/// counters per point are those of all these interfaces. User space knows that and says so.
#[inline(always)]
#[must_use]
pub const fn slot(ifindex: u32, place: u8) -> u32 {
    (place as u32 * SLOTS_PER_PLACE) | (ifindex & (SLOTS_PER_PLACE - 1))
}

/// Stands for the index of an interface if several interfaces share a slot.
pub const SEVERAL: u32 = u32::MAX;

/// New entry of a slot whose entry is `known` (0 at first) when the interface `ifindex` is
/// observed there, too.
#[must_use]
pub const fn share(known: u32, ifindex: u32) -> u32 {
    if known == 0 || known == ifindex {
        ifindex
    } else {
        SEVERAL
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EGRESS, INGRESS, XDP};

    #[test]
    fn a_slot_knows_its_interface_until_there_are_several() {
        assert_eq!(share(0, 7), 7);
        assert_eq!(share(7, 7), 7);
        assert_eq!(slot(7, EGRESS), slot(7 + 512, EGRESS));
        assert_eq!(share(7, 7 + 512), SEVERAL);
        assert_eq!(share(SEVERAL, 7), SEVERAL);
    }

    #[test]
    fn places_have_slots_of_their_own() {
        let slots = [INGRESS, EGRESS, XDP].map(|place| slot(u32::MAX, place));
        assert!(slots.is_sorted_by(|one, other| one < other));
        assert_eq!(slots[2], SLOTS - 1);
        // Without XDP, there are two places.
        assert!(slots[1] < 2 * SLOTS_PER_PLACE);
    }
}
