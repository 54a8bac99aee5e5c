//! Reads captures, one packet at a time: pcap and pcapng, in either byte order and with any
//! resolution of time.
//!
//! The crate pcap-file finds packets and blocks. This module does the rest: sections of pcapng
//! number their interfaces anew, and each interface has its own unit of time.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use pcap_file::{
    Endianness, PcapError, TsResolution,
    pcap::PcapReader,
    pcapng::{Block, PcapNgReader, blocks::enhanced_packet::EnhancedPacketOption},
};
use thiserror::Error;
use tracer_core::model::Direction;

use super::interface::{Interface, Statistics};
use crate::{
    stdio,
    store::carried::{PIECE, Piece},
};

/// Why a capture cannot be read.
#[derive(Debug, Error)]
pub(super) enum CaptureError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", stdio::input(path))]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is empty.
    #[error("{} is empty", stdio::input(.0))]
    Empty(PathBuf),
    /// The file is compressed.
    #[error("{} is compressed: unpack it, as in `{} -dc FILE | tracer import - …`", stdio::input(.0), .1)]
    Compressed(PathBuf, &'static str),
    /// The file is a recording of tracer.
    #[error("{} is no capture in pcap or pcapng", stdio::input(.0))]
    NoCapture(PathBuf),
}

/// A file that can be read from its beginning any number of times.
pub(super) struct Input {
    /// Path, as the user named it.
    pub(super) path: PathBuf,
    file: File,
}

