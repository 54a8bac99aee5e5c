//! Watches for changes of the network while it is observed.
//!
//! The kernel announces each change of links, addresses, routes and neighbours over netlink. This module
//! decides cheaply which changes may affect the plan. In doubt it says yes, because a new search costs
//! little, and a missed change costs observation points.
//!
//! A pod's address is set in the pod's own namespace, whose messages the node's namespace does
//! not get. But a socket can receive messages from all namespaces for which the node's has an
//! id. It has ids for the namespaces of its veth peers.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::IpAddr,
    os::fd::{AsFd as _, BorrowedFd},
};

use netlink_packet_core::NetlinkBuffer;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::{
    attributes::Mac,
    table::{FdbEntry, address},
};

/// Buffer, longer than any message that the kernel sends by itself, bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// `struct ndmsg` begins with the address family.
const BRIDGE: u8 = libc::AF_BRIDGE as u8;

/// Groups of messages about the namespace itself.
const OWN: [u32; 6] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
];

/// Groups of messages about the pods' namespaces.
const PODS: [u32; 2] = [libc::RTNLGRP_IPV4_IFADDR, libc::RTNLGRP_IPV6_IFADDR];

/// Watches for changes in the network namespace in which it was opened.
pub struct Changes {
    own: Socket,
    /// Socket for the pods' namespaces. `None` without the right to it (`CAP_NET_BROADCAST`):
    /// pods are then found when they first send.
    pods: Option<Socket>,
    matters: Matters,
    buffer: Vec<u8>,
}

impl Changes {
    /// Begins to listen. `pods` are the addresses whose changes matter.
    ///
    /// # Errors
    /// If the sockets cannot be created.
    pub fn open(pods: HashSet<IpAddr>) -> io::Result<Self> {
        let all = socket(&PODS).and_then(|socket| {
            socket.set_listen_all_namespaces(true)?;
            Ok(socket)
        });
        Ok(Self {
            own: socket(&OWN)?,
            pods: all.ok(),
            matters: Matters {
                pods,
                neighbours: HashMap::new(),
            },
            buffer: Vec::with_capacity(BUFFER_BYTES),
        })
    }

    /// Listens for these addresses from now on.
    pub fn listen_for(&mut self, pods: HashSet<IpAddr>) {
        self.matters.pods = pods;
    }

    /// Descriptors that become readable when messages come.
    pub fn readiness(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let sockets = [Some(&self.own), self.pods.as_ref()];
        sockets.into_iter().flatten().map(Socket::as_fd)
    }

    /// Reads all waiting messages, and returns whether one of them may matter.
    ///
    /// # Errors
    /// Errors of the sockets. Lost messages are no error, but count as a change that matters.
    pub fn read(&mut self) -> io::Result<bool> {
        let Self {
            own,
            pods,
            matters,
            buffer,
        } = self;
        let own = read(own, buffer, |kind, message| matters.own(kind, message))?;
        let pods = match pods {
            Some(pods) => read(pods, buffer, |kind, message| matters.pods(kind, message))?,
            None => false,
        };
        Ok(own | pods)
    }
}

fn socket(groups: &[u32]) -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.set_non_blocking(true)?;
    for group in groups {
        socket.add_membership(*group)?;
    }
    Ok(socket)
}

fn read(
    socket: &Socket,
    buffer: &mut Vec<u8>,
    mut matters: impl FnMut(u16, &[u8]) -> bool,
) -> io::Result<bool> {
    let mut any = false;
    loop {
        buffer.clear();
        match socket.recv(buffer, 0) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(any),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // The socket's buffer was too small for all messages.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                any = true;
                continue;
            }
            Err(error) => return Err(error),
        }
        let mut rest = buffer.as_slice();
        while let Ok(message) = NetlinkBuffer::new_checked(rest) {
            any |= matters(message.message_type(), message.payload());
            let next = (message.length() as usize).next_multiple_of(4);
            rest = rest.get(next..).unwrap_or_default();
        }
    }
}

/// Which messages may change a plan.
struct Matters {
    pods: HashSet<IpAddr>,
    /// Last known places of pods. The kernel also sends a message each time that it confirms a
    /// known neighbour.
    neighbours: HashMap<IpAddr, (u32, Mac)>,
}

