//! The table `drops`: a row for each time that a kernel freed a journey's packet, or a copy of
//! it.

use std::io;

use tracer_core::{
    journey::{Drop, Journey, Scene},
    model::Cause,
    verdict::Verdict,
};

use super::column::{Column, Flag, Integer, Kind, Takes, Text, Texts, Time, table};
use crate::view::{drop_known_by, facts_json};

/// A drop of a journey.
pub(super) struct Freed<'a> {
    scene: &'a Scene,
    journey: &'a Journey,
    drop: &'a Drop,
    /// Number of the drop within its journey, from 1.
    number: usize,
    decided: bool,
    facts: Vec<String>,
}

impl<'a> Freed<'a> {
    /// The journey's drop with this number, from 0.
    pub(super) fn new(
        scene: &'a Scene,
        journey: &'a Journey,
        verdict: &Verdict,
        number: usize,
    ) -> io::Result<Self> {
        let drop = &journey.drops[number];
        Ok(Self {
            scene,
            journey,
            drop,
            number: number + 1,
            decided: verdict.drop == Some(number),
            facts: facts_json(drop)?,
        })
    }
}

table! {
    "Drops, by time.", of: Freed<'_>;
    journey: Integer = of.journey.id, "Number of the journey.";
    drop: Integer = of.number, "Number of the drop within its journey, from 1.";
    time: Time = of.drop.time, "Time when the kernel freed the packet.";
    decided: Flag = of.decided, "Whether this drop decided the verdict.";
    class: Text = of.drop.judgement.class.name(), "Meaning of reason and function together: `loss`, `refusal`, `duplicate`, `delivered` (the packet had arrived), `flooded` (a copy for another machine) or `unknown`.";
    reason: Text = &of.drop.reason, "Drop reason, by the name in that node's kernel.";
    function: Text = &of.drop.function, "Kernel function that freed the packet.";
    offset: Integer = of.drop.offset, "Offset in this function, bytes.";
    cause: Option<Text> = of.drop.judgement.cause.map(Cause::name), "[Cause](json.md#causes) of the drop; null if it is not known.";
    why: Text = of.drop.judgement.why, "Meaning of reason and function, in a phrase.";
    node: Text = &of.scene.nodes[of.drop.node].node, "Name of the node.";
    netns: Text = &of.drop.netns, "`host`, or the pod in whose network namespace the packet was.";
    interface: Option<Text> = of.drop.device.as_deref(), "Name of the interface; null if it is not known.";
    known_by: Text = drop_known_by(of.drop), "What told the network namespace: `receiving socket`, `device`, `socket` (the packet's own) or `last hop`.";
    seen: Integer = of.drop.part.1.saturating_sub(of.drop.part.0), "Part of the journey that was dropped here: payload bytes of TCP data, else 1.";
    facts: Texts = &of.facts, "What the agent read at the time of the drop: JSON objects, as in [`facts`](json.md#facts).";
}
