//! What changes in the cluster while a follow runs: who owns an address.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::model::{Owner, OwnerKind, Owners};

/// Which addresses get or lose an owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnersChange {
    /// From when on, Unix time, ns. In a recording, the row's time.
    #[serde(skip)]
    pub time: i64,
    /// Who has an address no longer. It comes first: an address may be lost and gained
    /// at one time.
    #[serde(default)]
    pub lost: Vec<Lost>,
    /// Who has one from then on.
    #[serde(default)]
    pub gained: Vec<Gained>,
}

/// An object that has an address no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The address.
    pub address: IpAddr,
    /// `namespace/name` of a pod or Service, or a node's name.
    pub name: String,
    /// Which of them.
    pub kind: OwnerKind,
}

/// An object that has an address from then on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gained {
    /// The address.
    pub address: IpAddr,
    /// Whose it is.
    #[serde(flatten)]
    pub owner: Owner,
}

impl OwnersChange {
    /// Takes the change into what is known. To take it in again changes nothing.
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
}
