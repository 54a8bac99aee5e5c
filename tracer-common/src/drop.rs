//! What the drop programs and user space agree on.
//!
//! The kernel frees a packet that goes no further with `kfree_skb`, and says
//! from where and, since Linux 5.17, why. That is evidence, not a verdict:
//! delivered packets end there, too. The programs read kernel structures whose
//! layout differs from build to build, at offsets that user space finds in the
//! kernel's own type information and passes in a [`DropLoad`].

use crate::{counters, event::HopEvent};

/// Bytes of an interface's name (`IFNAMSIZ`).
pub const NAME_BYTES: usize = 16;

/// Where fields lie in the running kernel's structures, in bytes from the
/// structure's start, and what else a load of the drop programs is told.
///
/// Every field named here exists in every kernel that the programs load on, and
/// user space refuses to start where one does not; but for what says [`ABSENT`],
/// which is then left out.
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
    /// `sk_buff._nfct`: pointer to the connection, and the packet's part in it in the
    /// lowest three bits. [`ABSENT`] in a kernel without connection tracking.
    pub skb_nfct: u32,
    /// `nf_conn.status`. [`ABSENT`] also where connection tracking is a module, of which
    /// the kernel's own type information tells nothing.
    pub ct_status: u32,
    /// Always 0.
    pub padding: u32,
}

const _: () = assert!(size_of::<DropLoad>() == 88);

/// The offset of a field that the running kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// Inode numbers of namespaces begin here (`PROC_DYNAMIC_FIRST` in
/// fs/proc/generic.c, and the few below it that the first namespaces have).
/// What claims to be a namespace and has a lower one is something else.
pub const FIRST_NAMESPACE: u32 = 0xefff_fff0;

/// How a drop's namespace was found.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// By the socket that refused it.
    Receiver = 1,
    /// By the device it was at.
    Device = 2,
    /// By the socket it belongs to.
    Socket = 3,
}

/// One packet that the kernel freed with `kfree_skb`. Native byte order but
/// for copied headers.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropEvent {
    /// Return address of the call that freed it.
    pub location: u64,
    /// The kernel's reason number, 0 where it gives none.
    pub reason: u32,
    /// Inode number of the network namespace, 0 where it could not be told.
    pub netns: u32,
    /// Name of the device, zeros where it is not known.
    pub device: [u8; NAME_BYTES],
    /// EtherType, host byte order; 0 of what was never on its way.
    pub protocol: u16,
    /// [`Scope`], 0 where the namespace could not be told.
    pub scope: u8,
    /// The packet's part in its connection: `enum ip_conntrack_info`
    /// (include/uapi/linux/netfilter/nf_conntrack_common.h); [`NO_CONNECTION`]
    /// where connection tracking has none for it.
    pub ct_info: u8,
    /// `enum ip_conntrack_status` of that connection (the same file), 0 where it
    /// could not be read.
    pub ct_status: u32,
    /// The sk_buff's mark.
    pub mark: u32,
    /// Always 0.
    pub padding: u32,
    /// Name of the device that the packet's route leads out of, zeros where it
    /// has no route yet.
    pub outlet: [u8; NAME_BYTES],
    /// The packet, as at an observation point: `ifindex` is 0 where the
    /// device is not known, `network` is 0 where no header could be read,
    /// offsets and length count from the network header, or from the Ethernet
    /// header where a VLAN tag is in the frame. Direction and VLAN tag are not
    /// known here, and 0. The generation is 0 with
    /// [`crate::config::DROPS_ALL`].
    pub hop: HopEvent,
}

const _: () = assert!(size_of::<DropEvent>() == 272);
const _: () = assert!(
    size_of::<DropEvent>()
        == 8 + 4 * 2 + NAME_BYTES + 2 + 1 + 1 + 4 * 3 + NAME_BYTES + size_of::<HopEvent>()
);

/// Value of [`DropEvent::ct_info`]: it has three bits in the kernel.
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

    /// The event in `bytes`, if they are as many as an event has.
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
    /// In a network namespace of somebody else. Of a follow's packets only:
    /// of the others nobody asks where.
    Elsewhere = 0,
    /// In no namespace that can be told: it decides nothing. Only with
    /// [`crate::config::DROPS_ALL`]: a follow's packet is an event then, too.
    Unscoped = 1,
    /// Its event is in the ring buffer.
    Emitted = 2,
    /// The ring buffer had no room: a lost event.
    RingFull = 3,
    /// The event budget of this moment was spent: a lost event.
    RateLimited = 4,
    /// Does not belong to the follow, wherever it was freed.
    Miss = 5,
    /// Belongs to it, but its flow or content is not in the sample.
    SampledOut = 6,
    /// IP, ARP or what may carry IP by its EtherType, but its headers cannot be
    /// parsed: it may belong to the follow.
    Unparsed = 7,
}

impl DropCounter {
    /// How many there are.
    pub const COUNT: usize = 8;
}

/// Counters of the drop program on one CPU, indexed by [`DropCounter`]: each
/// run of the program is in one of them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DropCounters {
    /// Freed packets, by [`DropCounter`].
    pub packets: [u64; DropCounter::COUNT],
}

const _: () = assert!(size_of::<DropCounters>() == 64);

impl DropCounters {
    /// Packets counted in `counter`.
    #[must_use]
    pub const fn get(&self, counter: DropCounter) -> u64 {
        self.packets[counter as usize]
    }

    /// What was counted since they were `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            packets: counters::since(&self.packets, &before.packets),
        }
    }

    /// Adds another CPU's, or another agent's, counters to these.
    pub fn add(&mut self, other: &Self) {
        counters::add(&mut self.packets, &other.packets);
    }
}
