//! Requests to the kernel about the calling thread's network namespace, each about one object.
//! Unreadable values are `None`.

use std::{io, net::IpAddr};

use netlink_sys::protocols::NETLINK_ROUTE;
use tracer_core::model::{Mac, NeighbourState, PortState};

use crate::node::{
    netlink::{Netlink, Question, attribute, attributes},
    qdisc::Qdisc,
};

/// A gateway of another family (linux/rtnetlink.h), which libc does not name for musl.
const RTA_VIA: u16 = 18;

/// Lengths of `struct ifinfomsg`, `rtmsg`, `ndmsg` and `ifaddrmsg`, before the attributes,
/// bytes.
const LINK: usize = 16;
const ROUTE: usize = 12;
const NEIGHBOUR: usize = 12;
const ADDRESS: usize = 8;

/// Flag: the request is for the device itself, not for the bridge of which it is a port
/// (include/uapi/linux/neighbour.h).
const NTF_SELF: u8 = 2;

/// Attributes inside others (include/uapi/linux/if_link.h, rtnetlink.h).
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_BRPORT_STATE: u16 = 1;
const RTAX_MTU: u16 = 2;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// An rtnetlink socket of the calling thread's network namespace.
pub(super) struct Kernel(Netlink);

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) mac: Option<Mac>,
    pub(super) mtu: u32,
    /// Whether the interface is up (`IFF_UP`).
    pub(super) up: bool,
    /// Whether the interface has a carrier.
    pub(super) carrier: bool,
    /// Id of the XDP program.
    pub(super) xdp: Option<u32>,
    /// Index of the bridge or bond of which the interface is a port.
    pub(super) master: Option<u32>,
    /// Index of the interface below a VLAN or similar device, if it is in this namespace.
    pub(super) lower: Option<u32>,
    /// State of a bridge port.
    pub(super) port_state: Option<PortState>,
}

/// What the kernel does with packets to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Out {
        device: u32,
        /// Gateway; `None` if the destination is on the link.
        gateway: Option<IpAddr>,
        /// MTU of the route, or the learned path MTU, bytes.
        mtu: Option<u32>,
    },
    /// The packets are for this namespace.
    Local,
    /// There is no route. The look-up's error is `ENETUNREACH`, `EHOSTUNREACH`, `EACCES` or
    /// `EINVAL`.
    None(i32),
}

/// A neighbour entry or a forwarding database entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) state: NeighbourState,
    pub(super) mac: Option<Mac>,
    /// Remote VTEP of a forwarding database entry.
    pub(super) remote: Option<IpAddr>,
}

impl Kernel {
    pub(super) fn open() -> io::Result<Self> {
        Netlink::open(NETLINK_ROUTE).map(Self)
    }

    pub(super) fn link(&mut self, name: &str) -> Option<Link> {
        let name = [name.as_bytes(), &[0]].concat();
        let question = Question::new(libc::RTM_GETLINK, &[0; LINK]).with(libc::IFLA_IFNAME, &name);
        Link::parse(&self.0.get(&question).ok()?)
    }

    pub(super) fn link_of(&mut self, index: u32) -> Option<Link> {
        let mut header = [0; LINK];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        let question = Question::new(libc::RTM_GETLINK, &header);
        Link::parse(&self.0.get(&question).ok()?)
    }

    /// The interfaces of the namespace.
    pub(super) fn links(&mut self) -> Vec<Link> {
        let question = Question::new(libc::RTM_GETLINK, &[0; LINK]);
        let answers = self.0.dump(&question, Link::parse);
        answers.map_or_else(|_| Vec::new(), |answers| answers.items)
    }

    /// The addresses of the namespace.
    pub(super) fn addresses(&mut self) -> Vec<IpAddr> {
        let question = Question::new(libc::RTM_GETADDR, &[0; ADDRESS]);
        let answers = self.0.dump(&question, own_address);
        answers.map_or_else(|_| Vec::new(), |answers| answers.items)
    }

