//! Which interfaces a capture has: one for each observation point, and one for each
//! place of drops.

use hashbrown::HashMap;
use tracer_core::{
    journey::{Drop, Scene, Step},
    model::{Hello, Point},
};

use super::frame::Link;
use crate::view::HOST;

/// An interface of a capture.
pub(super) struct Interface {
    /// `node/interface/direction`, in a pod's namespace `node/pod/interface/direction`;
    /// of drops, `drop` stands for the direction.
    pub(super) name: String,
    /// What it is on the packet's way.
    pub(super) description: String,
    /// What its frames begin with.
    pub(super) link: Link,
    /// The kernel of its node, if that is known.
    pub(super) kernel: Option<String>,
}

/// The interfaces, in the order in which they were first needed.
///
/// A point that goes and comes back is the same one: it has the same name.
#[derive(Default)]
pub(super) struct Interfaces {
    all: Vec<Interface>,
    by_name: HashMap<(String, Link), u32>,
}

impl Interfaces {
    /// The number of the interface that a step was seen at.
    pub(super) fn of_step(&mut self, scene: &Scene, step: &Step, link: Link) -> u32 {
        let point = scene.point(step);
        let node = &scene.nodes[step.node];
        let name = point_name(&node.node, point);
        self.numbered(node, name, link, || description(point))
    }

    /// The number of the interface of drops at a place.
    pub(super) fn of_drop(&mut self, scene: &Scene, drop: &Drop) -> u32 {
        let interface = drop.device.as_deref().unwrap_or("-");
        let node = &scene.nodes[drop.node];
        let name = name(&node.node, &drop.netns, interface, "drop");
        self.numbered(node, name, Link::Raw, || {
            "where the kernel drops".to_owned()
        })
    }

    fn numbered(
        &mut self,
        node: &Hello,
        name: String,
        link: Link,
        description: impl FnOnce() -> String,
    ) -> u32 {
        let all = &mut self.all;
        let entry = self.by_name.entry((name, link));
        *entry.or_insert_with_key(|(name, link)| {
            all.push(Interface {
                name: name.clone(),
                description: description(),
                link: *link,
                kernel: node.kernel.as_ref().map(ToString::to_string),
            });
            u32::try_from(all.len() - 1).expect("fewer places than 32 bits can count")
        })
    }

    /// Adds the points at which nothing was seen.
    pub(super) fn rest(&mut self, scene: &Scene) {
        for hello in scene.nodes.iter() {
            for point in &hello.points {
                let key = (point_name(&hello.node, point), Link::Raw);
                if !self.by_name.contains_key(&key) {
                    self.numbered(hello, key.0, Link::Ethernet, || description(point));
                }
            }
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Interface] {
        &self.all
    }
}

fn point_name(node: &str, point: &Point) -> String {
    name(node, &point.netns, &point.interface, point.place())
}

fn name(node: &str, netns: &str, interface: &str, last: &str) -> String {
    if netns == HOST {
        format!("{node}/{interface}/{last}")
    } else {
        format!("{node}/{netns}/{interface}/{last}")
    }
}

fn description(point: &Point) -> String {
    let mut text = point.why.clone();
    if !point.kind.is_empty() {
        text = format!("{}: {text}", point.kind);
    }
    text
}
