//! The maps and globals that the programs share with user space, and access to them as the tables
//! of the filter.

use core::{
    cell::{Cell, UnsafeCell},
    hint::black_box,
    mem::MaybeUninit,
};

use aya_ebpf::{
    macros::map,
    maps::{
        Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray, RingBuf, lpm_trie::Key,
    },
};
use tracer_common::{
    config::{self, Config, Load, PORTS, TunnelPorts},
    counters::{Counter, Counters, SEVERAL, SLOTS},
    drop::{DropCounter, DropCounters, DropLoad},
    elsewhere::{Elsewhere, MAX_ELSEWHERE},
    event::{HopEvent, MAX_SNAPLEN},
    filter::{
        AddressKey, Ends, Identity, KEY_PREFIX_BITS, MAX_RULE_SETS, PREFILTER_WORDS, PairKey,
        Prefilters, Rule, RuleSet, Spot, Tables,
    },
    flow::{Flow, Flows},
    layers::Layers,
};

/// User space writes these values before it loads the programs. After that, they are read-only.
#[unsafe(no_mangle)]
static LOAD: Load = Load {
    key: tracer_common::hash::Key([0; 2]),
    salt: 0,
    ports: TunnelPorts {
        vxlan: [0; PORTS],
        geneve: [0; PORTS],
    },
};

/// The number of bytes of a frame that an event carries. With 0, the verifier removes the code that
/// captures frames. User space writes the number before it loads the programs.
#[unsafe(no_mangle)]
static SNAPLEN: u32 = 0;

/// Whether the programs capture the frames of DNS answers, whatever [`SNAPLEN`] is: 1 or 0. With 0,
/// the verifier removes the code that looks for them.
#[unsafe(no_mangle)]
static DNS_NAMES: u32 = 0;

/// A value that user space writes while programs run. The value has its own section, which becomes
/// a map, so programs read it without a look-up.
#[repr(transparent)]
struct Written<T>(UnsafeCell<T>);

// SAFETY: programs only read the value, and it consists of integers, so any bytes are valid.
unsafe impl<T> Sync for Written<T> {}

impl<T> Written<T> {
    #[inline(always)]
    fn get(&'static self) -> *const T {
        self.0.get()
    }
}

#[unsafe(link_section = ".bss.config")]
#[unsafe(no_mangle)]
static CONFIG: Written<Config> = Written(UnsafeCell::new(Config {
    generation: 0,
    budget: 0,
    sample: 0,
    flags: 0,
    prefilter_masks: [0; 2],
}));

#[unsafe(link_section = ".bss.prefilter")]
#[unsafe(no_mangle)]
static PREFILTER: Written<Prefilters> = Written(UnsafeCell::new(Prefilters {
    words: [[0; PREFILTER_WORDS]; 2],
}));

/// The observed interface of each [`tracer_common::counters::slot`], in the form that
/// [`tracer_common::counters::share`] gives it.
#[unsafe(link_section = ".bss.points")]
#[unsafe(no_mangle)]
static POINTS: Written<[u32; SLOTS as usize]> = Written(UnsafeCell::new([0; SLOTS as usize]));

/// The closer of the classifiers, which they tail-call for packets that a glance does not settle.
/// The map has one element.
#[map]
pub(crate) static CLOSER: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// The closer of the XDP program: a program array holds programs of one type only.
#[map]
pub(crate) static XDP_CLOSER: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// The latest decisions, by flow and point.
#[map]
static FLOWS: PerCpuArray<Flows> = PerCpuArray::with_max_entries(1, 0);

/// The single addresses of both filter slots. User space sets the size.
#[map]
static ADDRESSES: HashMap<AddressKey, Identity> = HashMap::with_max_entries(1024, 0);

/// The prefixes with more than one address, of both filter slots. User space sets the size. A
/// look-up here costs several times as much as in [`ADDRESSES`], and most follows have no prefixes.
#[map]
static PREFIXES: LpmTrie<AddressKey, Identity> = LpmTrie::with_max_entries(1024, 0);

