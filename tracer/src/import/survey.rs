//! What is in captures, before anything is made of them: a look through all of each.
//!
//! What is wrong with the arguments is said before anything is written. And what a capture
//! says of itself, such as how many packets it missed, comes at its end.

use std::collections::BTreeMap;

use super::{
    ImportError,
    capture::{Capture, Captured, Input, Item},
    interface::{Interface, Statistics},
    link::Link,
    place::Place,
};
use crate::stdio;

/// What is in a file.
pub(super) struct Survey {
    /// What it is called.
    pub(super) name: String,
    pub(super) interfaces: Vec<Interface>,
    /// By interface and, where packets of several are in one, its index.
    pub(super) spots: BTreeMap<(usize, Option<u32>), Spot>,
    /// How far packets are out of order, ns.
    pub(super) disorder: u64,
    /// Packets of which it is not known when they were there.
    pub(super) timeless: u64,
    /// How many recordings it carries.
    pub(super) carried: u32,
    /// How many of them to their ends.
    pub(super) whole: u32,
    pub(super) cut: bool,
}

/// The packets of one place.
#[derive(Default)]
pub(super) struct Spot {
    pub(super) packets: u64,
    /// When the first and the last was there, Unix time, ns.
    pub(super) first: u64,
    pub(super) last: u64,
    /// Whether each packet says which way it went.
    pub(super) directed: bool,
    /// What the capture says of itself; `None` if it says nothing, or different things.
    pub(super) statistics: Option<Statistics>,
}

impl Survey {
    /// Looks through a file.
    pub(super) fn of(input: &Input) -> Result<Self, ImportError> {
        let mut capture = input.capture()?;
        let mut survey = Self {
            name: stdio::input(&input.path),
            interfaces: Vec::new(),
            spots: BTreeMap::new(),
            disorder: 0,
            timeless: 0,
            carried: 0,
            whole: 0,
            cut: false,
        };
        let mut statistics: BTreeMap<usize, Vec<Statistics>> = BTreeMap::new();
        let mut latest = 0;
        let mut packet = Captured::default();
        while let Some(item) = capture.next(&mut packet) {
            match item {
                Item::Packet => {
                    latest = latest.max(packet.time);
                    survey.disorder = survey.disorder.max(latest - packet.time);
                    survey.take(&capture, &packet)?;
                }
                Item::Timeless => survey.timeless += 1,
                Item::Statistics(interface, said) => {
                    statistics.entry(interface).or_default().push(said);
                }
                Item::Piece(piece) => {
                    survey.carried = survey.carried.max(piece.recording.saturating_add(1));
                    survey.whole += u32::from(piece.bytes.is_empty());
                }
                Item::Other => {}
            }
        }
        survey.cut = capture.cut;
        survey.interfaces = capture.interfaces;
        for ((interface, index), spot) in &mut survey.spots {
            // Of several interfaces together it does not say which missed something.
            if let (None, Some([said])) = (index, statistics.get(interface).map(Vec::as_slice)) {
                spot.statistics = Some(*said);
            }
        }
        Ok(survey)
    }

    fn take(&mut self, capture: &Capture, packet: &Captured) -> Result<(), ImportError> {
        let number = capture.interfaces[packet.interface].link;
        let link = Link::of(number).ok_or_else(|| ImportError::Link {
            file: self.name.clone(),
            number,
        })?;
        let index = link.index(&packet.data);
        let spot = self.spots.entry((packet.interface, index));
        let spot = spot.or_insert_with(|| Spot {
            first: packet.time,
            directed: true,
            ..Spot::default()
        });
        spot.packets += 1;
        spot.first = spot.first.min(packet.time);
        spot.last = spot.last.max(packet.time);
        spot.directed &= link.tells_direction() || packet.direction.is_some();
        Ok(())
    }

    /// The places that have to be told: those that no name of an interface tells.
    pub(super) fn untold(&self) -> impl Iterator<Item = (usize, Option<u32>)> {
        let spots = self.spots.keys().copied();
        spots.filter(|spot| self.own_place(*spot).is_none() && !self.is_of_drops(*spot))
    }

    /// The place that the name of an interface says.
    pub(super) fn own_place(&self, (interface, index): (usize, Option<u32>)) -> Option<Place> {
        let name = self.interfaces[interface].name.as_deref();
        name.filter(|_| index.is_none())
            .and_then(Place::of_interface)
    }

    /// Whether an export has the packets there that kernels dropped.
    pub(super) fn is_of_drops(&self, (interface, _): (usize, Option<u32>)) -> bool {
        let name = self.interfaces[interface].name.as_deref();
        name.is_some_and(|name| name.contains('/') && name.ends_with("/drop"))
    }

    /// What a place can be called in `--at`.
    pub(super) fn keys(&self, (interface, index): (usize, Option<u32>)) -> Vec<String> {
        let name = self.interfaces[interface].name.clone();
        match index {
            Some(index) => vec![index.to_string()],
            None => name.into_iter().chain([interface.to_string()]).collect(),
        }
    }
}

impl Spot {
    /// From when to when nothing was missed, Unix time, ns, if the capture vouches for that:
    /// it says that it missed nothing, it has as many packets as it says, and no filter that
    /// is known chose them.
    pub(super) fn vouched(&self, interface: &Interface, cut: bool) -> Option<(u64, u64)> {
        let Statistics {
            missed,
            packets,
            span,
        } = self.statistics?;
        let (begin, end) = span?;
        let is_whole = missed == Some(0) && packets == Some(self.packets);
        (is_whole && !cut && !interface.filtered && begin <= self.first && self.last <= end)
            .then_some((begin, end))
    }
}
