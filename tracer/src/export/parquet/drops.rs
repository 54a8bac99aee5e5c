//! A row for each place where a kernel freed a journey's packet, or a copy of it.

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
    /// From 1.
    number: usize,
    decided: bool,
    facts: Vec<String>,
}

impl<'a> Freed<'a> {
    /// That of a number, from 0.
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
    journey: Integer = of.journey.id, "The journey.";
    drop: Integer = of.number, "Which of its drops, from 1.";
    time: Time = of.drop.time, "When the kernel freed it.";
    decided: Flag = of.decided, "Whether the verdict rests on it.";
    class: Text = of.drop.judgement.class.name(), "What reason and function mean: `loss`, `refusal`, `duplicate`, `delivered` (it had arrived), `flooded` (a copy) or `unknown`.";
    reason: Text = &of.drop.reason, "Why, as that kernel names it.";
    function: Text = &of.drop.function, "The kernel's function that freed it.";
    offset: Integer = of.drop.offset, "Where in the function, bytes.";
    cause: Option<Text> = of.drop.judgement.cause.map(Cause::name), "The [cause](json.md#causes), where one is known.";
    why: Text = of.drop.judgement.why, "The same in a phrase.";
    node: Text = &of.scene.nodes[of.drop.node].node, "The node.";
    netns: Text = &of.drop.netns, "`host`, or the pod whose network namespace it was in.";
    interface: Option<Text> = of.drop.device.as_deref(), "The interface, where it is known.";
    known_by: Text = drop_known_by(of.drop), "What told the namespace: `receiving socket`, `device`, `socket` or `last hop`.";
    seen: Integer = of.drop.part.1.saturating_sub(of.drop.part.0), "How much of the journey: payload bytes of TCP data, else 1.";
    facts: Texts = &of.facts, "What the agent read at that moment: JSON objects, as in [`facts`](json.md#facts).";
}
