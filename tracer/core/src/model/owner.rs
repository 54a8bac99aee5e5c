//! Who owns which address.

use serde::{Deserialize, Serialize};

/// Who owns an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// `namespace/name` of a pod, or a node's name.
    pub name: String,
    /// Pod or node.
    pub kind: OwnerKind,
    /// The node that it is on.
    pub node: String,
}

/// What kind of object owns an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OwnerKind {
    /// A pod with an address of its own.
    Pod,
    /// A node: its own addresses, those of its bridge and overlay device.
    Node,
}
