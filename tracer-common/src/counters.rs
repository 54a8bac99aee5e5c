//! Where every packet and every event went.
//!
//! A program counts each packet that it sees at an observation point in exactly one of these, per CPU
//! and per observation point, so that their sum is the kernel's own `run_cnt`
//! of the program.
//!
//! Invariant 3 (ARCHITECTURE.md): the accounting balances. A new way out of a program
//! needs a counter.

use crate::event::PLACES;

/// What became of one packet at one observation point.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Does not belong to the follow.
    Miss = 0,
    /// Belongs to it, and its event is in the ring buffer.
    Emitted = 1,
    /// Belongs to it, but the ring buffer had no room: a lost event.
    RingFull = 2,
    /// Belongs to it, but the event budget of this moment was spent: a lost
    /// event.
    RateLimited = 3,
    /// Belongs to it, but its flow or content is not in the sample.
    SampledOut = 4,
    /// Carries a header that the walk cannot read: short, of an impossible
    /// length, nested too deep, or of a kind that is not followed. Cannot be
    /// told to belong or not.
    Unparsed = 5,
}

impl Counter {
    /// How many there are.
    pub const COUNT: usize = 6;

    /// All, in the order of their numbers.
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
    /// Packets counted in `counter`.
    #[must_use]
    pub const fn get(&self, counter: Counter) -> u64 {
        self.packets[counter as usize]
    }

    /// Packets the program ran on.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.packets.iter().sum()
    }

    /// What was counted since they were `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            packets: since(&self.packets, &before.packets),
        }
    }

    /// Adds another CPU's, or another point's, counters to these.
    pub fn add(&mut self, other: &Self) {
        add(&mut self.packets, &other.packets);
    }
}

/// What was counted since counters were `before`.
pub(crate) fn since<const N: usize>(counters: &[u64; N], before: &[u64; N]) -> [u64; N] {
    core::array::from_fn(|index| counters[index].saturating_sub(before[index]))
}

/// Adds counters to their sums.
pub(crate) fn add<const N: usize>(sums: &mut [u64; N], counters: &[u64; N]) {
    for (sum, count) in sums.iter_mut().zip(counters) {
        *sum = sum.saturating_add(*count);
    }
}

/// How many counter slots a namespace has for each place ([`crate::event::HopEvent::place`]):
/// one for each value of an interface index's low bits.
pub const SLOTS_PER_PLACE: u32 = 512;

/// How many it has in all.
pub const SLOTS: u32 = SLOTS_PER_PLACE * PLACES as u32;

/// The counter slot of an observation point.
///
/// Interfaces whose indexes agree in their low nine bits share a slot. Sums
/// stay right; per-point figures are then those of both, which user space
/// knows and says.
#[inline(always)]
#[must_use]
pub const fn slot(ifindex: u32, place: u8) -> u32 {
    (place as u32 * SLOTS_PER_PLACE) | (ifindex & (SLOTS_PER_PLACE - 1))
}

/// In place of an interface's index: several that share a slot.
pub const SEVERAL: u32 = u32::MAX;

/// What a slot's entry becomes that is `known`, 0 at first, when `ifindex` is
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
        // Without XDP there is room for two places.
        assert!(slots[1] < 2 * SLOTS_PER_PLACE);
    }
}
