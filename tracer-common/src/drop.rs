//! The types that the drop programs and user space share.
//!
//! The kernel frees a packet that goes no further with `kfree_skb`. The call says from where,
//! and since Linux 5.17, why. That is evidence, not a verdict, because the kernel frees
//! delivered packets there, too. The layout of kernel structures differs from build to build.
//! User space finds the offsets in the kernel's BTF and passes them in a [`DropLoad`].

use crate::{counters, event::HopEvent};

/// Bytes of an interface's name (`IFNAMSIZ`).
pub const NAME_BYTES: usize = 16;

/// Offsets of fields in the running kernel's structures, in bytes from the structure's start.
///
/// Each of these fields exists in every kernel on which the programs load, and user space
/// refuses to start without it. Fields that may be [`ABSENT`] are the exception.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DropLoad {
    /// `sk_buff.head`: pointer to the buffer.
    pub skb_head: u32,
    /// `sk_buff.data`: pointer to the present first byte.
    pub skb_data: u32,
    /// `sk_buff.tail`: end of the linear part, from `head`.
    pub skb_tail: u32,
    /// `sk_buff.end`: end of the buffer and start of `skb_shared_info`, from
    /// `head`.
    pub skb_end: u32,
    /// `sk_buff.len`.
    pub skb_len: u32,
    /// `sk_buff.mac_header`, from `head`.
    pub skb_mac_header: u32,
    /// `sk_buff.network_header`, from `head`.
    pub skb_network_header: u32,
    /// `sk_buff.protocol`: the EtherType.
    pub skb_protocol: u32,
    /// `sk_buff.dev`.
    pub skb_dev: u32,
    /// `sk_buff.sk`.
    pub skb_sk: u32,
    /// `skb_shared_info.gso_segs`.
    pub shared_gso_segs: u32,
    /// `net_device.name`.
    pub dev_name: u32,
    /// `net_device.ifindex`.
    pub dev_ifindex: u32,
    /// `net_device.nd_net.net`.
    pub dev_net: u32,
    /// `sock_common.skc_net.net`, which every kind of socket begins with.
    pub sk_net: u32,
    /// `net.ns.inum`.
    pub net_inum: u32,
    /// `sk_buff.mark`.
    pub skb_mark: u32,
    /// `sk_buff._skb_refdst`: pointer to the route, and a flag in its lowest bit.
    pub skb_refdst: u32,
    /// `dst_entry.dev`.
    pub dst_dev: u32,
    /// `sk_buff._nfct`: pointer to the connection, and in the lowest three bits the packet's
    /// state (`enum ip_conntrack_info`). [`ABSENT`] in a kernel without connection tracking.
    pub skb_nfct: u32,
    /// `nf_conn.status`. [`ABSENT`] also if connection tracking is a module, because the
    /// kernel's own BTF does not have its types.
    pub ct_status: u32,
    /// Always 0.
    pub padding: u32,
}

const _: () = assert!(size_of::<DropLoad>() == 88);

/// In place of an offset: the running kernel does not have the field.
pub const ABSENT: u32 = u32::MAX;

/// Lowest inode number of a namespace (`PROC_DYNAMIC_FIRST` in fs/proc/generic.c, less the few
/// numbers of the first namespaces). A lower number is not a namespace's.
pub const FIRST_NAMESPACE: u32 = 0xefff_fff0;

/// What told the network namespace of a drop.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The socket that refused the packet.
    Receiver = 1,
    /// The device at which the packet was.
    Device = 2,
    /// The packet's own socket.
    Socket = 3,
}

