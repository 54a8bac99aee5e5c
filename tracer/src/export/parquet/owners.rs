//! The table `owners`: a row for each interval in which a pod, node or Service had an address.

use std::net::IpAddr;

use tracer_core::model::Owned;

use super::column::{Column, Kind, Takes, Text, Time, table};

/// An address, with an owner and its interval.
pub(super) struct Held<'a> {
    pub(super) address: IpAddr,
    pub(super) owned: &'a Owned,
}

impl Held<'_> {
    fn node(&self) -> Option<&str> {
        Some(&*self.owned.owner.node).filter(|node| !node.is_empty())
    }
}

table! {
    "Owners, by address and time.", of: Held<'_>;
    address: Text = of.address, "IP address.";
    kind: Text = of.owned.owner.kind.name(), "Kind of owner: `pod`, `node`, `service`, `unserved` (a Service without a ready endpoint), `empty` (a Service without any endpoint) or `endpoint` (an address in a Service's EndpointSlice that is no pod's).";
    name: Text = &of.owned.owner.name, "`namespace/name` of the pod or Service, or name of the node; for `endpoint`, the Service's name.";
    node: Option<Text> = of.node(), "Node that has the owner; null for a Service, and if the node is not known.";
    since: Option<Time> = of.owned.from, "Time from which the owner has the address; null: from before the recording.";
    until: Option<Time> = of.owned.until, "Time until which the owner has the address, exclusive; null: no end is known.";
}
