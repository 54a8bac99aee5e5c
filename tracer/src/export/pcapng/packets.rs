//! The packets of a journey: one for each of its hops, and one for each drop.

use std::io;

use tracer_core::{
    journey::{Class, Drop, Journey, Scene, Step},
    verdict::{Parts, Verdict},
};

use super::{
    blocks::Packet,
    frame::{Frame, Range},
    interfaces::Interfaces,
};
use crate::view::{drop_json, hop_json, outcome};

/// Makes the packets of a capture.
#[derive(Default)]
pub(super) struct Packets {
    /// Where its packets were seen.
    pub(super) interfaces: Interfaces,
    /// Whether any frame was captured.
    pub(super) has_captured: bool,
    made: Vec<Made>,
}

/// A packet that has to be written.
pub(super) struct Made {
    /// Unix time, ns.
    pub(super) time: i64,
    pub(super) interface: u32,
    /// As [`super::blocks::Capture::packet`] reads it.
    pub(super) bytes: Vec<u8>,
}

impl Packets {
    /// Those of a journey.
    ///
    /// # Errors
    /// If a hop cannot be written as JSON.
    pub(super) fn of(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        parts: &Parts,
    ) -> io::Result<Vec<Made>> {
        let said = said(scene, journey, verdict, parts);
        for step in journey.steps.iter().enumerate() {
            self.hop(scene, journey, step, &said)?;
        }
        let ends = journey.drops.iter().filter(|drop| {
            // Copies, and packets that had arrived, are freed as well.
            let class = drop.judgement.class;
            class.is_suspect() || class == Class::Refusal || journey.steps.is_empty()
        });
        for drop in ends {
            self.drop(scene, journey, drop, &said)?;
        }
        Ok(std::mem::take(&mut self.made))
    }

    fn push(&mut self, time: i64, interface: u32, frame: &Frame, comments: [&str; 2]) {
        let packet = Packet {
            interface,
            frame,
            comments,
        };
        self.made.push(Made {
            time,
            interface,
            bytes: packet.to_bytes(),
        });
    }

    fn hop(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        (number, step): (usize, &Step),
        said: &str,
    ) -> io::Result<()> {
        let json = hop_json(scene, journey, number)?;
        if !step.frames().is_empty() {
            return self.captured(scene, journey, (number, step), said, &json);
        }
        let ranges: &[Range] = &step.parts;
        for (index, range) in ranges.iter().enumerate() {
            let frame = Frame::at(scene, journey, step, *range);
            let interface = self.interfaces.of_step(scene, step, frame.link);
            let mut comment = hop_comment(journey, number, said);
            if ranges.len() > 1 {
                comment += &format!(
                    " | part {} of {}: bytes {} to {}",
                    index + 1,
                    ranges.len(),
                    range.0,
                    range.1
                );
            }
            if step.segments > 1 {
                comment += &format!(" | {} segments, shown as one packet", step.segments);
            }
            if let Some(encap) = step.encap.filter(|encap| encap.levels > 1) {
                comment += &format!(
                    " | in {} tunnels, of which only the innermost is shown",
                    encap.levels
                );
            }
            comment += REBUILT;
            self.push(step.time, interface, &frame, [&comment, &json]);
        }
        Ok(())
    }

    /// A packet for each frame that was captured of a step.
    fn captured(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        (number, step): (usize, &Step),
        said: &str,
        json: &str,
    ) -> io::Result<()> {
        self.has_captured = true;
        for frame in step.frames() {
            let captured = Frame::captured(step, frame);
            let interface = self.interfaces.of_step(scene, step, captured.link);
            let mut comment = hop_comment(journey, number, said);
            if frame.segments > 1 {
                comment += &format!(" | {} segments, not cut yet", frame.segments);
            }
            comment += CAPTURED;
            self.push(frame.time, interface, &captured, [&comment, json]);
        }
        Ok(())
    }

    fn drop(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        drop: &Drop,
        said: &str,
    ) -> io::Result<()> {
        let json = drop_json(scene, drop)?;
        // The frame is the one of the last hop.
        let frame = match journey.steps.last() {
            Some(step) => Frame::of(&journey.packet_at(step), step.ttl, drop.part),
            None => Frame::of(&journey.packet, journey.packet.ttl, drop.part),
        };
        let interface = self.interfaces.of_drop(scene, drop);
        let comment = format!(
            "#{} freed: {} in {} | {said}{REBUILT}",
            journey.id, drop.reason, drop.function
        );
        self.push(drop.time, interface, &frame, [&comment, &json]);
        Ok(())
    }
}

/// The end of the first comment, for a rebuilt packet and for a captured one.
const REBUILT: &str = " | headers rebuilt";
const CAPTURED: &str = " | bytes captured";

/// Which journey's hop a packet is, and what became of that.
fn hop_comment(journey: &Journey, number: usize, said: &str) -> String {
    let (hop, hops) = (number + 1, journey.steps.len());
    format!("#{} hop {hop} of {hops} | {said}", journey.id)
}

/// What became of a journey, in one line.
fn said(scene: &Scene, journey: &Journey, verdict: &Verdict, parts: &Parts) -> String {
    let mut said = outcome::text(scene, journey, verdict, parts);
    if let Some(drop) = verdict.drop.map(|index| &journey.drops[index]) {
        said += &format!(" | reason {} in {}", drop.reason, drop.function);
    }
    if let Some(cause) = verdict.cause {
        said += &format!(" | cause {}", cause.name());
    }
    said + " | confidence " + verdict.confidence.name()
}