/// One packet that the kernel freed with `kfree_skb`. Native byte order, except copied headers.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropEvent {
    /// Return address of the call that freed the packet.
    pub location: u64,
    /// The kernel's number of the drop reason; 0 without a reason.
    pub reason: u32,
    /// Inode number of the network namespace; 0 if it is not known.
    pub netns: u32,
    /// Name of the device; zeros if it is not known.
    pub device: [u8; NAME_BYTES],
    /// EtherType, host byte order; 0 for a buffer that was never a packet on its way.
    pub protocol: u16,
    /// [`Scope`]; 0 if the namespace is not known.
    pub scope: u8,
    /// The packet's state for connection tracking: `enum ip_conntrack_info`
    /// (include/uapi/linux/netfilter/nf_conntrack_common.h). [`NO_CONNECTION`] if connection
    /// tracking has none for the packet.
    pub ct_info: u8,
    /// Status of the connection: `enum ip_conntrack_status` (the same file); 0 if it could not
    /// be read.
    pub ct_status: u32,
    /// The sk_buff's mark.
    pub mark: u32,
    /// Always 0.
    pub padding: u32,
    /// Name of the device by which the packet's route leaves; zeros if the packet has no route
    /// yet.
    pub outlet: [u8; NAME_BYTES],
    /// The packet, as at an observation point. `ifindex` is 0 if the device is not known, and
    /// `network` is 0 if no header could be read. Offsets and length count from the network
    /// header, or from the Ethernet header if a VLAN tag is in the frame. Direction and VLAN
    /// tag are not known here, and are 0. The generation is 0 with
    /// [`crate::config::DROPS_ALL`].
    pub hop: HopEvent,
}

const _: () = assert!(size_of::<DropEvent>() == 272);
const _: () = assert!(
    size_of::<DropEvent>()
        == 8 + 4 * 2 + NAME_BYTES + 2 + 1 + 1 + 4 * 3 + NAME_BYTES + size_of::<HopEvent>()
);

/// Value of [`DropEvent::ct_info`] without a connection. The kernel's values have three bits,
/// so this one is free.
pub const NO_CONNECTION: u8 = 8;

impl DropEvent {
    /// An event of zeros.
    pub const ZERO: Self = Self {
        location: 0,
        reason: 0,
        netns: 0,
        device: [0; NAME_BYTES],
        protocol: 0,
        scope: 0,
        ct_info: NO_CONNECTION,
        ct_status: 0,
        mark: 0,
        padding: 0,
        outlet: [0; NAME_BYTES],
        hop: HopEvent::ZERO,
    };

    /// Reads an event from `bytes`; `None` if their number is not an event's size.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != size_of::<Self>() {
            return None;
        }
        // SAFETY: `bytes` holds as many bytes as `Self`, which consists of
        // integers without padding, so that any bytes are a value of it;
        // nothing is assumed of their alignment.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}

/// What became of one freed packet.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropCounter {
    /// The drop was in a namespace that is not watched. In a follow, only packets of the follow
    /// count here.
    Elsewhere = 0,
    /// The namespace of the drop is not known, so no verdict uses it. Only with
    /// [`crate::config::DROPS_ALL`]; in a follow, the packet is an event then, too.
    Unscoped = 1,
    /// The packet's event is in the ring buffer.
    Emitted = 2,
    /// The ring buffer had no room: a lost event.
    RingFull = 3,
    /// The event budget of this window was spent: a lost event.
    RateLimited = 4,
    /// The packet does not belong to the follow, wherever the kernel freed it.
    Miss = 5,
    /// The packet belongs to the follow, but not to the sample.
    SampledOut = 6,
    /// The EtherType is that of IP, of ARP or of something that may carry IP, but the headers
    /// cannot be parsed. So the packet may belong to the follow.
    Unparsed = 7,
}

impl DropCounter {
    /// Number of counters.
    pub const COUNT: usize = 8;
}

/// Counters of the drop program on one CPU, indexed by [`DropCounter`]. Each run of the program
/// is in exactly one of them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DropCounters {
    /// Freed packets, by [`DropCounter`].
    pub packets: [u64; DropCounter::COUNT],
}

const _: () = assert!(size_of::<DropCounters>() == 64);

impl DropCounters {
    /// Number of packets in `counter`.
    #[must_use]
    pub const fn get(&self, counter: DropCounter) -> u64 {
        self.packets[counter as usize]
    }

    /// The increase since the values `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            packets: counters::since(&self.packets, &before.packets),
        }
    }

    /// Adds the counters of another CPU or agent.
    pub fn add(&mut self, other: &Self) {
        counters::add(&mut self.packets, &other.packets);
    }
}
