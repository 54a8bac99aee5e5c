//! The headers around packets at each step, and the packets' ends there.
//!
//! All packets of a flow have the same frame at a point. So each frame is kept only once, as long
//! as a step has it.

use std::hash::{BuildHasher as _, Hash, Hasher};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::slab::Slab;
use crate::model::{Encap, Ends, Hop, Mac};

/// The bits of a VLAN tag's control information that hold the VLAN identifier (IEEE 802.1Q, 9.6).
const VLAN_ID: u16 = 0xfff;

/// The headers around a packet at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) src_mac: Option<Mac>,
    pub(super) dst_mac: Option<Mac>,
    pub(super) vlan: Option<u16>,
    pub(super) encap: Option<Encap>,
    /// The packet's ends, if they differ from those that its track is found by.
    pub(super) ends: Option<Ends>,
}

impl Frame {
    pub(super) fn of(hop: &Hop, ends: Option<Ends>) -> Self {
        Self {
            ends,
            src_mac: hop.src_mac,
            dst_mac: hop.dst_mac,
            vlan: hop.vlan.map(|control| control & VLAN_ID),
            encap: hop.encap,
        }
    }
}

/// Writes few machine words, because the frame of each step is looked up.
impl Hash for Frame {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mac = |mac: Option<Mac>| {
            let [a, b, c, d, e, f] = mac.unwrap_or_default().0;
            u64::from_be_bytes([0, 0, a, b, c, d, e, f])
        };
        state.write_u64(mac(self.src_mac) << 16 | u64::from(self.vlan.unwrap_or(0)));
        state.write_u64(mac(self.dst_mac));
        if let Some(ends) = &self.ends {
            super::content::write_ends(ends.src, ends.dst, state);
            state.write_u32(u32::from(ends.src_port) << 16 | u32::from(ends.dst_port));
        }
        if let Some(encap) = &self.encap {
            super::content::write_ends(encap.outer_src, encap.outer_dst, state);
            let kind = u64::from(encap.levels) << 8 | encap.kind as u64;
            state.write_u64(u64::from(encap.vni.unwrap_or(0)) << 16 | kind);
        }
    }
}

/// The frames that steps have.
#[derive(Clone, Debug, Default)]
pub(super) struct Frames {
    table: HashTable<u32>,
    frames: Slab<Held>,
    hasher: DefaultHashBuilder,
}

#[derive(Clone, Debug)]
struct Held {
    frame: Frame,
    hash: u64,
    /// Number of steps that have this frame.
    steps: u32,
}

impl Frames {
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The frame of a step, by its number.
    pub(super) fn get(&self, number: u32) -> &Frame {
        let held = self.frames.get(number);
        &held.expect("a step holds its frame").frame
    }

    /// Adds one more step that has this frame. Returns the frame's number.
    pub(super) fn hold(&mut self, frame: &Frame) -> u32 {
        let hash = self.hasher.hash_one(frame);
        let frames = &mut self.frames;
        let is = |number: &u32| frames.get(*number).is_some_and(|held| held.frame == *frame);
        if let Some(number) = self.table.find(hash, is).copied() {
            if let Some(held) = frames.get_mut(number) {
                held.steps += 1;
            }
            return number;
        }
        let number = frames.insert(Held {
            frame: *frame,
            hash,
            steps: 1,
        });
        let hash_of = |number: &u32| frames.get(*number).map_or(0, |held| held.hash);
        self.table.insert_unique(hash, number, hash_of);
        number
    }

    /// Removes one step that has this frame.
    pub(super) fn release(&mut self, number: u32) {
        let Some(held) = self.frames.get_mut(number) else {
            return;
        };
        held.steps -= 1;
        if held.steps > 0 {
            return;
        }
        let hash = held.hash;
        if let Ok(entry) = self.table.find_entry(hash, |other| *other == number) {
            entry.remove();
        }
        self.frames.remove(number);
    }
}