    /// What the kernel does with packets to `to`, and with `from`, with packets of that source.
    /// The source must be an address of the namespace, unless packets come in by the interface
    /// with the index `by`.
    pub(super) fn route(
        &mut self,
        to: IpAddr,
        from: Option<IpAddr>,
        by: Option<u32>,
    ) -> Option<Route> {
        let mut header = [0; ROUTE];
        let (family, bits) = match to {
            IpAddr::V4(_) => (libc::AF_INET, 32),
            IpAddr::V6(_) => (libc::AF_INET6, 128),
        };
        header[0] = u8::try_from(family).expect("families are small");
        header[1] = bits;
        if from.is_some() {
            header[2] = bits;
        }
        let mut question =
            Question::new(libc::RTM_GETROUTE, &header).with(libc::RTA_DST, &octets(to));
        if let Some(from) = from {
            question = question.with(libc::RTA_SRC, &octets(from));
        }
        if let Some(by) = by {
            question = question.with(libc::RTA_IIF, &by.to_ne_bytes());
        }
        match self.0.get(&question) {
            Ok(answer) => Route::parse(&answer),
            // See `fib_props` in net/ipv4/fib_semantics.c.
            Err(error) => match error.raw_os_error()? {
                error @ (libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL) => {
                    Some(Route::None(error))
                }
                _ => None,
            },
        }
    }

    /// The neighbour entry of an address on a link. The outer `None`: the request failed; the
    /// inner `None`: there is no entry.
    pub(super) fn neighbour(&mut self, device: u32, address: IpAddr) -> Option<Option<Entry>> {
        let family = match address {
            IpAddr::V4(_) => libc::AF_INET,
            IpAddr::V6(_) => libc::AF_INET6,
        };
        let question = neighbour(family, device, 0).with(libc::NDA_DST, &octets(address));
        self.entry(&question)
    }

    /// The forwarding database entry of a VXLAN device for a MAC address; `None` as in
    /// [`Kernel::neighbour`].
    pub(super) fn forwarding(&mut self, device: u32, mac: Mac) -> Option<Option<Entry>> {
        let question = neighbour(libc::AF_BRIDGE, device, NTF_SELF).with(libc::NDA_LLADDR, &mac.0);
        self.entry(&question)
    }

    fn entry(&mut self, question: &Question) -> Option<Option<Entry>> {
        match self.0.get(question) {
            Ok(answer) => Entry::parse(&answer).map(Some),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Some(None),
            Err(_) => None,
        }
    }

    /// Root qdisc of a device, which queues outgoing packets.
    pub(super) fn qdisc(&mut self, device: u32) -> Option<Qdisc> {
        let qdiscs = self.0.dump(&Qdisc::list(), Qdisc::parse).ok()?.items;
        let of_device = |qdisc: &Qdisc| qdisc.device == device && qdisc.is_root;
        qdiscs.into_iter().find(of_device)
    }
}

fn neighbour(family: i32, device: u32, flags: u8) -> Question {
    let mut header = [0; NEIGHBOUR];
    header[0] = u8::try_from(family).expect("families are small");
    header[4..8].copy_from_slice(&device.to_ne_bytes());
    header[10] = flags;
    Question::new(libc::RTM_GETNEIGH, &header)
}

impl Link {
    fn parse(message: &[u8]) -> Option<Self> {
        let flags = number(message.get(8..12)?)?.cast_signed();
        let mut link = Self {
            index: number(message.get(4..8)?)?,
            up: flags & libc::IFF_UP != 0,
            carrier: flags & libc::IFF_LOWER_UP != 0,
            ..Self::default()
        };
        let mut is_elsewhere = false;
        for (kind, value) in attributes(message.get(LINK..)?) {
            match kind {
                libc::IFLA_IFNAME => link.name = text(value),
                libc::IFLA_ADDRESS => link.mac = value.try_into().ok().map(Mac),
                libc::IFLA_MTU => link.mtu = number(value)?,
                libc::IFLA_MASTER => link.master = number(value),
                libc::IFLA_LINK => link.lower = number(value),
                libc::IFLA_LINK_NETNSID => is_elsewhere = true,
                libc::IFLA_XDP => {
                    link.xdp = attribute(value, IFLA_XDP_PROG_ID)
                        .and_then(number)
                        .filter(|id| *id != 0);
                }
                libc::IFLA_LINKINFO => {
                    let is_port = attribute(value, libc::IFLA_INFO_SLAVE_KIND)
                        .is_some_and(|kind| text(kind) == "bridge");
                    link.port_state = attribute(value, libc::IFLA_INFO_SLAVE_DATA)
                        .filter(|_| is_port)
                        .and_then(|data| port_state(*attribute(data, IFLA_BRPORT_STATE)?.first()?));
                }
                _ => {}
            }
        }
        link.lower = link.lower.filter(|_| !is_elsewhere);
        Some(link)
    }
}

