//! pcapng, as Wireshark and tshark read it.
//!
//! A packet for each hop, on an interface for each observation point, and one for each
//! drop, on an interface of its own for each place of drops. Where a hop's frame was captured,
//! that is the packet; else its headers are rebuilt. Comments say which journey
//! it is of and what became of that. Journeys come in the order of their verdicts, and
//! readers of captures expect the order of time: so packets are sorted.

mod blocks;
mod frame;
mod interfaces;
mod merged;
mod names;

use std::{fs::File, io, path::PathBuf};

use tracer_core::{
    journal::{Selected, Started, View},
    journey::{Class, Drop, Journey, Scene, Step},
    verdict::{Parts, Summary, Verdict},
};

use self::{
    blocks::{Capture, Packet},
    frame::{Frame, Range},
    interfaces::Interfaces,
    merged::Merged,
    names::record,
};
use super::{
    names::Names,
    output::Output,
    sorted::{Key, Sorter},
};
use crate::{
    stdio,
    view::{drop_json, hop_json, outcome},
};

/// Writes packets once all are known.
pub(super) struct Pcapng<'a> {
    output: &'a mut Output,
    /// Whether each interface gets a file of its own.
    split: bool,
    /// Recordings that are put in as they are.
    carried: Vec<File>,
    follow: String,
    interfaces: Interfaces,
    names: Names,
    packets: Sorter,
    /// Whether any frame was captured.
    has_captured: bool,
}

impl<'a> Pcapng<'a> {
    pub(super) fn new(output: &'a mut Output, split: bool) -> Self {
        Self {
            packets: Sorter::new(output.directory()),
            output,
            split,
            carried: Vec::new(),
            follow: String::new(),
            interfaces: Interfaces::default(),
            names: Names::default(),
            has_captured: false,
        }
    }

    /// Puts the recordings in, too, so that they can be read back without loss. What can
    /// be read once only is left out.
    ///
    /// # Errors
    /// If one is not there any more.
    pub(super) fn carry(&mut self, recordings: &[PathBuf]) -> io::Result<()> {
        for path in recordings {
            let (_, file) = stdio::open(path)?;
            if stdio::is_dash(path) || !file.metadata()?.is_file() {
                self.carried.clear();
                return Ok(());
            }
            self.carried.push(file);
        }
        Ok(())
    }

    fn push(
        &mut self,
        time: i64,
        interface: u32,
        frame: &Frame,
        comments: [&str; 2],
    ) -> io::Result<()> {
        let key = Key {
            group: if self.split { interface } else { 0 },
            time,
        };
        let packet = Packet {
            interface,
            frame,
            comments,
        };
        self.packets.push(key, &packet.to_bytes())
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
            self.push(step.time, interface, &frame, [&comment, &json])?;
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
            self.push(frame.time, interface, &captured, [&comment, json])?;
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
        // As it was where it was seen last.
        let frame = match journey.steps.last() {
            Some(step) => Frame::of(&journey.packet_at(step), step.ttl, drop.part),
            None => Frame::of(&journey.packet, journey.packet.ttl, drop.part),
        };
        let interface = self.interfaces.of_drop(scene, drop);
        let comment = format!(
            "#{} freed: {} in {} | {said}{REBUILT}",
            journey.id, drop.reason, drop.function
        );
        self.push(drop.time, interface, &frame, [&comment, &json])
    }
}

/// Ends the first comment of a packet that is rebuilt, and of one that is as it was.
const REBUILT: &str = " | headers rebuilt";
const CAPTURED: &str = " | bytes captured";

/// Which journey's hop a packet is, and what became of that.
fn hop_comment(journey: &Journey, number: usize, said: &str) -> String {
    let (hop, hops) = (number + 1, journey.steps.len());
    format!("#{} hop {hop} of {hops} | {said}", journey.id)
}

impl View for Pcapng<'_> {
    fn started(&mut self, _: &Scene, started: &Started) -> io::Result<()> {
        self.follow.clone_from(&started.follow);
        Ok(())
    }

    fn journey(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        parts: &Parts,
    ) -> io::Result<()> {
        self.names.take(scene, journey);
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
        Ok(())
    }

    fn summary(&mut self, scene: &Scene, _: &Summary, _: Option<&Selected>) -> io::Result<()> {
        self.interfaces.rest(scene);
        let packets = std::mem::replace(&mut self.packets, Sorter::new(self.output.directory()));
        let how = if self.has_captured {
            "frames are as they were captured, where a comment does not say that headers are rebuilt"
        } else {
            "headers are rebuilt from what tracer saw, and payload was not captured"
        };
        let about = format!("{}; {how}", self.follow);
        let interfaces = self.interfaces.all();
        let names: Vec<_> = self.names.all(scene).map(record).collect();
        if !self.split {
            let mut capture = Capture::begin(self.output.file("")?, &about)?;
            for interface in interfaces {
                capture.interface(interface)?;
            }
            capture.names(&names)?;
            let mut merged =
                Merged::new(|key: Key, packet: &[u8]| capture.packet(None, key.time, packet));
            packets.each(|key, packet| merged.push(key, packet))?;
            merged.end()?;
            for (number, recording) in (0..).zip(&self.carried) {
                capture.recording(number, recording)?;
            }
            return capture.end();
        }
        // In the order of interfaces, so that one file is open at a time.
        let mut open: Option<(u32, Capture<_>)> = None;
        let mut merged = Merged::new(|key: Key, packet: &[u8]| {
            if open.as_ref().is_none_or(|(group, _)| *group != key.group) {
                if let Some((_, capture)) = open.take() {
                    capture.end()?;
                }
                let interface = &interfaces[key.group as usize];
                let name = format!("{}.pcapng", interface.name);
                let mut capture = Capture::begin(self.output.file(&name)?, &about)?;
                capture.interface(interface)?;
                capture.names(&names)?;
                open = Some((key.group, capture));
            }
            match &mut open {
                Some((_, capture)) => capture.packet(Some(0), key.time, packet),
                None => Ok(()),
            }
        });
        packets.each(|key, packet| merged.push(key, packet))?;
        merged.end()?;
        open.map_or(Ok(()), |(_, capture)| capture.end())
    }
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
