//! What the programs share with user space, and how they see it as the
//! filter's tables.

use core::{cell::Cell, hint::black_box, mem::MaybeUninit};

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf, lpm_trie::Key},
};
use tracer_common::{
    config::{self, Config, Load, PORTS, TunnelPorts},
    counters::{Counter, Counters, SEVERAL, SLOTS},
    drop::{DropCounter, DropCounters, DropLoad},
    elsewhere::{Elsewhere, MAX_ELSEWHERE},
    filter::{AddressKey, Ends, KEY_PREFIX_BITS, MAX_RULES, Prefilter, Rule, Sides, Tables},
    walk::Layers,
};

/// Read-only once loaded; user space writes it before.
#[unsafe(no_mangle)]
static LOAD: Load = Load {
    key: tracer_common::hash::Key([0; 2]),
    salt: 0,
    ports: TunnelPorts {
        vxlan: [0; PORTS],
        geneve: [0; PORTS],
    },
};

/// Its only element.
#[map]
static CONFIG: Array<Config> = Array::with_max_entries(1, 0);

/// One per filter slot.
#[map]
static PREFILTER: Array<Prefilter> = Array::with_max_entries(2, 0);

/// Single addresses, of both filter slots; sized by user space.
#[map]
static ADDRESSES: HashMap<AddressKey, Sides> = HashMap::with_max_entries(1024, 0);

/// Prefixes of more than one address, likewise. A look-up here costs several
/// times as much, and most follows need none.
#[map]
static PREFIXES: LpmTrie<AddressKey, Sides> = LpmTrie::with_max_entries(1024, 0);

/// Those of slot 0, then those of slot 1.
#[map]
static RULES: Array<Rule> = Array::with_max_entries(2 * MAX_RULES as u32, 0);

/// By [`tracer_common::counters::slot`].
#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(SLOTS, 0);

/// Likewise: the interface that is observed there, as
/// [`tracer_common::counters::share`] has it.
#[map]
static POINTS: Array<u32> = Array::with_max_entries(SLOTS, 0);

/// Where the packets of followed addresses go instead.
#[map]
static ELSEWHERE: LruHashMap<Elsewhere, u64> = LruHashMap::with_max_entries(MAX_ELSEWHERE, 0);

/// Events spent in the present budget window.
#[map]
static BUDGET: Array<Budget> = Array::with_max_entries(1, 0);

/// What one stage of a program leaves for the next, per CPU.
#[map]
static FOUND: PerCpuArray<Found> = PerCpuArray::with_max_entries(1, 0);

/// Where a packet's headers lie, and whose addresses decide about it. The stages
/// of a run all hold it at once, hence the cells.
pub(crate) struct Found {
    pub(crate) layers: Stage<Layers>,
    pub(crate) ends: Stage<Ends>,
    /// What an ICMP error quotes.
    pub(crate) quote: Stage<Layers>,
    /// See [`forget`].
    number: Cell<usize>,
}

/// What one stage leaves for a later one of the same run.
pub(crate) struct Stage<T>(Cell<MaybeUninit<T>>);

impl<T> Stage<T> {
    #[inline(always)]
    pub(crate) fn leave(&self, value: T) {
        self.0.set(MaybeUninit::new(value));
    }

    /// # Safety
    /// It was left in this run, and is not left anew while the reference lives.
    #[inline(always)]
    pub(crate) unsafe fn get(&self) -> &T {
        // SAFETY: the pointer is valid as `self` is; see above.
        let left = unsafe { &*self.0.as_ptr() };
        // SAFETY: see above.
        unsafe { left.assume_init_ref() }
    }
}

// SAFETY: each CPU has its own, which no other one reads.
unsafe impl Sync for Found {}
// SAFETY: as above.
unsafe impl Sync for Freed {}

/// The events; sized by user space.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// As [`LOAD`], of the drop programs.
#[unsafe(no_mangle)]
pub(crate) static DROP_LOAD: DropLoad = DropLoad {
    skb_head: 0,
    skb_data: 0,
    skb_tail: 0,
    skb_end: 0,
    skb_len: 0,
    skb_mac_header: 0,
    skb_network_header: 0,
    skb_protocol: 0,
    skb_dev: 0,
    skb_sk: 0,
    shared_gso_segs: 0,
    dev_name: 0,
    dev_ifindex: 0,
    dev_net: 0,
    sk_net: 0,
    net_inum: 0,
    skb_mark: 0,
    skb_refdst: 0,
    dst_dev: 0,
    skb_nfct: 0,
    ct_status: 0,
    padding: 0,
};

