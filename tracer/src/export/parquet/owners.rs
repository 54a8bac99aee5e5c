//! A row for each time that a pod, node or Service had an address.

use std::net::IpAddr;

use tracer_core::model::Owned;

use super::column::{Column, Kind, Takes, Text, Time, table};

/// An address, whose it is, and when.
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
    address: Text = of.address, "The address.";
    kind: Text = of.owned.owner.kind.name(), "`pod`, `node`, `service`, `unserved`: a Service without a ready endpoint, `empty`: one without any, or `endpoint`: an address that a Service's EndpointSlice has and that is no pod's.";
    name: Text = &of.owned.owner.name, "`namespace/name` of a pod or Service, or the node's name.";
    node: Option<Text> = of.node(), "The node that it is on; null of Services, and where it is not known.";
    since: Option<Time> = of.owned.from, "From when on; null: from before the recording.";
    until: Option<Time> = of.owned.until, "Until when, exclusive; null: no end is known.";
}
