//! Questions to the kernel over rtnetlink. Only `RTM_GET*` requests are sent.
//!
//! Invariant 1 (ARCHITECTURE.md): passive. A request that changes something belongs to
//! `hook`, never here.

use std::{
    fs::File,
    io,
    net::IpAddr,
    os::fd::{AsFd as _, AsRawFd as _},
};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::AddressMessage,
    link::{LinkAttribute, LinkExtentMask, LinkMessage},
    neighbour::NeighbourMessage,
    nsid::{NsidAttribute, NsidMessage},
    route::{RouteAttribute, RouteFlags, RouteMessage},
};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::{
    DiscoverError, Router, ipsec,
    link::Link,
    route::Route,
    table::{FdbEntry, Host, Neighbour, address, namespace_id},
};
use crate::node::netlink::{Netlink, Question};

/// Number of attempts for a dump that the kernel marks as inconsistent.
const DUMP_ATTEMPTS: u32 = 4;

/// An rtnetlink socket of the network namespace in which it was opened.
pub(super) struct Connection {
    netlink: Netlink,
    interrupted: bool,
}

impl Connection {
    /// Opens a socket in the calling thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self {
            netlink: Netlink::open(NETLINK_ROUTE)?,
            interrupted: false,
        })
    }

    /// Whether a table changed in all attempts to read it.
    pub(super) fn interrupted(&self) -> bool {
        self.interrupted
    }

    pub(super) fn links(&mut self) -> io::Result<Vec<Link>> {
        let mut message = LinkMessage::default();
        let skip_stats = LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]);
        message.attributes.push(skip_stats);
        self.dump(&RouteNetlinkMessage::GetLink(message), Link::parse)
    }

    /// All addresses, each with the index of its interface.
    pub(super) fn addresses(&mut self) -> io::Result<Vec<(u32, IpAddr)>> {
        let message = AddressMessage::default();
        self.dump(&RouteNetlinkMessage::GetAddress(message), address)
    }

    pub(super) fn neighbours(&mut self) -> io::Result<Vec<Neighbour>> {
        let message = NeighbourMessage::default();
        self.dump(
            &RouteNetlinkMessage::GetNeighbour(message),
            Neighbour::parse,
        )
    }

    pub(super) fn forwarding(&mut self) -> io::Result<Vec<FdbEntry>> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        self.dump(&RouteNetlinkMessage::GetNeighbour(message), FdbEntry::parse)
    }

    /// Id by which this socket's namespace knows another one; `None` without an id.
    pub(super) fn namespace_id(&mut self, namespace: &File) -> io::Result<Option<i32>> {
        let descriptor = namespace.as_fd().as_raw_fd().cast_unsigned();
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(descriptor));
        let answer = self.get(&RouteNetlinkMessage::GetNsId(message))?;
        Ok(namespace_id(&answer))
    }

    /// Makes two requests. The first asks what the kernel would do with a packet, and which
    /// source address it would choose. The second asks for the table's entry behind that: its
    /// prefix, and all next hops of a multipath route.
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
        let chosen = match self.get(&RouteNetlinkMessage::GetRoute(message.clone())) {
            Ok(answer) => answer,
            Err(error) => return no_route(error),
        };
        message.header.flags = RouteFlags::FibMatch;
        let entry = self.get(&RouteNetlinkMessage::GetRoute(message)).ok();
        Ok(Route::parse(&chosen, entry.as_deref()))
    }

    /// Requests a single answer.
    fn get(&mut self, message: &RouteNetlinkMessage) -> io::Result<Vec<u8>> {
        self.netlink.get(&Question::of(message))
    }

    /// Requests a whole table, again if it changed during the dump.
    fn dump<T>(
        &mut self,
        message: &RouteNetlinkMessage,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        let question = Question::of(message);
        for _ in 1..DUMP_ATTEMPTS {
            let answers = self.netlink.dump(&question, &parse)?;
            if !answers.interrupted {
                return Ok(answers.items);
            }
        }
        let answers = self.netlink.dump(&question, &parse)?;
        self.interrupted |= answers.interrupted;
        Ok(answers.items)
    }
}

impl Host {
    /// Reads the tables of the namespace that the connection belongs to.
    pub(super) fn read(kernel: &mut Connection) -> Result<Self, DiscoverError> {
        let failed = |what| move |source: io::Error| DiscoverError::Netlink { what, source };
        let links = kernel.links().map_err(failed("interfaces"))?;
        Ok(Self {
            links: links.into_iter().map(|link| (link.index, link)).collect(),
            addresses: kernel.addresses().map_err(failed("addresses"))?,
            neighbours: kernel.neighbours().map_err(failed("neighbours"))?,
            forwarding: kernel
                .forwarding()
                .map_err(failed("bridge forwarding entries"))?,
            policies: ipsec::policies().map_err(failed("policies of IPsec"))?,
        })
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

/// A look-up without a route is an answer, not a failure.
fn no_route(error: io::Error) -> io::Result<Route> {
    // These are the errors for unreachable, prohibit, blackhole and throw (`fib_props` in
    // net/ipv4/fib_semantics.c).
    let why = match error.raw_os_error() {
        Some(libc::ENETUNREACH) => "there is no route to it",
        Some(libc::EHOSTUNREACH) => "its route is of the kind unreachable",
        Some(libc::EACCES) => "its route is of the kind prohibit",
        Some(libc::EINVAL) => "its route is of the kind blackhole",
        _ => return Err(error),
    };
    Ok(Route::None(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_route_is_an_answer() {
        let error = io::Error::from_raw_os_error(libc::ENETUNREACH);
        assert!(matches!(no_route(error), Ok(Route::None(_))));
        let error = io::Error::from_raw_os_error(libc::ENOMEM);
        assert!(no_route(error).is_err());
    }
}