/// What one stage of a drop program leaves for the next, per CPU.
#[map]
static FREED: PerCpuArray<Freed> = PerCpuArray::with_max_entries(1, 0);

/// A packet that the kernel frees; cells as in [`Found`].
pub(crate) struct Freed {
    /// Its address, and that of the call that frees it.
    pub(crate) skb: Cell<u64>,
    pub(crate) location: Cell<u64>,
    /// The receiving socket's address, or 0.
    pub(crate) receiver: Cell<u64>,
    pub(crate) reason: Cell<u32>,
    /// Where it was freed, and how that is known; 0 where it is not.
    pub(crate) netns: Cell<u32>,
    pub(crate) scope: Cell<u32>,
    /// EtherType, host byte order.
    pub(crate) protocol: Cell<u16>,
    /// Where its network header lies, how many bytes of the linear part begin
    /// there, and how many of the packet.
    pub(crate) start: Cell<u64>,
    pub(crate) len: Cell<u64>,
    pub(crate) end: Cell<u32>,
    /// 1 where these count from its Ethernet header instead.
    pub(crate) ethernet: Cell<u32>,
    /// The first of them.
    pub(crate) front: Cell<[u8; FRONT]>,
    /// Whether they were walked to an innermost packet: that is in the other
    /// scratch memory, [`Found`].
    pub(crate) located: Cell<bool>,
}

/// Bytes of a freed packet that are copied at once: an IPv4 packet's headers
/// in a tunnel over IPv4, with what an ICMP error quotes.
pub(crate) const FRONT: usize = 128;

/// Network namespaces, by inode number, whose drops are wanted.
#[map]
static NAMESPACES: HashMap<u32, u32> = HashMap::with_max_entries(4096, 0);

/// Its only element.
#[map]
static DROP_COUNTERS: PerCpuArray<DropCounters> = PerCpuArray::with_max_entries(1, 0);

/// The drop events, apart from the others, so that a flood of the ones never
/// pushes out the others; sized by user space.
#[map]
pub(crate) static DROPS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// A window of the event budget.
#[repr(C)]
pub(crate) struct Budget {
    /// Number of the window.
    window: u64,
    /// Events asked for in it.
    spent: u64,
}

/// The load's read-only globals.
#[inline(always)]
pub(crate) fn load() -> Load {
    // SAFETY: a valid static that nothing writes while the program runs.
    // Volatile, because user space replaced the value that the compiler saw.
    unsafe { core::ptr::read_volatile(&raw const LOAD) }
}

/// Those of them that the walk needs. It has no room for a copy: a program's
/// stack is 512 bytes, those that it calls included.
#[inline(always)]
pub(crate) fn ports() -> &'static TunnelPorts {
    // User space replaced the value that the compiler saw.
    black_box(&LOAD.ports)
}

/// The read-only globals of the drop programs.
#[inline(always)]
pub(crate) fn drop_load() -> DropLoad {
    // SAFETY: as in `load`.
    unsafe { core::ptr::read_volatile(&raw const DROP_LOAD) }
}

/// This CPU's scratch memory of the drop programs. Where a program can interrupt
/// this one, the values may be the other's, which the program checks.
#[inline(always)]
pub(crate) fn freed() -> Option<&'static Freed> {
    FREED.get(0)
}

/// Whether drops in the network namespace of this inode number are wanted.
#[inline(always)]
pub(crate) fn is_wanted(netns: u32) -> bool {
    // SAFETY: only whether there is an entry is of interest.
    unsafe { NAMESPACES.get(netns) }.is_some()
}

/// Counts a freed packet.
#[inline(always)]
pub(crate) fn count_drop(counter: DropCounter) {
    if let Some(counters) = DROP_COUNTERS.get_ptr_mut(0) {
        // SAFETY: the element belongs to this CPU. A program that interrupted
        // this one, which newer kernels do not allow, might lose a count.
        unsafe { (*counters).packets[counter as usize] += 1 };
    }
}

