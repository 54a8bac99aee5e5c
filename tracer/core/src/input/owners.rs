//! Changes in the cluster while a follow runs: addresses get or lose owners.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::{Owned, Owner, OwnerKind, Owners};

/// Addresses that get or lose an owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnersChange {
    /// Time from which the change holds, Unix time, ns. In a recording, the row's `time`.
    #[serde(skip)]
    pub time: i64,
    /// Owners that lose an address. They are applied first, because an address may be lost and
    /// gained at one time.
    #[serde(default)]
    pub lost: Vec<Lost>,
    /// Owners that gain an address.
    #[serde(default)]
    pub gained: Vec<Gained>,
    /// Additional requested destinations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<IpNet>,
}

/// An object that loses an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The address.
    pub address: IpAddr,
    /// `namespace/name` of a pod or Service, or a node's name.
    pub name: String,
    /// Kind of the object.
    pub kind: OwnerKind,
}

/// An object that gains an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gained {
    /// The address.
    pub address: IpAddr,
    /// The new owner.
    #[serde(flatten)]
    pub owner: Owner,
}

impl OwnersChange {
    /// Applies the change. A second time, it has no effect.
    pub fn apply(&self, owners: &mut Owners) {
        for Lost {
            address,
            name,
            kind,
        } in &self.lost
        {
            owners.lost(*address, name, *kind, self.time);
        }
        for Gained { address, owner } in &self.gained {
            owners.gained(*address, owner.clone(), self.time);
        }
    }

    /// The changes, in order of time, that lead from one state of all owners to another.
    pub fn between(one: &Owners, other: &Owners) -> impl Iterator<Item = Self> {
        let mut changes: BTreeMap<i64, Self> = BTreeMap::new();
        for (address, Owned { owner, from, until }) in other.iter() {
            let known = one.of(address).iter();
            let known = || known.clone().filter(|known| known.owner == *owner);
            if !known().any(|known| known.from == *from) {
                let gained = Gained {
                    address,
                    owner: owner.clone(),
                };
                let change = changes.entry(from.unwrap_or(i64::MIN)).or_default();
                change.gained.push(gained);
            }
            if let Some(until) = *until
                && !known().any(|known| known.until == Some(until))
            {
                changes.entry(until).or_default().lost.push(Lost {
                    address,
                    name: owner.name.clone(),
                    kind: owner.kind,
                });
            }
        }
        let timed = |(time, change)| Self { time, ..change };
        changes.into_iter().map(timed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn address() -> impl Strategy<Value = IpAddr> {
        (0..2_u8).prop_map(|last| IpAddr::from([10, 244, 1, last]))
    }

    fn owner() -> impl Strategy<Value = Owner> {
        (0..3_u8, 0..2_u8).prop_map(|(name, node)| Owner {
            name: format!("default/{name}"),
            kind: OwnerKind::Pod,
            node: format!("node-{node}"),
        })
    }

    fn changes() -> impl Strategy<Value = Vec<OwnersChange>> {
        let lost = (address(), owner()).prop_map(|(address, owner)| Lost {
            address,
            name: owner.name,
            kind: owner.kind,
        });
        let gained = (address(), owner()).prop_map(|(address, owner)| Gained { address, owner });
        let change = (0..5_i64, vec(lost, 0..2), vec(gained, 0..2));
        let changes = vec(change, 0..5);
        // Each change is later than the one before.
        changes.prop_map(|changes| {
            let mut now = 0;
            let timed = |(later, lost, gained)| {
                now += later;
                OwnersChange {
                    time: now,
                    lost,
                    gained,
                    asked: Vec::new(),
                }
            };
            changes.into_iter().map(timed).collect()
        })
    }

    fn at_each_time(owners: &Owners) -> Vec<Vec<(IpAddr, Owner)>> {
        let own = |(address, owner): (IpAddr, &Owner)| (address, owner.clone());
        let at = |time| owners.all_at(time).map(own).collect();
        (-1..30).map(at).collect()
    }

    proptest! {
        #[test]
        fn to_take_changes_in_again_changes_nothing(changes in changes()) {
            let mut owners = Owners::default();
            for change in &changes {
                change.apply(&mut owners);
                let once = owners.clone();
                change.apply(&mut owners);
                prop_assert_eq!(&owners, &once);
            }
        }

        #[test]
        fn what_was_not_told_is_made_up_for(
            before in vec((address(), owner()), 0..3),
            changes in changes(),
        ) {
            let mut known = Owners::from_iter(before);
            let mut whole = known.clone();
            changes.iter().for_each(|change| change.apply(&mut whole));
            let missed: Vec<_> = OwnersChange::between(&known, &whole).collect();
            missed.iter().for_each(|change| change.apply(&mut known));
            prop_assert_eq!(at_each_time(&known), at_each_time(&whole));
        }
    }
}