/// The numbers of rule sets, of both filter slots. User space sets the size.
#[map]
static PAIRS: HashMap<PairKey, u32> = HashMap::with_max_entries(1024, 0);

/// The rule sets of slot 0, then the rule sets of slot 1.
#[map]
static RULES: Array<RuleSet> = Array::with_max_entries(2 * MAX_RULE_SETS as u32, 0);

/// The counters of each [`tracer_common::counters::slot`]. User space sets the size, and leaves out
/// the slots of XDP if no interface is observed there.
#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(SLOTS, 0);

/// The destinations outside of the follow to which followed addresses send packets.
#[map]
static ELSEWHERE: LruHashMap<Elsewhere, u64> = LruHashMap::with_max_entries(MAX_ELSEWHERE, 0);

/// The events of the present budget window.
#[map]
static BUDGET: Array<Budget> = Array::with_max_entries(1, 0);

/// The results that one stage of a program leaves for the next stage, per CPU.
#[map]
static FOUND: PerCpuArray<Found> = PerCpuArray::with_max_entries(1, 0);

/// The position of a packet's headers, and the addresses that decide about the packet. All stages
/// of a run refer to this value at once, so its fields are cells.
pub(crate) struct Found {
    pub(crate) layers: Stage<Layers>,
    pub(crate) ends: Stage<Ends>,
    /// The packet that an ICMP error quotes.
    pub(crate) quote: Stage<Layers>,
    /// 1 if the packet is an ICMP error with a parsed quote.
    pub(crate) quotes: Cell<u32>,
    /// The message of a glance to its closer; see [`crate::closer`].
    pub(crate) glanced: Cell<u32>,
    /// Memory for [`forget`].
    number: Cell<usize>,
}

/// A value that one stage leaves for a later stage of the same run.
pub(crate) struct Stage<T>(Cell<MaybeUninit<T>>);

impl<T> Stage<T> {
    #[inline(always)]
    pub(crate) fn leave(&self, value: T) {
        self.0.set(MaybeUninit::new(value));
    }

    /// # Safety
    /// A stage of this run has left the value, and none overwrites it while the reference lives.
    #[inline(always)]
    pub(crate) unsafe fn get(&self) -> &T {
        // SAFETY: the pointer is as valid as `self`; for overwriting see above.
        let left = unsafe { &*self.0.as_ptr() };
        // SAFETY: see above.
        unsafe { left.assume_init_ref() }
    }
}

// SAFETY: each CPU has its own, which no other one reads.
unsafe impl Sync for Found {}
// SAFETY: as above.
unsafe impl Sync for Freed {}

/// Memory for an event and the bytes of its frame, before both go to [`EVENTS`].
#[map]
static CAPTURED: PerCpuArray<Captured> = PerCpuArray::with_max_entries(1, 0);

/// A record with captured bytes. Its size varies, and `bpf_ringbuf_reserve` takes only constant
/// sizes, so the record is built here and copied.
#[repr(C)]
pub(crate) struct Captured {
    pub(crate) event: HopEvent,
    pub(crate) frame: [u8; MAX_SNAPLEN],
}

impl Captured {
    /// Emits the event and `bytes` bytes of the frame. Returns false if the ring buffer is full.
    #[inline(always)]
    pub(crate) fn emit(&self, bytes: usize) -> bool {
        let start = core::ptr::from_ref(self).cast::<u8>();
        // SAFETY: the frame follows the event without a gap, and `bytes` is at most its length.
        let record = unsafe { core::slice::from_raw_parts(start, size_of::<HopEvent>() + bytes) };
        EVENTS.output::<[u8]>(record, 0).is_ok()
    }
}

/// The ring buffer of the hop events. User space sets the size.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// The read-only values of the drop programs, as [`LOAD`].
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

/// The results that one stage of a drop program leaves for the next stage, per CPU.
#[map]
static FREED: PerCpuArray<Freed> = PerCpuArray::with_max_entries(1, 0);

