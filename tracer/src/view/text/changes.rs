//! Changes on a node, one line for each interface.

use tracer_core::{
    journal::Changed,
    journey::Scene,
    model::{Point, Role},
};

use super::flow::{Flow, shorten};
use crate::view::{HOST, Look, moment::Moment};

/// An interface's name has up to 15 characters.
const NAME: usize = 15;

pub(super) fn show(look: &Look, scene: &Scene, changed: &Changed) -> Flow {
    let hello = &scene.nodes[changed.node];
    let mut flow = Flow::new(look.width);
    let palette = look.palette;
    flow.indent(2);
    let mut say = |words: &str| {
        flow.put(palette.dim, &look.zone.clock(Moment(changed.time)));
        flow.words(palette.odd, &format!("{}:", hello.node));
        flow.words(palette.plain, words);
        flow.line();
    };
    if changed.leaves {
        say("no longer watched: no known end of the follow is there");
        flow.line();
        return flow;
    }
    // By now, the address may belong to another pod.
    let before = changed.time.saturating_sub(1);
    let gone = changed.gone.iter().filter_map(|at| hello.points.get(*at));
    let gone = once_each(gone);
    let points = hello.points.get(changed.points.clone());
    let points = once_each(points.unwrap_or_default().iter());
    let is_among = |all: &[&Point], point: &Point| all.iter().any(|other| is_same(other, point));
    for point in gone.iter().filter(|point| !is_among(&points, point)) {
        say(&format!("{} is gone", name(scene, point, before)));
    }
    for point in &points {
        let how = if is_among(&gone, point) {
            "observing anew"
        } else {
            "now also observing"
        };
        say(&format!("{how} {}", name(scene, point, changed.time)));
    }
    for note in &changed.notes {
        say(note);
    }
    flow.line();
    flow
}

/// The interfaces of these points. Both directions count as one.
fn once_each<'a>(points: impl Iterator<Item = &'a Point>) -> Vec<&'a Point> {
    let mut interfaces: Vec<&Point> = Vec::new();
    for point in points {
        if !interfaces.iter().any(|other| is_same(other, point)) {
            interfaces.push(point);
        }
    }
    interfaces
}

fn is_same(one: &Point, other: &Point) -> bool {
    (one.ifindex, &one.netns) == (other.ifindex, &other.netns)
}

/// An interface, and its owner at a time.
fn name(scene: &Scene, point: &Point, time: i64) -> String {
    let interface = shorten(&point.interface, NAME);
    if point.netns != HOST {
        return format!("{interface} (in pod {})", point.netns);
    }
    let pods: Vec<&str> = point
        .addresses
        .iter()
        .filter_map(|address| scene.pod(*address, time))
        .collect();
    let what = match (point.role, pods.first()) {
        (Role::Veth | Role::Pod, Some(pod)) => format!("pod {pod}"),
        (Role::Veth | Role::Pod, None) => "pod".to_owned(),
        (Role::Bridge, _) => "bridge".to_owned(),
        (Role::Overlay, _) => "overlay".to_owned(),
        (Role::Uplink, _) => "uplink".to_owned(),
    };
    format!("{interface} ({what})")
}