impl Route {
    fn parse(message: &[u8]) -> Option<Self> {
        match *message.get(7)? {
            libc::RTN_UNICAST => {}
            libc::RTN_LOCAL => return Some(Self::Local),
            libc::RTN_BLACKHOLE => return Some(Self::None(libc::EINVAL)),
            libc::RTN_PROHIBIT => return Some(Self::None(libc::EACCES)),
            libc::RTN_UNREACHABLE => return Some(Self::None(libc::EHOSTUNREACH)),
            _ => return None,
        }
        let (mut device, mut gateway, mut mtu) = (None, None, None);
        for (kind, value) in attributes(message.get(ROUTE..)?) {
            match kind {
                libc::RTA_OIF => device = number(value),
                libc::RTA_GATEWAY => gateway = address(value),
                // `struct rtvia` has the family, then the address.
                RTA_VIA => gateway = address(value.get(2..)?),
                libc::RTA_METRICS => mtu = attribute(value, RTAX_MTU).and_then(number),
                _ => {}
            }
        }
        Some(Self::Out {
            device: device?,
            gateway,
            mtu,
        })
    }
}

impl Entry {
    fn parse(message: &[u8]) -> Option<Self> {
        let state = u16::from_ne_bytes(message.get(8..10)?.try_into().ok()?);
        let parts = message.get(NEIGHBOUR..)?;
        Some(Self {
            state: neighbour_state(state),
            mac: attribute(parts, libc::NDA_LLADDR).and_then(|mac| mac.try_into().ok().map(Mac)),
            remote: attribute(parts, libc::NDA_DST).and_then(address),
        })
    }
}

/// The state of the first bit that is set.
fn neighbour_state(bits: u16) -> NeighbourState {
    const STATES: [(u16, NeighbourState); 8] = [
        (libc::NUD_INCOMPLETE, NeighbourState::Incomplete),
        (libc::NUD_REACHABLE, NeighbourState::Reachable),
        (libc::NUD_STALE, NeighbourState::Stale),
        (libc::NUD_DELAY, NeighbourState::Delay),
        (libc::NUD_PROBE, NeighbourState::Probe),
        (libc::NUD_FAILED, NeighbourState::Failed),
        (libc::NUD_NOARP, NeighbourState::Noarp),
        (libc::NUD_PERMANENT, NeighbourState::Permanent),
    ];
    let mut states = STATES.iter();
    let found = states.find(|(bit, _)| bits & bit != 0);
    found.map_or(NeighbourState::None, |(_, state)| *state)
}

/// The state for a `BR_STATE_*` number (include/uapi/linux/if_bridge.h).
const fn port_state(number: u8) -> Option<PortState> {
    match number {
        0 => Some(PortState::Disabled),
        1 => Some(PortState::Listening),
        2 => Some(PortState::Learning),
        3 => Some(PortState::Forwarding),
        4 => Some(PortState::Blocking),
        _ => None,
    }
}

/// The namespace's address in a message. On point-to-point devices, `IFA_ADDRESS` is the
/// peer's.
fn own_address(message: &[u8]) -> Option<IpAddr> {
    let parts = message.get(ADDRESS..)?;
    address(attribute(parts, IFA_LOCAL).or_else(|| attribute(parts, IFA_ADDRESS))?)
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().map(u32::from_ne_bytes).ok()
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end_matches('\0').to_owned()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
