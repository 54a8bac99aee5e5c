//! Interfaces of captures: what their packets begin with, and what their times mean.

use pcap_file::{
    DataLink,
    pcapng::blocks::{
        interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
        interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption},
    },
};
use tracer_core::model::Mac;

/// Nanoseconds.
const MICROSECOND: u64 = 1_000;

/// Where packets were captured, as the file has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Interface {
    /// Link type (LINKTYPE): what packets begin with.
    pub(super) link: u32,
    pub(super) name: Option<String>,
    pub(super) mac: Option<Mac>,
    /// Whether a filter chose the packets, as far as the file says.
    pub(super) filtered: bool,
    /// Unit of time, as in the option `if_tsresol`; `None`: microseconds.
    resolution: Option<u8>,
    /// Offset of all times, s.
    offset: i64,
}

/// Statistics of a capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Statistics {
    /// Number of packets that the capture missed, if it is known.
    pub(super) missed: Option<u64>,
    /// Number of packets that the capture has, or received.
    pub(super) packets: Option<u64>,
    /// Begin and end of the capture, Unix time, ns, in either reading. dumpcap writes these times
    /// in microseconds, whatever the interface's unit of time is.
    pub(super) spans: [Option<(u64, u64)>; 2],
}

impl Interface {
    /// An interface of which only the link type is known.
    pub(super) fn of_link(link: DataLink) -> Self {
        Self {
            // In a file's header, the upper 16 bits of this field have other data.
            link: u32::from(link) & 0xffff,
            ..Self::default()
        }
    }

    /// The interface in a pcapng block.
    pub(super) fn of(block: &InterfaceDescriptionBlock<'_>) -> Self {
        let mut interface = Self::of_link(block.linktype);
        for option in &block.options {
            match option {
                InterfaceDescriptionOption::IfName(name) => {
                    interface.name = Some(name.clone().into_owned());
                }
                InterfaceDescriptionOption::IfMacAddr(mac) => {
                    interface.mac = <[u8; 6]>::try_from(&**mac).ok().map(Mac);
                }
                InterfaceDescriptionOption::IfTsResol(units) => interface.resolution = Some(*units),
                InterfaceDescriptionOption::IfTsOffset(offset) => {
                    interface.offset = offset.cast_signed();
                }
                InterfaceDescriptionOption::IfFilter(_) => interface.filtered = true,
                _ => {}
            }
        }
        interface
    }

    /// A time in the interface's units as Unix time, ns; `None` if that is before 1970 or
    /// after 2262.
    pub(super) fn time(&self, units: u64) -> Option<u64> {
        const SECOND: u128 = 1_000_000_000;
        let resolution = self.resolution.unwrap_or(6);
        let exponent = u32::from(resolution & 0x7f);
        let per_second = if resolution & 0x80 == 0 {
            10_u128.checked_pow(exponent)?
        } else {
            1_u128.checked_shl(exponent)?
        };
        let units = u128::from(units);
        // The parts are computed separately, so that no product overflows.
        let rest = (units % per_second).checked_mul(SECOND)? / per_second;
        let whole = i128::try_from(units / per_second * SECOND + rest).ok()?;
        let time = whole + i128::from(self.offset) * 1_000_000_000;
        let time = i64::try_from(time).ok()?;
        u64::try_from(time).ok()
    }

    /// The statistics of an interface in a block. `swapped`: the section is little endian.
    pub(super) fn statistics(
        &self,
        block: &InterfaceStatisticsBlock<'_>,
        swapped: bool,
    ) -> Statistics {
        let mut said = Statistics::default();
        // A time is two words, the upper one first in either byte order, but pcap-file reads it
        // as a single word of twice the length.
        let word = |time: u64| if swapped { time.rotate_left(32) } else { time };
        let (mut begin, mut end) = (None, None);
        let (mut received, mut delivered) = (None, None);
        let mut missed = |count: u64| {
            said.missed = Some(said.missed.unwrap_or(0).saturating_add(count));
        };
        for option in &block.options {
            match option {
                InterfaceStatisticsOption::IsbStartTime(time) => begin = Some(word(*time)),
                InterfaceStatisticsOption::IsbEndTime(time) => end = Some(word(*time)),
                InterfaceStatisticsOption::IsbIfDrop(count)
                | InterfaceStatisticsOption::IsbOsDrop(count) => missed(*count),
                InterfaceStatisticsOption::IsbIfRecv(count) => received = Some(*count),
                InterfaceStatisticsOption::IsbUsrDeliv(count) => delivered = Some(*count),
                _ => {}
            }
        }
        said.packets = delivered.or(received);
        if let Some((begin, end)) = begin.zip(end) {
            let of_dumpcap = Self {
                resolution: None,
                ..self.clone()
            };
            let rounded = |end: u64| end.saturating_add(MICROSECOND - 1);
            said.spans = [
                self.time(begin).zip(self.time(end)),
                of_dumpcap
                    .time(begin)
                    .zip(of_dumpcap.time(end).map(rounded)),
            ];
        }
        said
    }
}
