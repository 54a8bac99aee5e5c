//! A capture that somebody reads while it is written.
//!
//! Nothing is known in advance, so each block comes before the first packet that needs it:
//! an interface, and the name of an address. The packets of a journey come together, once
//! the journey has its verdict, so packets of two journeys are not in the order of time.
//! What a capture has no place for, such as events that were lost, is told to people.

use std::{
    io::{self, BufWriter, Write},
    net::IpAddr,
};

use hashbrown::HashMap;
use tracer_core::{
    journal::{Changed, Selected, Started, View},
    journey::{Journey, Scene},
    verdict::{Parts, Summary, Verdict},
};

use super::{super::names, about, blocks::Capture, names::record, packets::Packets};
use crate::{terminal::tell, view::doubts};

/// Writes each journey's packets as they come.
pub(crate) struct Stream<W: Write> {
    capture: Begun<W>,
    follow: String,
    packets: Packets,
    /// How many interfaces the capture has.
    described: usize,
    /// How many owners each address had when it was named.
    named: HashMap<IpAddr, usize>,
}

/// A capture, once it is known what it is about.
enum Begun<W: Write> {
    Not(Option<W>),
    Yes(Capture<BufWriter<W>>),
}

impl<W: Write> Stream<W> {
    /// Writes to `out`.
    pub(crate) fn new(out: W) -> Self {
        Self {
            capture: Begun::Not(Some(out)),
            follow: String::new(),
            packets: Packets::default(),
            described: 0,
            named: HashMap::new(),
        }
    }

    /// Describes the interfaces that are new.
    fn describe(&mut self, scene: &Scene) -> io::Result<&mut Capture<BufWriter<W>>> {
        if let Begun::Not(out) = &mut self.capture {
            let has_captured = scene.nodes.iter().any(|hello| hello.snaplen > 0);
            let about = about(&self.follow, has_captured);
            let out = out.take().ok_or(io::ErrorKind::BrokenPipe)?;
            self.capture = Begun::Yes(Capture::begin(BufWriter::new(out), &about)?);
        }
        let Begun::Yes(capture) = &mut self.capture else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let interfaces = self.packets.interfaces.all();
        for interface in &interfaces[self.described..] {
            capture.interface(interface)?;
        }
        self.described = interfaces.len();
        Ok(capture)
    }

    /// The addresses of a journey that have no name yet, or have got another owner.
    fn names(&mut self, scene: &Scene, journey: &Journey) -> Vec<(IpAddr, String)> {
        let mut new = Vec::new();
        for address in names::addresses(scene, journey) {
            let owners = scene.owners.of(address).len();
            if self.named.insert(address, owners) != Some(owners) {
                new.push((address, names::name(scene, address)));
            }
        }
        new
    }
}

impl<W: Write> View for Stream<W> {
    fn started(&mut self, scene: &Scene, started: &Started) -> io::Result<()> {
        started.warnings.iter().for_each(|warning| tell(warning));
        self.follow.clone_from(&started.follow);
        self.describe(scene)?.flush()
    }

    fn changed(&mut self, scene: &Scene, changed: &Changed) -> io::Result<()> {
        let node = &scene.nodes[changed.node].node;
        for note in &changed.notes {
            tell(&format!("{node}: {note}"));
        }
        Ok(())
    }

    fn journey(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        parts: &Parts,
    ) -> io::Result<()> {
        let mut packets = self.packets.of(scene, journey, verdict, parts)?;
        packets.sort_by_key(|made| made.time);
        let names = self.names(scene, journey);
        let capture = self.describe(scene)?;
        let names: Vec<_> = names.into_iter().map(record).collect();
        capture.names(&names)?;
        for made in packets {
            capture.packet(None, made.time, &made.bytes)?;
        }
        capture.flush()
    }

    /// Points without packets have an interface, too.
    fn summary(
        &mut self,
        scene: &Scene,
        summary: &Summary,
        _: Option<&Selected>,
    ) -> io::Result<()> {
        doubts(summary).iter().for_each(|doubt| tell(doubt));
        self.packets.interfaces.rest(scene);
        let described = self.describe(scene).and_then(Capture::flush);
        // Who reads no more needs none of them, and the follow still has a result.
        match described {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            described => described,
        }
    }
}
