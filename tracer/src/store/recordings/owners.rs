//! Joins what several recordings know of the owners of addresses.
//!
//! A recording knows owners for its own time. If two differ in the owner of an address, both
//! may be right, each for its own time. Then both are read to their ends for later changes. A
//! contradiction at one time is refused.

use std::{
    collections::{BTreeSet, VecDeque},
    net::IpAddr,
    path::PathBuf,
};

use tracer_core::{
    input::{OwnersChange, Record},
    model::{Owned, Owner, Owners},
};

use super::chain::Chain;
use crate::store::error::JoinError;

/// The owners that a recording knows, and its time from begin to end, Unix time, ns.
struct Known {
    path: PathBuf,
    owners: Owners,
    changes: Vec<OwnersChange>,
    from: i64,
    to: i64,
}

/// The joined owners of all recordings.
pub(super) struct Joined {
    pub(super) owners: Owners,
    /// Whether these owners include all changes until the ends.
    pub(super) complete: bool,
}

/// Joins the owners of recordings. `groups` are the pieces of each recording.
pub(super) fn joined(chains: &[Chain], groups: &[VecDeque<PathBuf>]) -> Result<Joined, JoinError> {
    let heads: Vec<Owners> = chains.iter().map(head_owners).collect();
    let disputed = disputed(&heads);
    let undisputed = |owners: &Owners| {
        let all = owners.iter();
        let others = all.filter(|(address, _)| !disputed.contains(address));
        let own = |(address, owned): (IpAddr, &Owned)| (address, owned.clone());
        others.map(own).collect::<Vec<_>>()
    };
    let mut owners: Owners = heads.iter().flat_map(undisputed).collect();
    if disputed.is_empty() {
        return Ok(Joined {
            owners,
            complete: false,
        });
    }
    let known: Vec<Known> = chains
        .iter()
        .zip(groups)
        .map(|(chain, pieces)| Known::of(chain, pieces.clone()))
        .collect();
    let mut changes: Vec<_> = known.iter().flat_map(|known| &known.changes).collect();
    changes.sort_by_key(|change| change.time);
    changes.iter().for_each(|change| change.apply(&mut owners));
    let mut owners: Owners = undisputed(&owners).into_iter().collect();
    let hold = chains.iter().map(|chain| chain.head().hold).max();
    for address in &disputed {
        for (index, one) in known.iter().enumerate() {
            for other in &known[..index] {
                refuse_contradiction(*address, other, one, hold.unwrap_or(0))?;
            }
            for owned in one.owners.of(*address) {
                owners.add(*address, one.clipped(owned, &known));
            }
        }
    }
    Ok(Joined {
        owners,
        complete: true,
    })
}

/// Addresses whose owners differ between recordings.
fn disputed(heads: &[Owners]) -> BTreeSet<IpAddr> {
    let mut disputed = BTreeSet::new();
    for (index, head) in heads.iter().enumerate() {
        for (address, _) in head.iter() {
            let others = heads[..index].iter().map(|other| other.of(address));
            let mut others = others.filter(|owned| !owned.is_empty());
            if others.any(|owned| owned != head.of(address)) {
                disputed.insert(address);
            }
        }
    }
    disputed
}

/// The owners in a recording's head, with the shifted Unix times of all recordings.
fn head_owners(chain: &Chain) -> Owners {
    let shift = chain.shifted();
    let later = |time: &Option<i64>| time.map(|time| time.saturating_add(shift));
    let owned = |(address, Owned { owner, from, until }): (IpAddr, &Owned)| {
        let owned = Owned {
            owner: owner.clone(),
            from: later(from),
            until: later(until),
        };
        (address, owned)
    };
    chain.head().owners.iter().map(owned).collect()
}

impl Known {
    /// All owners that a recording knows at its end.
    fn of(chain: &Chain, pieces: VecDeque<PathBuf>) -> Self {
        let mut owners = head_owners(chain);
        let mut changes = Vec::new();
        let (from, mut to) = (chain.begun(), chain.begun());
        if let Ok(mut again) = Chain::open(pieces) {
            again.shift(chain.shifted());
            // An unreadable file is reported when it is read in its turn.
            while let Ok(Some((_, record))) = again.read() {
                if let Record::Owners(change) = record {
                    change.apply(&mut owners);
                    changes.push(*change);
                }
            }
            to = to.max(again.ended());
        }
        Self {
            path: chain.path().to_owned(),
            owners,
            changes,
            from,
            to,
        }
    }

    /// An interval, limited to this recording's time if other recordings know the time before
    /// or after it.
    fn clipped(&self, owned: &Owned, all: &[Self]) -> Owned {
        let is_first = all.iter().all(|other| self.from <= other.from);
        let is_last = all.iter().all(|other| other.to <= self.to);
        let end = self.to.saturating_add(1);
        Owned {
            owner: owned.owner.clone(),
            from: if is_first {
                owned.from
            } else {
                owned.from.max(Some(self.from))
            },
            until: if is_last {
                owned.until
            } else {
                Some(owned.until.map_or(end, |until| until.min(end)))
            },
        }
    }
}

/// Refuses two recordings with different owners of an address at one time. A watch hears of a
/// change a little late, so a difference that ends within the hold time is no contradiction.
fn refuse_contradiction(
    address: IpAddr,
    one: &Known,
    other: &Known,
    hold: i64,
) -> Result<(), JoinError> {
    let (from, to) = (one.from.max(other.from), one.to.min(other.to));
    if from > to {
        return Ok(());
    }
    let (ones, others) = (one.owners.of(address), other.owners.of(address));
    let changes = ones.iter().chain(others);
    let changes = changes
        .flat_map(|owned| [owned.from, owned.until])
        .flatten();
    let mut times: BTreeSet<i64> = changes.filter(|time| (from..=to).contains(time)).collect();
    times.insert(from);
    let mut since = None;
    for time in times {
        let owner = |known: &Known| known.owners.at(address, time).cloned();
        match owner(one).zip(owner(other)) {
            Some((a, b)) if (&a.name, a.kind) != (&b.name, b.kind) => {
                since.get_or_insert((time, a, b));
            }
            _ => match since.take() {
                Some((since, a, b)) if time.saturating_sub(since) > hold => {
                    return Err(contradiction(address, since, (one, a), (other, b)));
                }
                _ => {}
            },
        }
    }
    match since {
        Some((since, a, b)) => Err(contradiction(address, since, (one, a), (other, b))),
        None => Ok(()),
    }
}

fn contradiction(
    address: IpAddr,
    time: i64,
    (one, known): (&Known, Owner),
    (other, owner): (&Known, Owner),
) -> JoinError {
    JoinError::Clusters {
        path: other.path.clone(),
        address,
        owner: owner.name,
        other: one.path.clone(),
        known: known.name,
        time,
    }
}