/// A packet that the kernel frees. The fields are cells for the same reason as in [`Found`].
pub(crate) struct Freed {
    /// Whether a program is running on this CPU, and uses this element.
    runs: Cell<bool>,
    /// The sk_buff's address, and the address of the call that frees it.
    pub(crate) skb: Cell<u64>,
    pub(crate) location: Cell<u64>,
    /// The receiving socket's address, or 0.
    pub(crate) receiver: Cell<u64>,
    pub(crate) reason: Cell<u32>,
    /// The namespace of the drop, and how it is known ([`tracer_common::drop::Scope`]). Both are 0
    /// if the namespace is unknown.
    pub(crate) netns: Cell<u32>,
    pub(crate) scope: Cell<u32>,
    /// EtherType, in host byte order.
    pub(crate) protocol: Cell<u16>,
    /// The kernel address of the network header, and the numbers of bytes from there to the end of
    /// the linear part and to the end of the packet.
    pub(crate) start: Cell<u64>,
    pub(crate) len: Cell<u64>,
    pub(crate) end: Cell<u32>,
    /// 1 if these count from the Ethernet header instead.
    pub(crate) ethernet: Cell<u32>,
    /// The first bytes from the network header on.
    pub(crate) front: Cell<[u8; FRONT]>,
    /// Whether the walk found an innermost packet, which is then in the other scratch memory,
    /// [`Found`].
    pub(crate) located: Cell<bool>,
}

impl Freed {
    /// Whether a program is running on this CPU.
    #[inline(always)]
    pub(crate) fn is_running(&self) -> bool {
        self.runs.get()
    }

    /// Marks the element as in use, or as free.
    #[inline(always)]
    pub(crate) fn set_running(&self, runs: bool) {
        // SAFETY: the pointer is the cell's own. The write is volatile, because a program that
        // interrupts this one reads it.
        unsafe { core::ptr::write_volatile(self.runs.as_ptr(), runs) };
    }
}

/// The number of bytes of a dropped packet that the program copies at once. They suffice for the
/// headers of an IPv4 packet in a tunnel over IPv4, including the quote of an ICMP error.
pub(crate) const FRONT: usize = 128;

/// The network namespaces, by inode number, whose drops are wanted.
#[map]
static NAMESPACES: HashMap<u32, u32> = HashMap::with_max_entries(4096, 0);

/// The counters of the drop programs. The map has one element.
#[map]
static DROP_COUNTERS: PerCpuArray<DropCounters> = PerCpuArray::with_max_entries(1, 0);

/// The number of runs that were skipped, because a program was already running on the CPU. The map
/// has one element.
#[map]
static DROPS_NESTED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// The ring buffer of the drop events. It is separate from [`EVENTS`], so that a flood of one kind
/// leaves room for the other. User space sets the size.
#[map]
pub(crate) static DROPS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// A window of the event budget.
#[repr(C)]
pub(crate) struct Budget {
    /// The number of the window.
    window: u64,
    /// The number of events that programs have requested in the window.
    spent: u64,
}

/// The read-only values.
#[inline(always)]
pub(crate) fn load() -> Load {
    // SAFETY: a valid static that nothing writes while the program runs. The read is volatile,
    // because user space has replaced the value that the compiler knows.
    unsafe { core::ptr::read_volatile(&raw const LOAD) }
}

/// The number of bytes of a frame that an event carries.
#[inline(always)]
pub(crate) fn snaplen() -> u32 {
    // SAFETY: as in `load`.
    unsafe { core::ptr::read_volatile(&raw const SNAPLEN) }
}

/// Whether the frames of DNS answers are captured.
#[inline(always)]
pub(crate) fn wants_dns() -> bool {
    // SAFETY: as in `load`.
    unsafe { core::ptr::read_volatile(&raw const DNS_NAMES) != 0 }
}

/// This CPU's memory for a record with captured bytes.
///
/// # Safety
/// No other reference to it lives in this run.
#[inline(always)]
pub(crate) unsafe fn captured() -> Option<&'static mut Captured> {
    let captured = CAPTURED.get_ptr_mut(0)?;
    // SAFETY: the element belongs to this CPU, on which programs of this kind do not
    // interrupt each other. For this run, see above. Any bytes are a value.
    Some(unsafe { &mut *captured })
}

