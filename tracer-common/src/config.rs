//! What user space tells a program, once at load and while it runs.

use crate::hash::Key;

/// How many UDP ports can be taken for one kind of tunnel at once.
pub const PORTS: usize = 4;

/// Destination UDP ports that carry tunnels, host byte order; unused entries
/// are 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TunnelPorts {
    /// VXLAN's.
    pub vxlan: [u16; PORTS],
    /// Geneve's.
    pub geneve: [u16; PORTS],
}

/// Read-only globals of a load: one load serves one network namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Hashes payload bytes; the same on every node of a follow.
    pub key: Key,
    /// Added to the address of an sk_buff in every event, so that nothing
    /// can take it for identity between two nodes.
    pub salt: u64,
    /// Which datagrams carry packets.
    pub ports: TunnelPorts,
}

const _: () = assert!(size_of::<Load>() == 40);

/// How long one window of the event budget lasts, as a power of two of
/// nanoseconds: 2^26 ns, 67 ms.
pub const BUDGET_WINDOW_SHIFT: u32 = 26;

/// What may change while a program runs, the only element of its map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Which filter is in force: its tables are those of the slot
    /// `generation % 2`. 0 is the empty filter that a program starts with.
    pub generation: u32,
    /// Events allowed in one budget window.
    pub budget: u32,
    /// A packet is in the sample when the upper half of its sampling hash is
    /// at most this: `u32::MAX` takes all.
    pub sample: u32,
    /// [`EXPLAIN_MISSES`], [`PREFIXES`] and [`DROPS_ALL`].
    pub flags: u32,
    /// The [`crate::filter::Prefilter`]'s words, a power of two, less one; by slot.
    pub prefilter_masks: [u32; 2],
}

const _: () = assert!(size_of::<Config>() == 24);

/// Flag of [`Config`]: packets that leave a followed address towards
/// somewhere else are counted by destination.
pub const EXPLAIN_MISSES: u32 = 1;
/// Flag of [`Config`]: the filter has prefixes that hold more than one
/// address, so that an address found in no table of addresses is looked up
/// among those.
pub const PREFIXES: u32 = 2;
/// Flag of [`Config`], for the drop programs: every packet that is freed in a
/// wanted namespace is an event, whether or not it belongs to a follow.
pub const DROPS_ALL: u32 = 4;
