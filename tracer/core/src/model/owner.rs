//! Who owns which address, and when.
//!
//! A cluster gives the address of a deleted pod to another pod. So an owner has an address
//! during an interval, and a lookup is for one time. An unknown time is `None`: an owner from
//! an objects file counts for as long as nothing else is known.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// How many intervals of one address are kept. If an address changes hands more often, the
/// interval that ended first is forgotten.
const MAX_INTERVALS: usize = 64;

/// Who owns an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// `namespace/name` of a pod or Service, or a node's name.
    pub name: String,
    /// Kind of object that owns the address.
    pub kind: OwnerKind,
    /// Node that has the owner; empty if the node is not known, for a Service, and for a
    /// Service's endpoint that is no pod.
    pub node: String,
}

/// What kind of object owns an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnerKind {
    /// A pod with an address of its own.
    Pod,
    /// A node, by the addresses of its interfaces, its bridge and its overlay device.
    Node,
    /// A Service, whose virtual address is no interface's.
    Service,
    /// A Service without a ready endpoint.
    Unserved,
    /// A Service without any endpoint.
    Empty,
    /// An address in a Service's EndpointSlice that is no pod's. The address may be outside of
    /// the cluster, or no longer in use. The owner's name is the Service's.
    Endpoint,
}

impl OwnerKind {
    /// The kind's name in recordings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Node => "node",
            Self::Service => "service",
            Self::Unserved => "unserved",
            Self::Empty => "empty",
            Self::Endpoint => "endpoint",
        }
    }

    /// Whether the owner is a Service, with ready endpoints or without.
    #[must_use]
    pub const fn is_service(self) -> bool {
        matches!(self, Self::Service | Self::Unserved | Self::Empty)
    }
}

impl Owner {
    /// Whether this owner is the object of that name and kind, on whatever node.
    fn is(&self, name: &str, kind: OwnerKind) -> bool {
        self.kind == kind && self.name == name
    }
}

/// An owner of an address, and the interval during which it has the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The owner.
    pub owner: Owner,
    /// Begin of the interval, Unix time, ns; `None` if the begin is not known.
    pub from: Option<i64>,
    /// End of the interval, exclusive, Unix time, ns; `None` if no end is known.
    pub until: Option<i64>,
}

impl Owned {
    fn holds(&self, time: i64) -> bool {
        let began = self.from.is_none_or(|from| from <= time);
        began && self.until.is_none_or(|until| time < until)
    }

    const fn is_empty(&self) -> bool {
        matches!((self.from, self.until), (Some(from), Some(until)) if from >= until)
    }

    /// Extends this interval by another one of the same owner, if the two overlap or touch.
    /// Returns whether they did.
    fn absorb(&mut self, other: &Self) -> bool {
        let reaches = |one: &Self, other: &Self| {
            let ends = one.until.zip(other.from);
            ends.is_none_or(|(until, from)| from <= until)
        };
        let joined = self.owner == other.owner && reaches(self, other) && reaches(other, self);
        if joined {
            self.from = self.from.min(other.from);
            self.until = self.until.zip(other.until).map(|(a, b)| a.max(b));
        }
        joined
    }
}

/// Who owns which address, and when.
///
/// Several objects may have one address at the same time, which is a fault. Then the object
/// that got the address last counts as its owner. Among those that got it at the same time, the
/// first added counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Entry>", into = "Vec<Entry>")]
pub struct Owners {
    /// Intervals by address, in the order in which they begin. No list is empty.
    by_address: BTreeMap<IpAddr, SmallVec<[Owned; 1]>>,
}

impl Owners {
    /// The time to ask for an address's present owner.
    pub const LATEST: i64 = i64::MAX;

    /// The owner of an address at `time`, Unix time, ns; `None` if no owner is known.
    #[must_use]
    pub fn at(&self, address: IpAddr, time: i64) -> Option<&Owner> {
        owner_at(self.by_address.get(&address)?, time)
    }

    /// All addresses with an owner at `time`, Unix time, ns, and these owners.
    pub fn all_at(&self, time: i64) -> impl Iterator<Item = (IpAddr, &Owner)> {
        let addresses = self.by_address.iter();
        addresses.filter_map(move |(address, owned)| Some((*address, owner_at(owned, time)?)))
    }

