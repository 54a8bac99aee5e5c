//! Whose packet was last seen in an sk_buff.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable, hash_table::Entry};

use crate::journey::index::Id;

/// Tracks by agent and sk_buff. A buffer holds one packet at a time, so the latest owner
/// is the only one.
#[derive(Debug, Default)]
pub(super) struct Owners {
    table: HashTable<Owner>,
    hasher: DefaultHashBuilder,
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    skb: u64,
    node: u32,
    /// The slot of the track.
    slot: u32,
}

impl Owner {
    const fn place(&self) -> (u32, u64) {
        (self.node, self.skb)
    }
}

impl Owners {
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The slot of the owner of a buffer.
    pub(super) fn get(&self, place: (u32, u64)) -> Option<u32> {
        let hash = hash(&self.hasher, place);
        let owner = self.table.find(hash, |owner| owner.place() == place)?;
        Some(owner.slot)
    }

    /// Makes a track the owner of a buffer. Returns whether it was not.
    pub(super) fn set(&mut self, place: (u32, u64), id: Id) -> bool {
        let hasher = &self.hasher;
        let entry = self.table.entry(
            hash(hasher, place),
            |owner| owner.place() == place,
            |owner| hash(hasher, owner.place()),
        );
        match entry {
            Entry::Occupied(mut entry) => {
                let before = std::mem::replace(&mut entry.get_mut().slot, id.slot);
                before != id.slot
            }
            Entry::Vacant(entry) => {
                let (node, skb) = place;
                entry.insert(Owner {
                    skb,
                    node,
                    slot: id.slot,
                });
                true
            }
        }
    }

    /// Forgets that a buffer is this track's, if it is.
    pub(super) fn forget(&mut self, place: (u32, u64), id: Id) {
        let hash = hash(&self.hasher, place);
        let is = |owner: &Owner| owner.place() == place && owner.slot == id.slot;
        if let Ok(entry) = self.table.find_entry(hash, is) {
            entry.remove();
        }
    }
}

fn hash(hasher: &DefaultHashBuilder, (node, skb): (u32, u64)) -> u64 {
    // Addresses have less than 64 bits, and agents are few: the two seldom meet.
    hasher.hash_one(skb ^ u64::from(node) << 48)
}
