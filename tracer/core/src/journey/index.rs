//! An index from keys to tracks. Each track tells its own key, so the index does not store keys.
//!
//! A key rarely has more than one track. So an entry of the table is twelve bytes: the hash of the
//! key, and the slot of the track.

use std::collections::VecDeque;

use hashbrown::{HashTable, hash_table::Entry as Slot};
use smallvec::SmallVec;

use super::slab::Slab;

/// A track: the number of its journey, which gives the order, and the slot that keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) number: u64,
    pub(super) slot: u32,
}

/// Tracks that something may belong to, by number. Usually there is one.
pub(super) type Candidates = SmallVec<[Id; 4]>;

/// What the index asks a track for.
#[derive(Clone, Copy)]
pub(super) struct Told {
    pub(super) number: u64,
    /// Whether other tracks with the same key are preferred.
    pub(super) settled: bool,
}

/// Tracks, by keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    table: HashTable<Entry>,
    many: Slab<Many>,
}

/// An entry of the table: the tracks of one key.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    at: At,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// The slot of the only track.
    One(u32),
    /// The slot of the list of tracks.
    Many(u32),
}

/// Several tracks with one key.
#[derive(Clone, Debug, Default)]
struct Many {
    /// Tracks that are not settled, in order of their numbers.
    open: VecDeque<Id>,
    /// Settled tracks, in the order in which they settled.
    settled: VecDeque<Id>,
}

impl Many {
    fn contains(&self, id: Id) -> bool {
        self.open.binary_search(&id).is_ok() || self.settled.contains(&id)
    }

    /// Removes a track, which is usually near the front.
    fn remove(&mut self, id: Id) {
        if let Ok(at) = self.open.binary_search(&id) {
            self.open.remove(at);
        } else if let Some(at) = self.settled.iter().position(|other| *other == id) {
            self.settled.remove(at);
        }
    }

    fn first(&self) -> Option<u32> {
        let first = self.open.front().or(self.settled.front());
        first.map(|id| id.slot)
    }

    fn is_empty(&self) -> bool {
        self.open.is_empty() && self.settled.is_empty()
    }
}

/// The tracks of a key, as found.
#[derive(Clone, Copy)]
pub(super) enum Found<'a> {
    None,
    One(u32),
    Many {
        /// Tracks that are not settled, in order of their numbers.
        open: &'a VecDeque<Id>,
        /// Settled tracks, in the order in which they settled.
        settled: &'a VecDeque<Id>,
    },
}

/// Spreads a hash over all 64 bits, because hash tables use the first and the last bits as they
/// are.
pub(super) const fn spread(hash: u32) -> u64 {
    (hash as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Index {
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    fn first(many: &Slab<Many>, at: At) -> Option<u32> {
        match at {
            At::One(slot) => Some(slot),
            At::Many(list) => many.get(list).and_then(Many::first),
        }
    }

    /// The tracks of the key with this hash. `is` says whether the track in a slot has the key.
    pub(super) fn get(&self, hash: u32, is: impl Fn(u32) -> bool) -> Found<'_> {
        let entry = self.table.find(spread(hash), |entry| {
            entry.hash == hash && Self::first(&self.many, entry.at).is_some_and(&is)
        });
        match entry.map(|entry| entry.at) {
            Some(At::One(slot)) => Found::One(slot),
            Some(At::Many(list)) => self.many.get(list).map_or(Found::None, |many| Found::Many {
                open: &many.open,
                settled: &many.settled,
            }),
            None => Found::None,
        }
    }

    /// Adds a track. Its number is greater than all numbers before. `tell` describes the track in a
    /// slot, if that track has the key.
    pub(super) fn push(&mut self, hash: u32, id: Id, tell: impl Fn(u32) -> Option<Told>) {
        let many = &mut self.many;
        let entry = self.table.entry(
            spread(hash),
            |entry| {
                let first = Self::first(many, entry.at).filter(|_| entry.hash == hash);
                first.is_some_and(|first| tell(first).is_some())
            },
            |entry| spread(entry.hash),
        );
        let mut entry = match entry {
            Slot::Vacant(place) => {
                let at = At::One(id.slot);
                place.insert(Entry { hash, at });
                return;
            }
            Slot::Occupied(entry) => entry,
        };
        match entry.get().at {
            At::One(slot) => {
                let mut list = Many::default();
                if let Some(Told { number, settled }) = tell(slot) {
                    let first = Id { number, slot };
                    let ids = if settled {
                        &mut list.settled
                    } else {
                        &mut list.open
                    };
                    ids.push_back(first);
                }
                list.open.push_back(id);
                entry.get_mut().at = At::Many(many.insert(list));
            }
            At::Many(list) => {
                if let Some(list) = many.get_mut(list) {
                    list.open.push_back(id);
                }
            }
        }
    }

    /// Notes that a track has settled.
    pub(super) fn settle(&mut self, hash: u32, id: Id) {
        let many = &self.many;
        let entry = self.table.find(spread(hash), |entry| match entry.at {
            At::Many(list) if entry.hash == hash => {
                many.get(list).is_some_and(|list| list.contains(id))
            }
            _ => false,
        });
        if let Some(Entry {
            at: At::Many(list), ..
        }) = entry
            && let Some(list) = self.many.get_mut(*list)
        {
            list.remove(id);
            list.settled.push_back(id);
        }
    }

    /// Removes a track from the index.
    pub(super) fn remove(&mut self, hash: u32, id: Id) {
        let many = &mut self.many;
        let entry = self.table.find_entry(spread(hash), |entry| {
            entry.hash == hash
                && match entry.at {
                    At::One(slot) => slot == id.slot,
                    At::Many(list) => many.get(list).is_some_and(|list| list.contains(id)),
                }
        });
        let Ok(entry) = entry else {
            return;
        };
        if let At::Many(at) = entry.get().at {
            let list = many.get_mut(at);
            if list.is_some_and(|list| {
                list.remove(id);
                !list.is_empty()
            }) {
                return;
            }
            many.remove(at);
        }
        entry.remove();
    }
}
