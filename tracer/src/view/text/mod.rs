//! Text for people, written live, on at least 80 columns.
//!
//! Somebody with a broken Service looks for the last hop, for the hop that took long, and for the
//! change of the node. So hops stand in columns, one below the other. A node is named where it
//! changes, and fields that stay the same from hop to hop are dim.

mod changes;
mod conclusion;
mod condensed;
mod drops;
mod flow;
mod journey;
mod line;
mod pace;
mod summary;

use std::io::{self, Write};

pub use self::condensed::Condensed;
pub(crate) use self::summary::doubts;
pub(super) use self::{
    flow::{Flow, shorten},
    summary::accounting,
};
use tracer_core::{
    journal::{Changed, Selected, Started, View},
    journey::{Journey, Scene},
    verdict::{Parts, Summary, Verdict},
};

use super::{HOST, Look, moment::Moment, words};

/// Number of nodes that are named. Further ones are only counted.
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

/// The description of the follow, and warnings about what may hide packets.
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
    if !scene.is_one_clock() {
        flow.words(
            palette.dim,
            "Times marked ~ lie between two nodes and are as exact as their clocks agree.",
        );
        flow.line();
    }
    flow
}

/// An interface's name, and whether it is a pod's own interface.
fn interface(netns: &str, name: &str) -> String {
    /// An interface's name has up to 15 characters. A pod's own interface nearly always has the
    /// name eth0.
    const WIDTH: usize = 15;
    const POD: &str = " (pod)";

    if netns == HOST {
        shorten(name, WIDTH)
    } else {
        shorten(name, WIDTH - POD.len()) + POD
    }
}
