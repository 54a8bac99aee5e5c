//! Settings that user space gives a kernel program, at load and while it runs.

use crate::hash::Key;

/// Limit of UDP ports for one kind of tunnel.
pub const PORTS: usize = 4;

/// Destination UDP ports that carry tunnels, host byte order; unused entries
/// are 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelPorts {
    /// Ports of VXLAN.
    pub vxlan: [u16; PORTS],
    /// Ports of Geneve.
    pub geneve: [u16; PORTS],
}

/// Read-only globals of a loaded program; one load serves one network namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Key of the payload hash, the same on every node of a follow.
    pub key: Key,
    /// Salt that the program adds to the address of an sk_buff in every event, so that nobody
    /// takes this address for an identity on two nodes.
    pub salt: u64,
    /// UDP ports of tunnels.
    pub ports: TunnelPorts,
}

const _: () = assert!(size_of::<Load>() == 40);

/// Length of one window of the event budget, as a power of two in ns: 2^26 ns, 67 ms.
pub const BUDGET_WINDOW_SHIFT: u32 = 26;

/// Settings that may change while a program runs; the only element of their map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Generation of the present filter, whose tables are those of the slot `generation % 2`. 0
    /// is the empty filter with which a program starts.
    pub generation: u32,
    /// Events allowed in one budget window.
    pub budget: u32,
    /// Limit of the sample: a packet is in it if the upper half of its sampling hash is at most
    /// this value. `u32::MAX` takes all packets.
    pub sample: u32,
    /// Bits: [`EXPLAIN_MISSES`], [`PREFIXES`] and [`DROPS_ALL`].
    pub flags: u32,
    /// By slot: number of the words of the [`crate::filter::Prefilter`], a power of two, minus
    /// one.
    pub prefilter_masks: [u32; 2],
}

const _: () = assert!(size_of::<Config>() == 24);

/// Flag of [`Config`]: the program counts unmatched traffic of followed addresses by
/// destination.
pub const EXPLAIN_MISSES: u32 = 1;
/// Flag of [`Config`]: the filter has prefixes of more than one address. The program looks up
/// an address there if the table of addresses does not have it.
pub const PREFIXES: u32 = 2;
/// Flag of [`Config`] for the drop programs: every packet that the kernel frees in a watched
/// namespace is an event, also outside of the follow.
pub const DROPS_ALL: u32 = 4;