impl Input {
    /// Opens a file, or standard input for `-`. Input that can be read only once is copied to a
    /// nameless file first.
    pub(super) fn open(path: &Path) -> Result<Self, CaptureError> {
        let failed = |source| CaptureError::Read {
            path: path.to_owned(),
            source,
        };
        let (_, mut file) = stdio::open(path).map_err(failed)?;
        if !file.metadata().is_ok_and(|file| file.is_file()) {
            let mut copy = tempfile::tempfile().map_err(failed)?;
            io::copy(&mut file, &mut copy).map_err(failed)?;
            file = copy;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Reads the file from its beginning.
    pub(super) fn capture(&self) -> Result<Capture, CaptureError> {
        let path = &self.path;
        let failed = |source| CaptureError::Read {
            path: path.clone(),
            source,
        };
        // Readers of one file share its position, so an earlier one cannot continue.
        let mut file = self.file.try_clone().map_err(failed)?;
        let mut magic = [0; 4];
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let found = (&mut file).take(4).read(&mut magic).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let no_capture = |error| match error {
            PcapError::IoError(source) if source.kind() != io::ErrorKind::UnexpectedEof => {
                failed(source)
            }
            _ => CaptureError::NoCapture(path.clone()),
        };
        let source = match magic {
            _ if found == 0 => return Err(CaptureError::Empty(path.clone())),
            [0x1f, 0x8b, ..] => return Err(CaptureError::Compressed(path.clone(), "gzip")),
            [0x28, 0xb5, 0x2f, 0xfd] => {
                return Err(CaptureError::Compressed(path.clone(), "zstd"));
            }
            [0xfd, b'7', b'z', b'X'] => return Err(CaptureError::Compressed(path.clone(), "xz")),
            [0x0a, 0x0d, 0x0d, 0x0a] => {
                Source::PcapNg(PcapNgReader::new(file).map_err(no_capture)?)
            }
            _ => Source::Pcap(PcapReader::new(file).map_err(no_capture)?),
        };
        let mut capture = Capture {
            source,
            interfaces: Vec::new(),
            first: 0,
            cut: false,
        };
        if let Source::Pcap(reader) = &capture.source {
            let link = reader.header().datalink;
            capture.interfaces.push(Interface::of_link(link));
        }
        Ok(capture)
    }
}

enum Source {
    Pcap(PcapReader<File>),
    PcapNg(PcapNgReader<File>),
}

/// A reader of a capture.
pub(super) struct Capture {
    source: Source,
    /// All interfaces so far, those of earlier sections first.
    pub(super) interfaces: Vec<Interface>,
    /// Index of the section's first interface.
    first: usize,
    /// Whether the capture ends in the middle, or cannot be read any further.
    pub(super) cut: bool,
}

/// A captured packet.
#[derive(Clone, Debug, Default)]
pub(super) struct Captured {
    /// The interface: index into [`Capture::interfaces`].
    pub(super) interface: usize,
    /// Time of the packet, Unix time, ns.
    pub(super) time: u64,
    /// Length on the wire, bytes; `data` has the first of them.
    pub(super) len: u32,
    pub(super) data: Vec<u8>,
    /// Direction, if the file has it.
    pub(super) direction: Option<Direction>,
}

/// The next item of a capture.
pub(super) enum Item {
    /// A packet, which is in the caller's buffer.
    Packet,
    /// A packet without a time.
    Timeless,
    /// Statistics of one of the capture's interfaces.
    Statistics(usize, Statistics),
    /// A piece of the recording inside an export.
    Piece(Piece),
    /// Anything else.
    Other,
}

impl Capture {
    /// The next item; `None` at the end. `packet` is the buffer for a packet.
    pub(super) fn next(&mut self, packet: &mut Captured) -> Option<Item> {
        if self.cut {
            return None;
        }
        let item = match &mut self.source {
            Source::Pcap(reader) => {
                let resolution = reader.header().ts_resolution;
                let raw = reader.next_raw_packet()?;
                raw.map(|raw| {
                    let unit = match resolution {
                        TsResolution::MicroSecond => 1_000,
                        TsResolution::NanoSecond => 1,
                    };
                    let time =
                        u64::from(raw.ts_sec) * 1_000_000_000 + u64::from(raw.ts_frac) * unit;
                    packet.take(0, time, raw.orig_len, &raw.data);
                    packet.direction = None;
                    Item::Packet
                })
            }
            Source::PcapNg(reader) => {
                let swapped = reader.section().endianness == Endianness::Little;
                let block = reader.next_block()?;
                block.map(|block| {
                    block_item(
                        block,
                        &mut self.interfaces,
                        &mut self.first,
                        swapped,
                        packet,
                    )
                })
            }
        };
        // After damage, the next block cannot be found.
        item.inspect_err(|_| self.cut = true).ok()
    }
}

/// Reads a block. `swapped`: the section is little endian.
fn block_item(
    block: Block<'_>,
    interfaces: &mut Vec<Interface>,
    first: &mut usize,
    swapped: bool,
    packet: &mut Captured,
) -> Item {
    let first_of_section = *first;
    let mut take = |own: usize, units: u64, len: u32, data: &[u8]| {
        let interface = first_of_section + own;
        let known = interfaces.get(interface);
        let Some(time) = known.and_then(|known| known.time(units)) else {
            return Item::Timeless;
        };
        packet.take(interface, time, len, data);
        Item::Packet
    };
    match block {
        Block::SectionHeader(_) => {
            *first = interfaces.len();
            Item::Other
        }
        Block::InterfaceDescription(block) => {
            interfaces.push(Interface::of(&block));
            Item::Other
        }
        Block::EnhancedPacket(block) => {
            let units = u64::try_from(block.timestamp.as_nanos()).unwrap_or(u64::MAX);
            let item = take(
                block.interface_id as usize,
                units,
                block.original_len,
                &block.data,
            );
            let flags = block.options.iter().find_map(|option| match option {
                EnhancedPacketOption::Flags(flags) => Some(*flags),
                _ => None,
            });
            packet.direction = match flags.unwrap_or_default() & 0b11 {
                0b01 => Some(Direction::Ingress),
                0b10 => Some(Direction::Egress),
                _ => None,
            };
            item
        }
        Block::Packet(block) => {
            let item = take(
                block.interface_id.into(),
                block.timestamp,
                block.original_len,
                &block.data,
            );
            packet.direction = None;
            item
        }
        Block::SimplePacket(_) => Item::Timeless,
        Block::InterfaceStatistics(block) => {
            let interface = first_of_section + block.interface_id as usize;
            match interfaces.get(interface) {
                Some(known) => Item::Statistics(interface, known.statistics(&block, swapped)),
                None => Item::Other,
            }
        }
        Block::Unknown(block) if block.type_ == PIECE => {
            Piece::from_bytes(&block.value).map_or(Item::Other, Item::Piece)
        }
        Block::NameResolution(_) | Block::SystemdJournalExport(_) | Block::Unknown(_) => {
            Item::Other
        }
    }
}

impl Captured {
    fn take(&mut self, interface: usize, time: u64, len: u32, data: &[u8]) {
        self.interface = interface;
        self.time = time;
        self.len = len;
        self.data.clear();
        self.data.extend_from_slice(data);
    }
}