/// The tunnels' UDP ports, for the walk. A reference, because the stack has no room for a copy: it
/// has 512 bytes for a program and all its subprograms.
#[inline(always)]
pub(crate) fn ports() -> &'static TunnelPorts {
    // User space has replaced the value that the compiler knows.
    black_box(&LOAD.ports)
}

/// The read-only values of the drop programs.
#[inline(always)]
pub(crate) fn drop_load() -> DropLoad {
    // SAFETY: as in `load`.
    unsafe { core::ptr::read_volatile(&raw const DROP_LOAD) }
}

/// This CPU's scratch memory of the drop programs. On kernels where another run can interrupt this
/// one, the values may be that run's, so the program compares the sk_buff's address at the end.
#[inline(always)]
pub(crate) fn freed() -> Option<&'static Freed> {
    FREED.get(0)
}

/// Whether drops in the network namespace of this inode number are wanted.
#[inline(always)]
pub(crate) fn is_wanted(netns: u32) -> bool {
    // SAFETY: nothing reads the entry's value.
    unsafe { NAMESPACES.get(netns) }.is_some()
}

/// Counts a dropped packet.
#[inline(always)]
pub(crate) fn count_drop(counter: DropCounter) {
    if let Some(counters) = DROP_COUNTERS.get_ptr_mut(0) {
        // SAFETY: the element belongs to this CPU, and a run that interrupts this one does not come
        // here.
        unsafe { (*counters).packets[counter as usize] += 1 };
    }
}

/// Counts a run that was skipped, because a program was already running on this CPU.
#[inline(always)]
pub(crate) fn count_nested() {
    if let Some(nested) = DROPS_NESTED.get_ptr_mut(0) {
        // SAFETY: the element belongs to this CPU. A run that interrupts this one counts as well, and
        // one of the two counts may be lost, but never both.
        unsafe { *nested += 1 };
    }
}

/// The present values of what user space changes while programs run.
#[inline(always)]
pub(crate) fn config() -> Config {
    // SAFETY: a valid value, see `Written`. The read is volatile, because user space writes it.
    unsafe { core::ptr::read_volatile(CONFIG.get()) }
}

/// The mask for word numbers in a slot's prefilter, as in [`Config::prefilter_masks`].
#[inline(always)]
fn prefilter_mask(slot: u32) -> u32 {
    // SAFETY: the static is valid.
    let masks = unsafe { &raw const (*CONFIG.get()).prefilter_masks };
    // SAFETY: `slot & 1` is below 2.
    let mask = unsafe { masks.cast::<u32>().add((slot & 1) as usize) };
    // SAFETY: as in `config`.
    unsafe { core::ptr::read_volatile(mask) }
}

/// This CPU's scratch memory. Classifiers and XDP programs do not interrupt each other on a CPU,
/// because all of them run with bottom halves disabled. For drop programs, see [`freed`].
#[inline(always)]
pub(crate) fn found() -> Option<&'static Found> {
    FOUND.get(0)
}

/// Returns the same number, of which the verifier knows no bounds any more: it comes from a map.
#[inline(always)]
pub(crate) fn forget(number: usize) -> usize {
    let Some(found) = found() else {
        return 0;
    };
    found.number.set(number);
    // SAFETY: a cell is valid. The read is volatile, because the compiler knows the value that was
    // just written.
    unsafe { core::ptr::read_volatile(found.number.as_ptr()) }
}

/// Whether the interface is observed at the place of `slot`. It is not if somebody else runs one of
/// these programs (`BPF_PROG_TEST_RUN`).
#[inline(always)]
pub(crate) fn is_point(slot: u32, ifindex: u32) -> bool {
    let points = POINTS.get().cast::<u32>();
    // SAFETY: a slot is below `SLOTS`.
    let known = unsafe { points.add(slot as usize) };
    // SAFETY: a valid value, see `Written`. The read is volatile, because user space writes it.
    let known = unsafe { core::ptr::read_volatile(known) };
    known == ifindex || known == SEVERAL
}