impl Matters {
    /// Whether a message about the watched namespace changes the plan.
    fn own(&mut self, kind: u16, message: &[u8]) -> bool {
        match kind {
            libc::RTM_NEWLINK
            | libc::RTM_DELLINK
            | libc::RTM_NEWADDR
            | libc::RTM_DELADDR
            | libc::RTM_NEWROUTE
            | libc::RTM_DELROUTE => true,
            libc::RTM_NEWNEIGH => self.neighbour(message),
            _ => false,
        }
    }

    /// Whether a message from any namespace changes where pods are.
    fn pods(&self, kind: u16, message: &[u8]) -> bool {
        let known = |(_, address)| self.pods.contains(&address);
        matches!(kind, libc::RTM_NEWADDR | libc::RTM_DELADDR) && address(message).is_some_and(known)
    }

    /// Whether an entry shows a moved pod, or a tunnel's new remote. MAC addresses that a
    /// bridge learns do not count, because neighbour entries show where a pod is.
    fn neighbour(&mut self, message: &[u8]) -> bool {
        let Some(entry) = FdbEntry::parse(message) else {
            return false;
        };
        let Some(address) = entry.remote else {
            return false;
        };
        if message.first() == Some(&BRIDGE) {
            return true;
        }
        let place = (entry.device, entry.mac);
        self.pods.contains(&address) && self.neighbours.insert(address, place) != Some(place)
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;
    use netlink_packet_route::{
        AddressFamily,
        address::{AddressAttribute, AddressMessage},
        neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage},
    };

    use super::*;

    const POD: [u8; 4] = [10, 1, 0, 5];

    fn matters() -> Matters {
        Matters {
            pods: HashSet::from([POD.into()]),
            neighbours: HashMap::new(),
        }
    }

    fn bytes(message: &impl Emitable) -> Vec<u8> {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    fn neighbour(address: [u8; 4], device: u32, mac: Option<Mac>) -> Vec<u8> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.ifindex = device;
        let mac = mac.map(|mac| NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
        message.attributes.extend(mac);
        let address = NeighbourAttribute::Destination(IpAddr::from(address).into());
        message.attributes.push(address);
        bytes(&message)
    }

    #[test]
    fn a_known_neighbour_matters_once() {
        let mut matters = matters();
        let (there, elsewhere) = (Some([2; 6]), Some([4; 6]));
        let mut told = |address, device, mac| {
            matters.own(libc::RTM_NEWNEIGH, &neighbour(address, device, mac))
        };
        assert!(told(POD, 5, there));
        assert!(!told(POD, 5, there), "asked after again");
        assert!(!told(POD, 5, None), "being asked for");
        assert!(told(POD, 5, elsewhere));
        assert!(told(POD, 6, elsewhere));
        assert!(!told([10, 1, 0, 6], 5, there), "somebody else");
    }

    #[test]
    fn remotes_of_tunnels_matter_and_what_a_bridge_learns_does_not() {
        let entry =
            |remote: Option<[u8; 4]>| {
                let mut message = NeighbourMessage::default();
                message.header.family = AddressFamily::Bridge;
                message.attributes = vec![NeighbourAttribute::LinkLayerAddress(vec![2; 6])];
                message.attributes.extend(remote.map(|end| {
                    NeighbourAttribute::Destination(NeighbourAddress::Other(end.to_vec()))
                }));
                bytes(&message)
            };
        let mut matters = matters();
        assert!(matters.own(libc::RTM_NEWNEIGH, &entry(Some([192, 0, 2, 7]))));
        assert!(!matters.own(libc::RTM_NEWNEIGH, &entry(None)));
    }

    #[test]
    fn of_other_namespaces_only_the_pods_addresses_matter() {
        let told = |kind, address: [u8; 4]| {
            let mut message = AddressMessage::default();
            message.attributes = vec![AddressAttribute::Local(address.into())];
            matters().pods(kind, &bytes(&message))
        };
        assert!(told(libc::RTM_NEWADDR, POD));
        assert!(told(libc::RTM_DELADDR, POD));
        assert!(!told(libc::RTM_NEWADDR, [10, 1, 0, 6]));
        assert!(!told(libc::RTM_NEWLINK, POD));
    }

    #[test]
    fn listens_in_any_namespace() {
        let mut changes = Changes::open(HashSet::new()).expect("sockets");
        assert!(changes.readiness().count() >= 1);
        // Other changes on this machine in the meantime can be read, too.
        changes.read().expect("nothing is wrong");
    }
}