    /// All intervals, by address and time.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, &Owned)> {
        let addresses = self.by_address.iter();
        addresses.flat_map(|(address, owned)| owned.iter().map(|owned| (*address, owned)))
    }

    /// All intervals of an address, by time.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> &[Owned] {
        self.by_address
            .get(&address)
            .map_or(&[], |owned| owned.as_slice())
    }

    /// Number of known addresses.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_address.len()
    }

    /// Whether no address is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    /// Sets the owner of an address at all times, in place of all other owners.
    pub fn insert(&mut self, address: IpAddr, owner: Owner) {
        self.by_address.remove(&address);
        self.add(
            address,
            Owned {
                owner,
                from: None,
                until: None,
            },
        );
    }

    /// Adds an interval to the known ones, and merges it with touching intervals of the same
    /// owner.
    pub fn add(&mut self, address: IpAddr, mut added: Owned) {
        if added.is_empty() {
            return;
        }
        let all = self.by_address.entry(address).or_default();
        // The added interval may close the gap between two known ones.
        while let Some(index) = all.iter().position(|owned| added.clone().absorb(owned)) {
            added.absorb(&all.remove(index));
        }
        let index = all.partition_point(|owned| owned.from <= added.from);
        all.insert(index, added);
        if all.len() > MAX_INTERVALS {
            let ended = all.iter().position(|owned| owned.until.is_some());
            all.remove(ended.unwrap_or(0));
        }
    }

    /// Notes that an address belongs to `owner` from `time` on, Unix time, ns. If a pod moved
    /// to another node, its interval on the old node ends.
    pub fn gained(&mut self, address: IpAddr, owner: Owner, time: i64) {
        if let Some(all) = self.by_address.get_mut(&address) {
            let same = all.iter().filter(|owned| owned.owner == owner);
            if same.into_iter().any(|owned| owned.holds(time)) {
                return;
            }
            end(all, &owner.name, owner.kind, time);
        }
        self.add(
            address,
            Owned {
                owner,
                from: Some(time),
                until: None,
            },
        );
    }

    /// Notes that an address no longer belongs to this object from `time` on, Unix time, ns.
    pub fn lost(&mut self, address: IpAddr, name: &str, kind: OwnerKind, time: i64) {
        if let Some(all) = self.by_address.get_mut(&address) {
            end(all, name, kind, time);
            if all.is_empty() {
                self.by_address.remove(&address);
            }
        }
    }
}

/// The owner of an address at a time; if there are several, the one that got it last.
fn owner_at(owned: &[Owned], time: i64) -> Option<&Owner> {
    let holders = owned.iter().rev().filter(|owned| owned.holds(time));
    let latest = holders.max_by_key(|owned| owned.from)?;
    Some(&latest.owner)
}

/// Ends those intervals of an object that contain `time`.
fn end(all: &mut SmallVec<[Owned; 1]>, name: &str, kind: OwnerKind, time: i64) {
    for owned in all.iter_mut() {
        if owned.owner.is(name, kind) && owned.holds(time) {
            owned.until = Some(time);
        }
    }
    all.retain(|owned| !owned.is_empty());
}

/// Owners that have their addresses at all times. If an address comes twice, its last owner
/// counts.
impl FromIterator<(IpAddr, Owner)> for Owners {
    fn from_iter<I: IntoIterator<Item = (IpAddr, Owner)>>(owners: I) -> Self {
        let mut all = Self::default();
        for (address, owner) in owners {
            all.insert(address, owner);
        }
        all
    }
}

impl FromIterator<(IpAddr, Owned)> for Owners {
    fn from_iter<I: IntoIterator<Item = (IpAddr, Owned)>>(owners: I) -> Self {
        let mut all = Self::default();
        for (address, owned) in owners {
            all.add(address, owned);
        }
        all
    }
}

/// An interval, in the form of recordings.
#[derive(Serialize, Deserialize)]
struct Entry {
    address: IpAddr,
    name: String,
    kind: OwnerKind,
    node: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

impl From<Vec<Entry>> for Owners {
    fn from(entries: Vec<Entry>) -> Self {
        let owned = |entry: Entry| {
            let owner = Owner {
                name: entry.name,
                kind: entry.kind,
                node: entry.node,
            };
            let (from, until) = (entry.from, entry.until);
            (entry.address, Owned { owner, from, until })
        };
        entries.into_iter().map(owned).collect()
    }
}

impl From<Owners> for Vec<Entry> {
    fn from(owners: Owners) -> Self {
        let entry = |(address, Owned { owner, from, until }): (IpAddr, &Owned)| Entry {
            address,
            name: owner.name.clone(),
            kind: owner.kind,
            node: owner.node.clone(),
            from: *from,
            until: *until,
        };
        owners.iter().map(entry).collect()
    }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
mod tests;
