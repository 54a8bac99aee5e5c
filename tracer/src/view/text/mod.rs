//! Text for people, live, on the columns that there are, at least 80.
//!
//! What somebody with a broken service looks for is the hop after which
//! nothing comes, the one that took long, and where the packet changed its
//! node; so hops stand below each other in columns, a node is named where it
//! changes, and what stays the same from hop to hop steps back.

mod changes;
mod conclusion;
mod condensed;
mod drops;
mod flow;
mod journey;
mod line;
mod pace;
mod summary;
pub(super) mod words;

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

pub use self::condensed::Condensed;
pub(crate) use self::summary::doubts;
pub(crate) use self::words::packet as packet_words;
pub(super) use self::{
    flow::{Flow, Palette, shorten},
    summary::{Weight, accounting},
};
use tracer_core::{
    journal::{Changed, Selected, Started, View},
    journey::{Journey, Scene},
    verdict::{Parts, Summary, Verdict},
};

use super::{HOST, Look, moment::Moment};

/// How many nodes are named before the rest is only counted.
const NAMED_NODES: usize = 6;

/// Writes text.
#[derive(Debug)]
pub struct Text<W> {
    out: W,
    look: Look,
}

impl<W: Write> Text<W> {
    /// Writes to `out`.
    pub const fn new(out: W, look: Look) -> Self {
        Self { out, look }
    }

    fn show(&mut self, flow: Flow) -> io::Result<()> {
        self.out.write_all(flow.finish().as_bytes())?;
        self.out.flush()
    }
}

impl<W: Write> View for Text<W> {
    fn started(&mut self, scene: &Scene, started: &Started) -> io::Result<()> {
        self.show(ready(&self.look, scene, started))
    }

    fn changed(&mut self, scene: &Scene, changed: &Changed) -> io::Result<()> {
        self.show(changes::show(&self.look, scene, changed))
    }

    fn journey(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        parts: &Parts,
    ) -> io::Result<()> {
        self.show(journey::show(&self.look, scene, journey, verdict, *parts))
    }

    fn summary(
        &mut self,
        scene: &Scene,
        summary: &Summary,
        selected: Option<&Selected>,
    ) -> io::Result<()> {
        self.show(summary::show(&self.look, scene, summary, selected))
    }
}

/// What is followed, and what could hide packets.
fn ready(look: &Look, scene: &Scene, started: &Started) -> Flow {
    let mut flow = Flow::new(look.width);
    let palette = look.palette;
    let points: usize = scene.nodes.iter().map(|hello| hello.points.len()).sum();
    let names = scene.nodes.iter().map(|hello| hello.node.as_str());
    let nodes = if scene.nodes.len() > NAMED_NODES {
        let names: Vec<_> = names.take(NAMED_NODES - 1).collect();
        let more = scene.nodes.len() - names.len();
        format!("{} and {more} more", names.join(", "))
    } else {
        names.collect::<Vec<_>>().join(", ")
    };
    flow.indent(2);
    flow.words(palette.plain, "following");
    flow.words(palette.strong, &format!("{}:", started.follow));
    flow.words(
        palette.plain,
        &format!(
            "{} on {nodes}; times in {};",
            words::count(points, "observation point"),
            look.zone.name(Moment(started.time))
        ),
    );
    flow.put(palette.plain, "Ctrl-C ends");
    flow.line();
    for warning in &started.warnings {
        flow.words(palette.odd, "warning:");
        flow.words(palette.plain, warning);
        flow.line();
    }
    let boots: BTreeSet<_> = scene.nodes.iter().map(|hello| &hello.boot_id).collect();
    if boots.len() > 1 {
        flow.words(
            palette.dim,
            "Times marked ~ lie between two nodes and are as exact as their clocks agree.",
        );
        flow.line();
    }
    flow
}

/// An interface's name, and whether it is a pod's own.
fn interface(netns: &str, name: &str) -> String {
    /// A kernel's names have up to 15 characters; a pod's own interface is
    /// eth0 nearly always.
    const WIDTH: usize = 15;
    const POD: &str = " (pod)";

    if netns == HOST {
        shorten(name, WIDTH)
    } else {
        shorten(name, WIDTH - POD.len()) + POD
    }
}
