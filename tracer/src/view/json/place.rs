//! An observation point, as lines name it.

use schemars::JsonSchema;
use serde::Serialize;
use tracer_core::{
    journey::Scene,
    model::{Direction, Hello, Point},
    verdict,
};

/// An observation point by its names.
#[derive(JsonSchema, Serialize)]
pub(in crate::view) struct Place<'a> {
    /// Name of the node, as the cluster knows it.
    node: &'a str,
    /// `host`, or `namespace/name` of the pod whose network namespace it is.
    netns: &'a str,
    /// Name of the interface within that network namespace.
    interface: &'a str,
    /// Whether packets come in from the interface or go out through it, as that network namespace
    /// sees it.
    direction: Direction,
    /// How the program is attached: `tcx`, `clsact`, `xdp` or `xdp-generic`; `capture` for an
    /// imported capture.
    hook: &'a str,
}

impl<'a> Place<'a> {
    pub(super) fn of(hello: &'a Hello, point: &'a Point) -> Self {
        Self {
            node: &hello.node,
            netns: &point.netns,
            interface: &point.interface,
            direction: point.direction,
            hook: &point.hook,
        }
    }

    /// The point `point` of the node `node`.
    pub(super) fn numbered(scene: &'a Scene, node: usize, point: usize) -> Self {
        let hello = &scene.nodes[node];
        Self::of(hello, &hello.points[point])
    }

    /// A point that sums of recordings name.
    pub(in crate::view) fn named(place: &'a verdict::Place) -> Self {
        Self {
            node: &place.node,
            netns: &place.netns,
            interface: &place.interface,
            direction: place.direction,
            hook: &place.hook,
        }
    }
}
