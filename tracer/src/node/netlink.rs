//! Requests to the kernel over netlink, which it answers at once.
//!
//! Messages are parsed attribute by attribute, and only needed attributes are read. An
//! attribute that a newer kernel added or laid out differently must not hide the others. Only
//! `hook` changes anything: the filters that it attaches.

use std::{error::Error, io};

use netlink_packet_core::{
    NLA_HEADER_SIZE, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NetlinkBuffer, NetlinkSerializable as _, NlasIterator, parse_i32,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr};

/// Buffer for one read, bytes. The kernel fills at most 32 KiB per read of a dump
/// (`netlink_recvmsg`).
const BUFFER_BYTES: usize = 64 * 1024;

/// Length of `struct nlmsghdr`, bytes.
const HEADER_BYTES: usize = 16;

/// A netlink socket of the network namespace in which it was opened.
pub(super) struct Netlink {
    socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace, for a
    /// protocol such as `NETLINK_ROUTE`.
    pub(super) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            sequence: 0,
        })
    }

    /// Requests a single answer, without its `nlmsghdr`.
    pub(super) fn get(&mut self, question: &Question) -> io::Result<Vec<u8>> {
        let mut answers = self.ask(question, 0, |payload| Some(payload.to_vec()))?;
        let unanswered = || io::Error::from(io::ErrorKind::UnexpectedEof);
        answers.items.pop().ok_or_else(unanswered)
    }

    /// Requests a whole table, and parses each entry with `parse`.
    pub(super) fn dump<T>(
        &mut self,
        question: &Question,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<Answers<T>> {
        self.ask(question, NLM_F_DUMP, parse)
    }

    /// Requests a change, with flags such as `NLM_F_CREATE`, and waits until it is done.
    pub(super) fn change(&mut self, question: &Question, flags: u16) -> io::Result<()> {
        self.ask(question, NLM_F_ACK | flags, |_| None::<()>)
            .map(drop)
    }

    fn ask<T>(
        &mut self,
        question: &Question,
        flags: u16,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<Answers<T>> {
        self.sequence += 1;
        question.write(NLM_F_REQUEST | flags, self.sequence, &mut self.buffer);
        self.socket.send(&self.buffer, 0)?;
        let mut answers = Answers {
            items: Vec::new(),
            interrupted: false,
        };
        loop {
            self.buffer.clear();
            let length = self.socket.recv(&mut self.buffer, libc::MSG_TRUNC)?;
            if length > self.buffer.len() {
                return Err(invalid("an answer longer than the buffer for it"));
            }
            let last = answers.read(&self.buffer, self.sequence, &parse)?;
            if last || flags & NLM_F_DUMP == 0 {
                return Ok(answers);
            }
        }
    }
}

/// A request, without its `nlmsghdr`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    kind: u16,
    payload: Vec<u8>,
}

impl Question {
    /// A message of type `kind`, which begins with the fixed part `header`.
    pub(super) fn new(kind: u16, header: &[u8]) -> Self {
        Self {
            kind,
            payload: header.to_vec(),
        }
    }

    /// A message of rtnetlink.
    pub(super) fn of(message: &RouteNetlinkMessage) -> Self {
        let mut payload = vec![0; message.buffer_len()];
        message.serialize(&mut payload);
        Self::new(message.message_type(), &payload)
    }

    /// The request with one more attribute.
    pub(super) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).expect("attributes of a question are short");
        self.payload.extend(length.to_ne_bytes());
        self.payload.extend(kind.to_ne_bytes());
        self.payload.extend(value);
        self.payload
            .resize(self.payload.len().next_multiple_of(4), 0);
        self
    }

    /// The request without its `nlmsghdr`.
    #[cfg(test)]
    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }

    fn write(&self, flags: u16, sequence: u32, buffer: &mut Vec<u8>) {
        let length = u32::try_from(HEADER_BYTES + self.payload.len()).expect("a short message");
        buffer.clear();
        buffer.extend(length.to_ne_bytes());
        buffer.extend(self.kind.to_ne_bytes());
        buffer.extend(flags.to_ne_bytes());
        buffer.extend(sequence.to_ne_bytes());
        // The sender's port is 0, because the kernel fills it in.
        buffer.extend([0; 4]);
        buffer.extend(&self.payload);
    }
}

