//! Surveys captures before the import: reads each of them completely.
//!
//! So errors in the arguments are reported before anything is written. A capture's statistics,
//! such as the number of missed packets, are at its end.

use std::collections::BTreeMap;

use super::{
    ImportError,
    capture::{Capture, Captured, Input, Item},
    interface::{Interface, Statistics},
    link::Link,
};
use crate::{cli::at::Place, stdio};

/// The contents of a file.
pub(super) struct Survey {
    /// Name of the file.
    pub(super) name: String,
    pub(super) interfaces: Vec<Interface>,
    /// Packets by interface, and by their own interface index if an interface has packets of
    /// several.
    pub(super) spots: BTreeMap<(usize, Option<u32>), Spot>,
    /// How far packets are out of order, ns.
    pub(super) disorder: u64,
    /// Number of packets without a time.
    pub(super) timeless: u64,
    /// Number of recordings inside the file.
    pub(super) carried: u32,
    /// Number of complete recordings inside the file.
    pub(super) whole: u32,
    pub(super) cut: bool,
}

/// The packets of one place.
#[derive(Default)]
pub(super) struct Spot {
    pub(super) packets: u64,
    /// Times of the first and the last packet, Unix time, ns.
    pub(super) first: u64,
    pub(super) last: u64,
    /// Whether each packet has its direction.
    pub(super) directed: bool,
    /// Statistics of the capture; `None` without any, or with contradictory ones.
    pub(super) statistics: Option<Statistics>,
}

impl Survey {
    /// Surveys a file.
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
            // If an interface has packets of several, its statistics do not say which one
            // missed packets.
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

    /// Places that the user has to give, because no interface's name contains them.
    pub(super) fn untold(&self) -> impl Iterator<Item = (usize, Option<u32>)> {
        let spots = self.spots.keys().copied();
        spots.filter(|spot| self.own_place(*spot).is_none() && !self.is_of_drops(*spot))
    }

    /// The place in an interface's name.
    pub(super) fn own_place(&self, (interface, index): (usize, Option<u32>)) -> Option<Place> {
        let name = self.interfaces[interface].name.as_deref();
        name.filter(|_| index.is_none())
            .and_then(Place::of_interface)
    }

    /// Whether the interface is that of an export's dropped packets.
    pub(super) fn is_of_drops(&self, (interface, _): (usize, Option<u32>)) -> bool {
        let name = self.interfaces[interface].name.as_deref();
        name.is_some_and(|name| name.contains('/') && name.ends_with("/drop"))
    }

    /// Names of a place in `--at`.
    pub(super) fn keys(&self, (interface, index): (usize, Option<u32>)) -> Vec<String> {
        let name = self.interfaces[interface].name.clone();
        match index {
            Some(index) => vec![index.to_string()],
            None => name.into_iter().chain([interface.to_string()]).collect(),
        }
    }
}

impl Spot {
    /// Time span in which nothing was missed, Unix time, ns; `None` unless the capture vouches
    /// for it. It does if it says that it missed nothing, has as many packets as it says, and
    /// no known filter chose them.
    pub(super) fn vouched(&self, interface: &Interface, cut: bool) -> Option<(u64, u64)> {
        let Statistics {
            missed,
            packets,
            spans,
        } = self.statistics?;
        let has_all = |(begin, end): &(u64, u64)| *begin <= self.first && self.last <= *end;
        let span = spans.into_iter().flatten().find(has_all)?;
        let is_whole = missed == Some(0) && packets == Some(self.packets);
        (is_whole && !cut && !interface.filtered).then_some(span)
    }
}