/// This CPU's cached decision at an index.
///
/// # Safety
/// No other reference to a cached decision lives in this run.
#[inline(always)]
pub(crate) unsafe fn flow(index: usize) -> Option<&'static mut Flow> {
    let flows = FLOWS.get_ptr_mut(0)?;
    // SAFETY: the element belongs to this CPU, on which programs of this kind do not
    // interrupt each other. For this run, see above.
    unsafe { (*flows).flows.get_mut(index) }
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

/// Counts packets that a followed address sends to a destination outside of the follow.
#[inline(always)]
pub(crate) fn count_elsewhere(key: &Elsewhere, packets: u64) {
    if let Some(count) = ELSEWHERE.get_ptr_mut(key) {
        // SAFETY: a valid element. A race between CPUs may lose a count, which only serves
        // explanations.
        unsafe { *count += packets };
    } else {
        // With a full table, or in a race, these packets stay uncounted.
        let _: Result<(), i32> = ELSEWHERE.insert(key, packets, 0);
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
    // SAFETY: a valid element of two integers. CPUs race for it, because eBPF has no portable
    // atomics before Linux 5.12. The race may grant a few events more than the budget. The counters
    // in `Counters` stay right.
    unsafe {
        if (*state).window < window {
            (*state).window = window;
            (*state).spent = 0;
        }
        (*state).spent += 1;
        (*state).spent <= u64::from(budget)
    }
}

/// The tables of the filter in force.
pub(crate) struct Current {
    generation: u32,
    slot: u32,
    flags: u32,
}

impl Current {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self::of(&config())
    }

    #[inline(always)]
    pub(crate) const fn of(config: &Config) -> Self {
        Self {
            generation: config.generation,
            slot: config.generation & 1,
            flags: config.flags,
        }
    }

    #[inline(always)]
    pub(crate) const fn generation(&self) -> u32 {
        self.generation
    }

    #[inline(always)]
    pub(crate) const fn explains(&self) -> bool {
        self.flags & config::EXPLAIN_MISSES != 0
    }
}

impl Tables for Current {
    #[inline(always)]
    fn may_concern(&self, spot: Spot) -> bool {
        let word = (spot.word & prefilter_mask(self.slot)) as usize & (PREFILTER_WORDS - 1);
        let words = PREFILTER.get().cast::<u64>();
        // SAFETY: the slot is below 2, and the word is below `PREFILTER_WORDS`.
        let word = unsafe { words.add((self.slot & 1) as usize * PREFILTER_WORDS + word) };
        // SAFETY: a valid value, see `Written`. The read is volatile, because user space writes it.
        spot.is_in(unsafe { core::ptr::read_volatile(word) })
    }

    #[inline(always)]
    fn identity(&self, address: &[u8; 16]) -> Identity {
        let key = Key::new(
            KEY_PREFIX_BITS + 128,
            AddressKey {
                slot: self.slot,
                address: *address,
            },
        );
        // SAFETY: user space replaces only entries of a filter that is no longer in force, so a
        // half-written entry is harmless.
        match unsafe { ADDRESSES.get(key.data) } {
            Some(identity) => *identity,
            None if self.flags & config::PREFIXES != 0 => {
                PREFIXES.get(&key).copied().unwrap_or_default()
            }
            None => Identity::default(),
        }
    }

    #[inline(always)]
    fn pair(&self, from: u32, to: u32) -> Option<u32> {
        let slot = self.slot;
        // SAFETY: as above.
        unsafe { PAIRS.get(PairKey { slot, from, to }) }.copied()
    }

    #[inline(always)]
    fn rule(&self, set: u32, index: u32) -> Rule {
        let set = RULES.get(self.slot * MAX_RULE_SETS as u32 + set);
        let rule = set.and_then(|set| set.rules.get(index as usize));
        rule.copied().unwrap_or_default()
    }
}
