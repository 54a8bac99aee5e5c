//! The track whose packet was last seen in an sk_buff.
//!
//! An sk_buff holds one packet at a time, so only its latest owner counts. Tracks know their
//! sk_buffs. The table has the hash of each sk_buff, and the slot of the track.

use hashbrown::hash_table::Entry;

use super::Memory;
use crate::journey::index::{Id, spread};

/// Maximum number of sk_buffs of a track: more than the segments of a super-packet. A stranger may
/// cut a packet into far more, and each look-up compares them all.
const MOST: usize = 1024;

/// An sk_buff: index of the agent, and the sk_buff's address there.
pub(super) type Buffer = (u32, u64);

/// An entry of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    hash: u32,
    /// The slot of the track.
    slot: u32,
}

/// Stands for a missing address: at XDP there is no sk_buff yet.
const NONE: u64 = 0;

impl Memory {
    /// The track whose packet was last seen in this sk_buff.
    pub(in crate::journey) fn owner(&self, node: usize, skb: u64) -> Option<Id> {
        if skb == NONE {
            return None;
        }
        let buffer = buffer(node, skb);
        let hash = self.hash(&buffer);
        let is = |owner: &Owner| {
            let track = self.tracks.get(owner.slot);
            owner.hash == hash && track.is_some_and(|track| track.skbs.contains(&buffer))
        };
        let slot = self.owners.find(spread(hash), is)?.slot;
        self.id(slot)
    }

    /// Notes that a track's packet was seen in this sk_buff.
    pub(super) fn own(&mut self, node: usize, skb: u64, id: Id) {
        if skb == NONE {
            return;
        }
        let buffer = buffer(node, skb);
        let hash = self.hash(&buffer);
        let tracks = &mut self.tracks;
        let entry = self.owners.entry(
            spread(hash),
            |owner| {
                let track = tracks.get(owner.slot);
                owner.hash == hash && track.is_some_and(|track| track.skbs.contains(&buffer))
            },
            |owner| spread(owner.hash),
        );
        let slot = id.slot;
        match entry {
            Entry::Occupied(mut entry) => {
                let before = std::mem::replace(&mut entry.get_mut().slot, slot);
                if before == slot {
                    return;
                }
                if let Some(track) = tracks.get_mut(before) {
                    track.skbs.retain(|other| *other != buffer);
                }
            }
            Entry::Vacant(entry) => {
                entry.insert(Owner { hash, slot });
            }
        }
        let Some(track) = tracks.get_mut(slot) else {
            return;
        };
        track.skbs.push(buffer);
        if track.skbs.len() > MOST {
            let oldest = track.skbs.remove(0);
            self.disown(oldest, slot);
        }
    }

    /// Forgets that an sk_buff belongs to the track in this slot.
    pub(super) fn disown(&mut self, buffer: Buffer, slot: u32) {
        let hash = self.hash(&buffer);
        let is = |owner: &Owner| owner.hash == hash && owner.slot == slot;
        if let Ok(entry) = self.owners.find_entry(spread(hash), is) {
            entry.remove();
        }
    }
}

fn buffer(node: usize, skb: u64) -> Buffer {
    (u32::try_from(node).expect("few agents"), skb)
}
