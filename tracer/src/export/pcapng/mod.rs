//! pcapng, as Wireshark and tshark read it.
//!
//! A packet for each hop, on an interface for each observation point, and one for each
//! drop, on an interface of its own for each place of drops. Where a hop's frame was captured,
//! that is the packet; else its headers are rebuilt. Comments say which journey
//! it is of and what became of that. Journeys come in the order of their verdicts, and
//! readers of files expect the order of time: so a file's packets are sorted. Readers of a
//! stream get the packets of a journey once it has its verdict.

mod blocks;
mod frame;
mod interfaces;
mod merged;
mod names;
mod packets;
pub(super) mod profile;
mod stream;

use std::{fs::File, io, path::PathBuf};

use tracer_core::{
    journal::{Selected, Started, View},
    journey::{Journey, Scene},
    verdict::{Parts, Summary, Verdict},
};

pub(crate) use self::stream::Stream;
use self::{blocks::Capture, merged::Merged, names::record, packets::Packets};
use super::{
    names::Names,
    output::Output,
    sorted::{Key, Sorter},
};
use crate::stdio;

/// Writes packets once all are known.
pub(super) struct Pcapng<'a> {
    output: &'a mut Output,
    /// Whether each interface gets a file of its own.
    split: bool,
    /// Recordings that are put in as they are.
    carried: Vec<File>,
    follow: String,
    names: Names,
    packets: Packets,
    sorter: Sorter,
}

impl<'a> Pcapng<'a> {
    pub(super) fn new(output: &'a mut Output, split: bool) -> Self {
        Self {
            sorter: Sorter::new(output.directory()),
            output,
            split,
            carried: Vec::new(),
            follow: String::new(),
            names: Names::default(),
            packets: Packets::default(),
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
        for made in self.packets.of(scene, journey, verdict, parts)? {
            let key = Key {
                group: if self.split { made.interface } else { 0 },
                time: made.time,
            };
            self.sorter.push(key, &made.bytes)?;
        }
        Ok(())
    }

    fn summary(&mut self, scene: &Scene, _: &Summary, _: Option<&Selected>) -> io::Result<()> {
        self.packets.interfaces.rest(scene);
        let packets = std::mem::replace(&mut self.sorter, Sorter::new(self.output.directory()));
        let about = about(&self.follow, self.packets.has_captured);
        let interfaces = self.packets.interfaces.all();
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
            return capture.flush();
        }
        // In the order of interfaces, so that one file is open at a time.
        let mut open: Option<(u32, Capture<_>)> = None;
        let mut merged = Merged::new(|key: Key, packet: &[u8]| {
            if open.as_ref().is_none_or(|(group, _)| *group != key.group) {
                if let Some((_, mut capture)) = open.take() {
                    capture.flush()?;
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
        open.map_or(Ok(()), |(_, mut capture)| capture.flush())
    }
}

/// What a capture is about.
fn about(follow: &str, has_captured: bool) -> String {
    let how = if has_captured {
        "frames are as they were captured, where a comment does not say that headers are rebuilt"
    } else {
        "headers are rebuilt from what tracer saw, and payload was not captured"
    };
    format!("{follow}; {how}")
}
