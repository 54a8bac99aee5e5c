//! The blocks of a capture (draft-ietf-opsawg-pcapng).

use std::{
    borrow::Cow,
    io::{self, Read, Write},
    time::Duration,
};

use pcap_file::{
    DataLink, Endianness, PcapError,
    pcapng::{
        PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
            name_resolution::{NameResolutionBlock, Record},
            section_header::{SectionHeaderBlock, SectionHeaderOption},
            unknown::UnknownBlock,
        },
    },
};

use super::{
    frame::{Frame, Link},
    interfaces::Interface,
};
use crate::store::carried::{PIECE, Piece};

/// Times are in units of 10⁻⁹ s.
const NANOSECONDS: u8 = 9;
/// The longest value of an option.
const LONGEST: usize = u16::MAX as usize;
/// Names that are in one block.
const NAMES: usize = 1000;

/// A packet on its way into a capture.
pub(super) struct Packet<'a> {
    pub(super) interface: u32,
    pub(super) frame: &'a Frame,
    pub(super) comments: [&'a str; 2],
}

impl Packet<'_> {
    /// As it is sorted; [`Capture::packet`] reads it. Comments come last: as many as there
    /// are.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let Self {
            interface,
            frame,
            comments,
        } = self;
        let mut bytes = Vec::new();
        bytes.extend(interface.to_le_bytes());
        bytes.extend(frame.length.to_le_bytes());
        bytes.extend(u32::from(frame.is_captured).to_le_bytes());
        for part in [&frame.bytes, comments[0].as_bytes(), comments[1].as_bytes()] {
            bytes.extend((part.len() as u64).to_le_bytes());
            bytes.extend(part);
        }
        bytes
    }
}

/// A packet, as [`Packet::to_bytes`] left it: what is captured of a frame, and the comments.
/// `None` if that is rebuilt.
pub(super) fn captured(packet: &[u8]) -> io::Result<Option<(&[u8], &[u8])>> {
    let mut rest = packet;
    let (_, _) = (number(&mut rest)?, number(&mut rest)?);
    if number(&mut rest)? == 0 {
        return Ok(None);
    }
    part(&mut rest)?;
    Ok(Some(packet.split_at(packet.len() - rest.len())))
}

/// What was to be read is not what was written.
fn odd() -> io::Error {
    io::Error::other("a packet came back from its file as another one")
}

/// Takes so many bytes off the front.
fn split<'a>(bytes: &mut &'a [u8], length: usize) -> io::Result<&'a [u8]> {
    let (front, rest) = bytes.split_at_checked(length).ok_or_else(odd)?;
    *bytes = rest;
    Ok(front)
}

fn number(bytes: &mut &[u8]) -> io::Result<u32> {
    let front = split(bytes, 4)?;
    Ok(u32::from_le_bytes(front.try_into().map_err(|_| odd())?))
}

fn part<'a>(bytes: &mut &'a [u8]) -> io::Result<&'a [u8]> {
    let front = split(bytes, 8)?;
    let length = u64::from_le_bytes(front.try_into().map_err(|_| odd())?);
    split(bytes, usize::try_from(length).map_err(|_| odd())?)
}

/// A capture that is being written.
pub(super) struct Capture<W: Write> {
    writer: PcapNgWriter<W>,
}

impl<W: Write> Capture<W> {
    /// Begins one, and says what it is about.
    ///
    /// # Errors
    /// Those of the writer, here and below.
    pub(super) fn begin(out: W, about: &str) -> io::Result<Self> {
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            options: vec![
                SectionHeaderOption::Comment(shortened(about).into_owned().into()),
                SectionHeaderOption::UserApplication(
                    concat!("tracer ", env!("CARGO_PKG_VERSION")).into(),
                ),
            ],
            ..SectionHeaderBlock::default()
        };
        let writer = PcapNgWriter::with_section_header(out, section).map_err(written)?;
        Ok(Self { writer })
    }

    /// Adds an interface; the first has the number 0.
    pub(super) fn interface(&mut self, interface: &Interface) -> io::Result<()> {
        let kernel = interface.kernel.as_deref().map(shortened);
        let block = InterfaceDescriptionBlock {
            linktype: match interface.link {
                Link::Ethernet => DataLink::ETHERNET,
                Link::Raw => DataLink::RAW,
            },
            snaplen: 0,
            options: [
                InterfaceDescriptionOption::IfName(shortened(&interface.name)),
                InterfaceDescriptionOption::IfDescription(shortened(&interface.description)),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ]
            .into_iter()
            .chain(kernel.map(InterfaceDescriptionOption::IfOs))
            .collect(),
        };
        self.writer.write_pcapng_block(block).map_err(written)?;
        Ok(())
    }

    /// Says who has which address.
    pub(super) fn names(&mut self, records: &[Record<'static>]) -> io::Result<()> {
        for records in records.chunks(NAMES) {
            let block = NameResolutionBlock {
                records: records.to_vec(),
                options: Vec::new(),
            };
            self.writer.write_pcapng_block(block).map_err(written)?;
        }
        Ok(())
    }

    /// Adds a packet, as [`Packet::to_bytes`] left it; at another interface than the
    /// one that it names, if there is one.
    pub(super) fn packet(
        &mut self,
        interface: Option<u32>,
        time: i64,
        mut captured: &[u8],
    ) -> io::Result<()> {
        let own = number(&mut captured)?;
        let length = number(&mut captured)?;
        number(&mut captured)?;
        let data = part(&mut captured)?;
        let mut options = Vec::new();
        while !captured.is_empty() {
            let comment = part(&mut captured)?;
            // Half an object is of no use to anybody.
            if comment.len() <= LONGEST {
                let comment = str::from_utf8(comment).map_err(io::Error::other)?;
                options.push(EnhancedPacketOption::Comment(comment.into()));
            }
        }
        let block = EnhancedPacketBlock {
            interface_id: interface.unwrap_or(own),
            timestamp: Duration::from_nanos(u64::try_from(time).unwrap_or_default()),
            original_len: length.max(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            data: data.into(),
            options,
        };
        self.writer.write_pcapng_block(block).map_err(written)?;
        Ok(())
    }

    /// Adds a recording, for `tracer import`; other programs skip it.
    pub(super) fn recording(&mut self, number: u32, recording: impl Read) -> io::Result<()> {
        Piece::each(number, recording, |piece| {
            let block = UnknownBlock {
                type_: PIECE,
                // The writer counts for itself.
                length: 0,
                value: piece.to_bytes().into(),
            };
            self.writer.write_pcapng_block(block).map_err(written)?;
            Ok(())
        })
    }

    /// Gives what was written to who reads it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()
    }
}

/// A text, as much of it as fits.
fn shortened(text: &str) -> Cow<'_, str> {
    text[..text.floor_char_boundary(LONGEST)].into()
}

/// Why a block could not be written.
fn written(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        error => io::Error::other(error),
    }
}
