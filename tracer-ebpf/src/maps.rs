//! What the programs share with user space, and how they see it as the
//! filter's tables.

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

/// How many of a frame's first bytes go with its event; 0: none, and the verifier removes
/// what would capture them. User space writes it before it loads.
#[unsafe(no_mangle)]
static SNAPLEN: u32 = 0;

/// What user space writes while programs run. It lies in a section of its own, which is a
/// map: programs read it without a look-up.
#[repr(transparent)]
struct Written<T>(UnsafeCell<T>);

// SAFETY: programs only read it, and any bytes that they see are a value: integers.
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

/// By [`tracer_common::counters::slot`]: the interface that is observed there, as
/// [`tracer_common::counters::share`] has it.
#[unsafe(link_section = ".bss.points")]
#[unsafe(no_mangle)]
static POINTS: Written<[u32; SLOTS as usize]> = Written(UnsafeCell::new([0; SLOTS as usize]));

/// The program that goes on where a classifier's glance does not suffice, its only element.
#[map]
pub(crate) static CLOSER: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Likewise that of XDP: such a map holds programs of one kind.
#[map]
pub(crate) static XDP_CLOSER: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// What was decided before.
#[map]
static FLOWS: PerCpuArray<Flows> = PerCpuArray::with_max_entries(1, 0);

/// Single addresses, of both filter slots; sized by user space.
#[map]
static ADDRESSES: HashMap<AddressKey, Identity> = HashMap::with_max_entries(1024, 0);

/// Prefixes of more than one address, likewise. A look-up here costs several
/// times as much, and most follows need none.
#[map]
static PREFIXES: LpmTrie<AddressKey, Identity> = LpmTrie::with_max_entries(1024, 0);

/// Numbers of rule sets, of both filter slots; sized by user space.
#[map]
static PAIRS: HashMap<PairKey, u32> = HashMap::with_max_entries(1024, 0);

/// Those of slot 0, then those of slot 1.
#[map]
static RULES: Array<RuleSet> = Array::with_max_entries(2 * MAX_RULE_SETS as u32, 0);

/// By [`tracer_common::counters::slot`]; sized by user space, which leaves out XDP's where
/// nothing is observed there.
#[map]
static COUNTERS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(SLOTS, 0);

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
    /// 1 if it is one.
    pub(crate) quotes: Cell<u32>,
    /// What a glance leaves for who looks closer; see [`crate::closer`].
    pub(crate) glanced: Cell<u32>,
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

/// An event and the bytes of its frame, until both go to [`EVENTS`].
#[map]
static CAPTURED: PerCpuArray<Captured> = PerCpuArray::with_max_entries(1, 0);

/// A record with captured bytes. Its size is not known beforehand, and no room of such a
/// size can be reserved.
#[repr(C)]
pub(crate) struct Captured {
    pub(crate) event: HopEvent,
    pub(crate) frame: [u8; MAX_SNAPLEN],
}

impl Captured {
    /// Emits the event and so many bytes of the frame; false if there is no room.
    #[inline(always)]
    pub(crate) fn emit(&self, bytes: usize) -> bool {
        let start = core::ptr::from_ref(self).cast::<u8>();
        // SAFETY: both lie there without a gap, and `bytes` are at most those of a frame.
        let record = unsafe { core::slice::from_raw_parts(start, size_of::<HopEvent>() + bytes) };
        EVENTS.output::<[u8]>(record, 0).is_ok()
    }
}

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

/// How many bytes of a frame are wanted.
#[inline(always)]
pub(crate) fn snaplen() -> u32 {
    // SAFETY: as in `load`.
    unsafe { core::ptr::read_volatile(&raw const SNAPLEN) }
}

/// This CPU's room for a record with captured bytes.
#[inline(always)]
pub(crate) fn captured() -> Option<&'static mut Captured> {
    let captured = CAPTURED.get_ptr_mut(0)?;
    // SAFETY: the element belongs to this CPU, on which programs of this kind do not
    // interrupt each other, and no other reference to it lives. Any bytes are a value.
    Some(unsafe { &mut *captured })
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

/// What may change while programs run, as it is now.
#[inline(always)]
pub(crate) fn config() -> Config {
    // SAFETY: a valid value, see `Written`. Volatile, because user space writes it.
    unsafe { core::ptr::read_volatile(CONFIG.get()) }
}

/// The mask of the words of a slot's prefilter, as in [`Config::prefilter_masks`].
#[inline(always)]
fn prefilter_mask(slot: u32) -> u32 {
    // SAFETY: the static is valid.
    let masks = unsafe { &raw const (*CONFIG.get()).prefilter_masks };
    // SAFETY: a slot is below 2.
    let mask = unsafe { masks.cast::<u32>().add((slot & 1) as usize) };
    // SAFETY: as in `config`.
    unsafe { core::ptr::read_volatile(mask) }
}

/// This CPU's scratch memory. Classifiers and programs at XDP do not interrupt each other on
/// a CPU: all run with bottom halves off. Of drop programs see [`freed`].
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

/// Whether an interface is observed, at the place of `slot`. It is not where
/// somebody else runs a program of ours (`BPF_PROG_TEST_RUN`).
#[inline(always)]
pub(crate) fn is_point(slot: u32, ifindex: u32) -> bool {
    let points = POINTS.get().cast::<u32>();
    // SAFETY: a slot is below `SLOTS`.
    let known = unsafe { points.add(slot as usize) };
    // SAFETY: a valid value, see `Written`. Volatile, because user space writes it.
    let known = unsafe { core::ptr::read_volatile(known) };
    known == ifindex || known == SEVERAL
}

/// This CPU's place of a flow.
#[inline(always)]
pub(crate) fn flow(index: usize) -> Option<&'static mut Flow> {
    let flows = FLOWS.get_ptr_mut(0)?;
    // SAFETY: the element belongs to this CPU, on which programs of this kind do not
    // interrupt each other, and no other reference to it lives.
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

/// Counts packets that a followed address sent somewhere else.
#[inline(always)]
pub(crate) fn count_elsewhere(key: &Elsewhere, packets: u64) {
    if let Some(count) = ELSEWHERE.get_ptr_mut(key) {
        // SAFETY: a valid element; a race between CPUs may lose a count of
        // this explanatory figure, nothing more.
        unsafe { *count += packets };
    } else {
        // A full table or a race leaves this one uncounted.
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
        // SAFETY: both are below what there is.
        let word = unsafe { words.add((self.slot & 1) as usize * PREFILTER_WORDS + word) };
        // SAFETY: a valid value, see `Written`. Volatile, because user space writes it.
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
        // SAFETY: an entry that is replaced at this moment was of a filter
        // that is no longer in force; its two halves are harmless.
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
