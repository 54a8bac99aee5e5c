//! Whose packet was last seen in an sk_buff.
//!
//! A buffer holds one packet at a time, so the latest owner is the only one. Tracks know
//! which buffers are theirs; the table has a hash of each, and the track's slot.

use hashbrown::hash_table::Entry;

use super::Memory;
use crate::journey::index::{Id, spread};

/// How many buffers are known to be a track's: more than the segments of a super-packet.
/// A stranger may cut one into far more, and each look-up goes through them.
const MOST: usize = 1024;

/// An sk_buff: agent, and its address there.
pub(super) type Buffer = (u32, u64);

/// A place in the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    hash: u32,
    /// The slot of the track.
    slot: u32,
}

/// In the place of an sk_buff's address: there is no sk_buff yet, as at XDP.
const NONE: u64 = 0;

impl Memory {
    /// Whose packet was last seen in this sk_buff.
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

    /// Forgets that a buffer is the one of the track that was in this slot.
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
