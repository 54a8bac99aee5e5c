//! A row for each observation point.

use tracer_core::{
    journey::Scene,
    model::{Hello, Point},
};

use super::column::{Column, Integer, Kind, Takes, Text, Texts, Time, table};

/// An observation point, and its number.
pub(super) struct Numbered<'a> {
    scene: &'a Scene,
    node: usize,
    hello: &'a Hello,
    point: &'a Point,
    number: i64,
}

impl<'a> Numbered<'a> {
    pub(super) fn new(scene: &'a Scene, node: usize, point: usize, number: i64) -> Self {
        let hello = &scene.nodes[node];
        Self {
            scene,
            node,
            hello,
            point: &hello.points[point],
            number,
        }
    }

    fn since(&self) -> Option<i64> {
        (self.point.since > 0).then(|| self.scene.since(self.node, self.point))
    }

    fn until(&self) -> Option<i64> {
        let until = self.scene.until(self.node, self.point);
        self.point.until.map(|_| until)
    }
}

table! {
    "Observation points, by number.", of: Numbered<'_>;
    point: Integer = of.number, "Its number, from 1. A point that went and came back has two.";
    node: Text = &of.hello.node, "The node.";
    netns: Text = &of.point.netns, "`host`, or the pod whose network namespace it is.";
    interface: Text = &of.point.interface, "The interface.";
    direction: Text = of.point.direction, "`ingress` or `egress`, as the namespace sees it.";
    hook: Text = &of.point.hook, "How the program was attached: `tcx`, `clsact`, `xdp` or `xdp-generic`; `capture` where packets are those of an imported capture.";
    role: Text = of.point.role.name(), "The interface's place on the way: `pod`, `veth`, `bridge`, `overlay` or `uplink`.";
    kind: Text = &of.point.kind, "The interface's kind, as the kernel names it; empty of a physical one.";
    addresses: Texts = &of.point.addresses, "Addresses behind the point: the pod's for its interfaces, else the interface's own.";
    since: Option<Time> = of.since(), "Since when it was observed; null: from the beginning.";
    until: Option<Time> = of.until(), "When it was noticed to be gone; null: until the end.";
    why: Text = &of.point.why, "How the interface was found.";
}
