//! Questions to the kernel over rtnetlink, answered at once.
//!
//! A message is taken apart attribute by attribute and only what is needed is read: an attribute that a
//! newer kernel added or laid out differently must not make a whole interface invisible. Only `RTM_GET*`
//! requests are sent.

use std::{
    error::Error,
    fs::File,
    io,
    net::IpAddr,
    os::fd::{AsFd as _, AsRawFd as _},
};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NetlinkMessage, parse_i32,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::AddressMessage,
    link::{LinkAttribute, LinkExtentMask, LinkMessage},
    neighbour::NeighbourMessage,
    nsid::{NsidAttribute, NsidMessage},
    route::{RouteAttribute, RouteFlags, RouteMessage},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::{
    DiscoverError, Router,
    link::Link,
    route::Route,
    table::{FdbEntry, Neighbour, address, namespace_id},
};

/// The kernel fills at most 32 KiB per read of a dump (`netlink_recvmsg`).
const BUFFER_BYTES: usize = 64 * 1024;

/// How often a dump that the kernel marks as inconsistent is asked for again.
const DUMP_ATTEMPTS: u32 = 4;

/// An rtnetlink socket of the network namespace in which it was opened.
pub(super) struct Connection {
    socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
    interrupted: bool,
}

impl Connection {
    /// Opens a socket in the calling thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            sequence: 0,
            interrupted: false,
        })
    }

    /// Whether a table kept changing while it was being read.
    pub(super) fn interrupted(&self) -> bool {
        self.interrupted
    }

    pub(super) fn links(&mut self) -> io::Result<Vec<Link>> {
        let mut message = LinkMessage::default();
        let skip_stats = LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]);
        message.attributes.push(skip_stats);
        self.dump(RouteNetlinkMessage::GetLink(message), Link::parse)
    }

    /// Every address with the index of its interface.
    pub(super) fn addresses(&mut self) -> io::Result<Vec<(u32, IpAddr)>> {
        let message = AddressMessage::default();
        self.dump(RouteNetlinkMessage::GetAddress(message), address)
    }

    pub(super) fn neighbours(&mut self) -> io::Result<Vec<Neighbour>> {
        let message = NeighbourMessage::default();
        self.dump(RouteNetlinkMessage::GetNeighbour(message), Neighbour::parse)
    }

    pub(super) fn forwarding(&mut self) -> io::Result<Vec<FdbEntry>> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        self.dump(RouteNetlinkMessage::GetNeighbour(message), FdbEntry::parse)
    }

    /// The id by which this socket's namespace knows another one, if it does.
    pub(super) fn namespace_id(&mut self, namespace: &File) -> io::Result<Option<i32>> {
        let descriptor = namespace.as_fd().as_raw_fd().cast_unsigned();
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(descriptor));
        let answer = self.get(RouteNetlinkMessage::GetNsId(message))?;
        Ok(namespace_id(&answer))
    }

    /// Two questions: what the kernel would do with a packet (the source address it would choose), and the
    /// table's entry behind it (its prefix, and all next hops of a multipath route).
    fn look_up(&mut self, destination: IpAddr) -> io::Result<Route> {
        let mut message = RouteMessage::default();
        let (family, bits) = match destination {
            IpAddr::V4(_) => (AddressFamily::Inet, 32),
            IpAddr::V6(_) => (AddressFamily::Inet6, 128),
        };
        message.header.address_family = family;
        message.header.destination_prefix_length = bits;
        let attribute = RouteAttribute::Destination(destination.into());
        message.attributes.push(attribute);
        let chosen = match self.get(RouteNetlinkMessage::GetRoute(message.clone())) {
            Ok(answer) => answer,
            Err(error) => return no_route(error),
        };
        message.header.flags = RouteFlags::FibMatch;
        let entry = self.get(RouteNetlinkMessage::GetRoute(message)).ok();
        Ok(Route::parse(&chosen, entry.as_deref()))
    }

    /// Asks for one thing.
    fn get(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<u8>> {
        let mut answers = self.ask(message, 0, |payload| Some(payload.to_vec()))?;
        let unanswered = || io::Error::from(io::ErrorKind::UnexpectedEof);
        answers.items.pop().ok_or_else(unanswered)
    }

    /// Asks for a whole table, again if it changed on the way.
    fn dump<T>(
        &mut self,
        message: RouteNetlinkMessage,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        for _ in 1..DUMP_ATTEMPTS {
            let answers = self.ask(message.clone(), NLM_F_DUMP, &parse)?;
            if !answers.interrupted {
                return Ok(answers.items);
            }
        }
        let answers = self.ask(message, NLM_F_DUMP, &parse)?;
        self.interrupted |= answers.interrupted;
        Ok(answers.items)
    }

    fn ask<T>(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<Answers<T>> {
        self.sequence += 1;
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        request.header.sequence_number = self.sequence;
        request.finalize();
        self.buffer.clear();
        self.buffer.resize(request.buffer_len(), 0);
        request.serialize(&mut self.buffer);
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

impl Router for Connection {
    fn route(&mut self, destination: IpAddr) -> Result<Route, DiscoverError> {
        self.look_up(destination)
            .map_err(|source| DiscoverError::Netlink {
                what: "routes",
                source,
            })
    }
}

/// What came back so far.
struct Answers<T> {
    items: Vec<T>,
    interrupted: bool,
}

impl<T> Answers<T> {
    /// Takes the messages of one read; true after the last.
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

/// A look-up that ends in no route is an answer, not a failure.
fn no_route(error: io::Error) -> io::Result<Route> {
    // `fib_props` in net/ipv4/fib_semantics.c: the errors of unreachable, prohibit, blackhole and throw.
    let why = match error.raw_os_error() {
        Some(libc::ENETUNREACH) => "there is no route to it",
        Some(libc::EHOSTUNREACH) => "its route is of the kind unreachable",
        Some(libc::EACCES) => "its route is of the kind prohibit",
        Some(libc::EINVAL) => "its route is of the kind blackhole",
        _ => return Err(error),
    };
    Ok(Route::None(why.to_owned()))
}

fn invalid(error: impl Into<Box<dyn Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let length = 16 + u32::try_from(payload.len()).expect("a short payload");
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
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
    fn a_missing_route_is_an_answer() {
        let error = io::Error::from_raw_os_error(libc::ENETUNREACH);
        assert!(matches!(no_route(error), Ok(Route::None(_))));
        let error = io::Error::from_raw_os_error(libc::ENOMEM);
        assert!(no_route(error).is_err());
    }
}