/// Attributes in `bytes`, by kind, up to the first malformed one.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes)
        .map_while(Result::ok)
        .map(|attribute| {
            let (kind, end) = (attribute.kind(), usize::from(attribute.length()));
            (kind, &attribute.into_inner()[NLA_HEADER_SIZE..end])
        })
}

/// The value of the first attribute of a kind.
pub(super) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(kind, value)| (kind == wanted).then_some(value))
}

/// The answers to a request for a table.
pub(super) struct Answers<T> {
    pub(super) items: Vec<T>,
    /// Whether the table changed while it was read.
    pub(super) interrupted: bool,
}

impl<T> Answers<T> {
    /// Parses the messages of one read; true after the last message of the answer.
    fn read(
        &mut self,
        mut bytes: &[u8],
        sequence: u32,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<bool> {
        while !bytes.is_empty() {
            let message = NetlinkBuffer::new_checked(bytes).map_err(invalid)?;
            // Messages are padded to four bytes, the last one of a read perhaps not.
            let next = (message.length() as usize).next_multiple_of(4);
            bytes = bytes.get(next..).unwrap_or_default();
            if message.sequence_number() != sequence {
                continue;
            }
            self.interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
            let payload = message.payload();
            match message.message_type() {
                NLMSG_DONE | NLMSG_ERROR => {
                    // A dump may end without a code.
                    return match payload.get(..4).map(parse_i32) {
                        Some(Ok(code)) if code < 0 => Err(io::Error::from_raw_os_error(-code)),
                        _ => Ok(true),
                    };
                }
                _ => self.items.extend(parse(payload)),
            }
        }
        Ok(false)
    }
}

fn invalid(error: impl Into<Box<dyn Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Question::new(kind, payload).write(flags, sequence, &mut bytes);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn read(bytes: &[u8]) -> io::Result<(bool, Vec<Vec<u8>>, bool)> {
        let mut answers = Answers {
            items: Vec::new(),
            interrupted: false,
        };
        let last = answers.read(bytes, 7, |payload| Some(payload.to_vec()))?;
        Ok((last, answers.items, answers.interrupted))
    }

    #[test]
    fn takes_what_was_asked_for_and_nothing_else() {
        let bytes = [
            message(28, 2, 7, &[1, 2, 3]),
            message(28, 2, 6, &[9]),
            message(28, 2 | NLM_F_DUMP_INTR, 7, &[4]),
            message(NLMSG_DONE, 2, 7, &0i32.to_ne_bytes()),
        ]
        .concat();
        let (last, items, interrupted) = read(&bytes).expect("valid answers");
        assert_eq!(items, [vec![1, 2, 3], vec![4]]);
        assert!(last && interrupted);
    }

    #[test]
    fn errors_of_the_kernel_are_errors_here() {
        let denied = (-libc::EPERM).to_ne_bytes();
        for kind in [NLMSG_ERROR, NLMSG_DONE] {
            let error = read(&message(kind, 0, 7, &denied)).expect_err("a refusal");
            assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        }
        assert!(read(&[1, 2, 3]).is_err(), "a short message is refused");
    }

    #[test]
    fn attributes_are_padded_and_read_back() {
        let question = Question::new(22, &[9; 4])
            .with(1, &[7])
            .with(3, &[1, 2, 3, 4]);
        assert_eq!(question.payload.len(), 4 + 8 + 8);
        let found: Vec<_> = attributes(&question.payload[4..]).collect();
        assert_eq!(found, [(1, &[7][..]), (3, &[1, 2, 3, 4][..])]);
    }
}
