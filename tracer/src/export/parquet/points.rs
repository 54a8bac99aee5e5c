//! The table `points`: a row for each observation point.

use tracer_core::{
    journey::Scene,
    model::{Hello, Point},
};

use super::column::{Column, Integer, Kind, Takes, Text, Texts, Time, table};

/// An observation point with its number.
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
    point: Integer = of.number, "Number of the observation point, from 1. A point that went and came back has two numbers.";
    node: Text = &of.hello.node, "Name of the node.";
    netns: Text = &of.point.netns, "`host`, or the pod that has the point's network namespace.";
    interface: Text = &of.point.interface, "Name of the interface.";
    direction: Text = of.point.direction, "`ingress` or `egress`, as the network namespace sees it.";
    hook: Text = &of.point.hook, "Kind of attachment of the program: `tcx`, `clsact`, `xdp` or `xdp-generic`. `capture` if the packets come from an imported capture.";
    role: Text = of.point.role.name(), "Place of the interface on the path: `pod`, `veth`, `bridge`, `overlay` or `uplink`.";
    kind: Text = &of.point.kind, "Kind of the interface, by the kernel's name; empty for a physical interface.";
    addresses: Texts = &of.point.addresses, "Addresses behind the point: those of the pod for a pod's interfaces, else those of the interface.";
    since: Option<Time> = of.since(), "Time from which the point was observed; null: from the beginning.";
    until: Option<Time> = of.until(), "Time when the agent noticed that the point was gone; null: observed until the end.";
    why: Text = &of.point.why, "How the agent found the interface.";
}
