//! A frame that was captured once is one packet, whichever journeys it is of.
//!
//! A kernel joins segments to one frame, and each of them may be a journey. So packets that
//! are the same frame, captured at the same interface at the same time, become one, with the
//! comments of all.

use std::io;

use super::{super::sorted::Key, blocks::captured};

/// Takes packets in order, and gives them on.
pub(super) struct Merged<F> {
    to: F,
    /// When those are from that wait for others of the same time.
    key: Option<Key>,
    waiting: Vec<Vec<u8>>,
}

impl<F: FnMut(Key, &[u8]) -> io::Result<()>> Merged<F> {
    pub(super) const fn new(to: F) -> Self {
        Self {
            to,
            key: None,
            waiting: Vec::new(),
        }
    }

    /// Takes the next packet.
    ///
    /// # Errors
    /// Those of who takes them, here and below.
    pub(super) fn push(&mut self, key: Key, packet: &[u8]) -> io::Result<()> {
        if self.key != Some(key) {
            self.flush()?;
        }
        let Some((frame, comments)) = captured(packet)? else {
            // A rebuilt one may go before one that waits: their times are equal.
            return (self.to)(key, packet);
        };
        self.key = Some(key);
        let waiting = &mut self.waiting;
        match waiting.iter_mut().find(|other| other.starts_with(frame)) {
            Some(other) => other.extend(comments),
            None => waiting.push(packet.to_vec()),
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(key) = self.key.take() {
            for packet in self.waiting.drain(..) {
                (self.to)(key, &packet)?;
            }
        }
        Ok(())
    }

    /// Gives on what waits.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            blocks::Packet,
            frame::{Frame, Link},
        },
        *,
    };

    fn packet(interface: u32, bytes: &[u8], is_captured: bool, comment: &str) -> Vec<u8> {
        let frame = Frame {
            bytes: bytes.to_vec(),
            length: 60,
            link: Link::Ethernet,
            is_captured,
        };
        let comments = [comment, "{}"];
        Packet {
            interface,
            frame: &frame,
            comments,
        }
        .to_bytes()
    }

    #[test]
    fn one_frame_of_several_journeys_is_one_packet() {
        let same = |comment| packet(0, b"frame", true, comment);
        let packets = [
            (1, same("#1")),
            (1, packet(1, b"frame", true, "elsewhere")),
            (1, same("#2")),
            (1, packet(0, b"another", true, "#3")),
            (2, same("later")),
            (3, packet(0, b"frame", false, "rebuilt")),
            (3, packet(0, b"frame", false, "rebuilt")),
        ];
        let mut out = Vec::new();
        let mut merged = Merged::new(|key: Key, packet: &[u8]| {
            let text = String::from_utf8_lossy(packet).into_owned();
            out.push((key.time, text.contains("#1") && text.contains("#2")));
            Ok(())
        });
        for (time, packet) in &packets {
            let key = Key {
                group: 0,
                time: *time,
            };
            merged.push(key, packet).expect("memory");
        }
        merged.end().expect("memory");
        let expected = [
            (1, true),
            (1, false),
            (1, false),
            (2, false),
            (3, false),
            (3, false),
        ];
        assert_eq!(out, expected);
    }
}