/// What may change while programs run.
#[inline(always)]
pub(crate) fn config() -> Option<&'static Config> {
    CONFIG.get(0)
}

/// This CPU's scratch memory. Classifiers do not interrupt each other on a CPU:
/// they run with bottom halves off. Of drop programs see [`freed`].
#[inline(always)]
pub(crate) fn found() -> Option<&'static Found> {
    FOUND.get(0)
}

/// The same number, but the verifier takes it for any: it comes out of a map.
#[inline(always)]
pub(crate) fn forget(number: usize) -> usize {
    let Some(found) = found() else {
        return 0;
    };
    found.number.set(number);
    // SAFETY: a cell is valid. Volatile, because the compiler knows what was
    // just written.
    unsafe { core::ptr::read_volatile(found.number.as_ptr()) }
}

/// Whether an interface is observed, in the direction of `slot`. It is not where
/// somebody else runs a program of ours (`BPF_PROG_TEST_RUN`).
#[inline(always)]
pub(crate) fn is_point(slot: u32, ifindex: u32) -> bool {
    POINTS
        .get(slot)
        .is_some_and(|known| *known == ifindex || *known == SEVERAL)
}

/// Counts a packet.
#[inline(always)]
pub(crate) fn count(slot: u32, counter: Counter) {
    if let Some(counters) = COUNTERS.get_ptr_mut(slot) {
        // SAFETY: the element belongs to this CPU, on which programs of this
        // kind do not interrupt each other.
        unsafe { (*counters).packets[counter as usize] += 1 };
    }
}

/// Counts a packet that a followed address sent somewhere else.
#[inline(always)]
pub(crate) fn count_elsewhere(key: &Elsewhere) {
    if let Some(count) = ELSEWHERE.get_ptr_mut(key) {
        // SAFETY: a valid element; a race between CPUs may lose a count of
        // this explanatory figure, nothing more.
        unsafe { *count += 1 };
    } else {
        // A full table or a race leaves this one uncounted.
        let _: Result<(), i32> = ELSEWHERE.insert(key, 1_u64, 0);
    }
}

/// Takes one event out of the budget of the window that `now` (ns) is in.
#[inline(always)]
pub(crate) fn spend(now: u64, budget: u32) -> bool {
    let Some(state) = BUDGET.get_ptr_mut(0) else {
        return false;
    };
    let window = now >> config::BUDGET_WINDOW_SHIFT;
    #[expect(
        clippy::multiple_unsafe_ops_per_block,
        reason = "one reason holds for all"
    )]
    // SAFETY: a valid element of two integers. CPUs race for it, as eBPF has
    // no portable atomics before 5.12, which may grant a few events more than
    // the budget: what was granted and what was not is counted elsewhere.
    unsafe {
        if (*state).window < window {
            (*state).window = window;
            (*state).spent = 0;
        }
        (*state).spent += 1;
        (*state).spent <= u64::from(budget)
    }
}

/// The tables of the filter that is in force.
pub(crate) struct Current {
    slot: u32,
    prefixes: bool,
}

impl Current {
    #[inline(always)]
    pub(crate) const fn of(config: &Config) -> Self {
        Self {
            slot: config.generation & 1,
            prefixes: config.flags & config::PREFIXES != 0,
        }
    }
}

impl Tables for Current {
    #[inline(always)]
    fn may_concern(&self, index: u32) -> bool {
        PREFILTER
            .get(self.slot)
            .is_some_and(|prefilter| prefilter.contains(index & 0xfff))
    }

    #[inline(always)]
    fn sides(&self, address: &[u8; 16]) -> Sides {
        let key = Key::new(
            KEY_PREFIX_BITS + 128,
            AddressKey {
                slot: self.slot,
                address: *address,
            },
        );
        // SAFETY: an entry that is replaced at this moment was of a filter
        // that is no longer in force; its two halves are harmless.
        match unsafe { ADDRESSES.get(key.data) } {
            Some(sides) => *sides,
            None if self.prefixes => PREFIXES.get(&key).copied().unwrap_or_default(),
            None => Sides::default(),
        }
    }

    #[inline(always)]
    fn rule(&self, index: u32) -> Rule {
        RULES
            .get(self.slot * MAX_RULES as u32 + index)
            .copied()
            .unwrap_or_default()
    }
}
