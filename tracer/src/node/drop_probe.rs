//! The program on `kfree_skb`: load, attach, read.
//!
//! It has a ring buffer of its own: drops come in floods of one kind, and
//! must not push out hops, nor hops them; and it belongs to the kernel, while
//! hops belong to the namespace that their programs were loaded for.

use std::{
    collections::HashMap as StdHashMap,
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    sync::Arc,
};

use aya::{
    Btf as AyaBtf, Ebpf, EbpfLoader,
    maps::{Array, HashMap, MapData, PerCpuArray, RingBuf},
    programs::BtfTracePoint,
};
use tracer_common::{
    config::{BUDGET_WINDOW_SHIFT, Config, Load},
    drop::{DropCounters, DropLoad},
};

use super::{
    NodeError, decode,
    kernel::{Btf, BtfError, Reasons, Symbols},
    probe::PROGRAMS,
};
use crate::link::{DropReport, Freed};

/// The tracepoint.
const KFREE_SKB: &str = "kfree_skb";

/// Records taken off the ring buffer at a time.
const BATCH: usize = 16_384;

/// The loaded program of a node.
pub(super) struct DropProbe {
    ebpf: Ebpf,
    program: &'static str,
    events: RingBuf<MapData>,
    reasons: Reasons,
    symbols: Symbols,
    /// What the namespaces are called, by inode number.
    namespaces: StdHashMap<u32, Arc<str>>,
    malformed: u64,
}

impl DropProbe {
    /// Loads the program for drops in `namespaces` and attaches it.
    pub(super) fn start(
        load: Load,
        namespaces: StdHashMap<u32, Arc<str>>,
        ring_size: u32,
        budget: u32,
    ) -> Result<Self, NodeError> {
        let btf = Btf::of_kernel()?;
        let offsets = offsets(&btf)?;
        let program = match btf.tracepoint_arguments(KFREE_SKB) {
            Some(2) => "tracer_drop_2",
            Some(3) => "tracer_drop_3",
            Some(4) => "tracer_drop_4",
            _ => return Err(BtfError::Tracepoint.into()),
        };
        let mut ebpf = EbpfLoader::new()
            .override_global("LOAD", &load, true)
            .override_global("DROP_LOAD", &offsets, true)
            .map_max_entries("DROPS", ring_size)
            .load(PROGRAMS)
            .map_err(|source| NodeError::load(&source))?;
        let events = ebpf.take_map("DROPS").expect("the object has this map");
        let events = RingBuf::try_from(events).map_err(|source| NodeError::map(&source))?;

        let per_window = (u64::from(budget) << BUDGET_WINDOW_SHIFT) / 1_000_000_000;
        let config = Config {
            budget: u32::try_from(per_window).unwrap_or(u32::MAX).max(1),
            ..Config::default()
        };
        map::<Array<_, Config>>(&mut ebpf, "CONFIG")?
            .set(0, config, 0)
            .map_err(|source| NodeError::map(&source))?;
        let mut wanted: HashMap<_, u32, u32> = map(&mut ebpf, "NAMESPACES")?;
        for inode in namespaces.keys() {
            wanted
                .insert(inode, 1, 0)
                .map_err(|source| NodeError::map(&source))?;
        }

        // Before it is attached, so that nothing waits for them. Without
        // symbols, places are addresses.
        let (reasons, symbols) = (Reasons::new(&btf), Symbols::of_kernel().unwrap_or_default());
        // aya looks for the tracepoint only in a value of its own.
        let kernel = AyaBtf::from_sys_fs().map_err(|source| NodeError::load(&source))?;
        let tracepoint = tracepoint(&mut ebpf, program);
        tracepoint
            .load(KFREE_SKB, &kernel)
            .map_err(|source| NodeError::load(&source))?;
        tracepoint
            .attach()
            .map_err(|source| NodeError::load(&source))?;
        Ok(Self {
            ebpf,
            program,
            events,
            reasons,
            symbols,
            namespaces,
            malformed: 0,
        })
    }

    /// Whether places have names.
    pub(super) const fn has_symbols(&self) -> bool {
        !self.symbols.is_empty()
    }

    /// What becomes readable when there are events.
    pub(super) fn readiness(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor lives as long as `self.events`.
        unsafe { BorrowedFd::borrow_raw(self.events.as_raw_fd()) }
    }

    /// Takes records off the ring buffer. False if there may be more.
    pub(super) fn drain(&mut self, drops: &mut Vec<Freed>) -> bool {
        for _ in 0..BATCH {
            let Some(record) = self.events.next() else {
                return true;
            };
            match decode::freed(&record) {
                Ok(raw) => match self.namespaces.get(&raw.event.netns) {
                    Some(netns) => drops.push(Freed {
                        time: raw.event.hop.time,
                        skb: raw.event.hop.skb,
                        reason: self.reasons.name(raw.event.reason),
                        place: self.symbols.caller(raw.event.location),
                        netns: Arc::clone(netns),
                        scope: raw.scope,
                        device: raw.device.map(Arc::from),
                        dst_mac: raw.dst_mac,
                        protocol: raw.event.protocol,
                        encap: raw.encap,
                        packet: raw.packet,
                        facts: Arc::default(),
                    }),
                    None => self.malformed += 1,
                },
                Err(_) => self.malformed += 1,
            }
        }
        false
    }

    /// What has become of freed packets so far.
    pub(super) fn report(&mut self) -> Result<DropReport, NodeError> {
        let missed = self.missed()?;
        self.counted(missed)
    }

    /// Detaches, and tells what has become of all freed packets. Their
    /// records stay readable.
    pub(super) fn finish(&mut self) -> Result<DropReport, NodeError> {
        let missed = self.missed()?;
        tracepoint(&mut self.ebpf, self.program)
            .unload()
            .map_err(|source| NodeError::load(&source))?;
        self.counted(missed)
    }

    fn counted(&mut self, missed: u64) -> Result<DropReport, NodeError> {
        let counters: PerCpuArray<_, DropCounters> = map(&mut self.ebpf, "DROP_COUNTERS")?;
        let mut sum = DropCounters::default();
        let values = counters
            .get(&0, 0)
            .map_err(|source| NodeError::map(&source))?;
        for cpu in values.iter() {
            sum.add(cpu);
        }
        Ok(DropReport {
            counters: sum,
            malformed: self.malformed,
            missed,
        })
    }

    /// Runs that the kernel left out: `recursion_misses` of `bpf_prog_info`
    /// (include/uapi/linux/bpf.h), which aya does not show.
    fn missed(&mut self) -> Result<u64, NodeError> {
        const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
        const MISSES: usize = 208 / 8;

        #[repr(C)]
        struct Attributes {
            fd: u32,
            info_len: u32,
            info: u64,
        }

        let program = tracepoint(&mut self.ebpf, self.program);
        let fd = program.fd().map_err(|source| NodeError::load(&source))?;
        let mut info = [0_u64; MISSES + 1];
        let mut attributes = Attributes {
            fd: fd.as_fd().as_raw_fd().cast_unsigned(),
            info_len: u32::try_from(size_of_val(&info)).expect("some bytes"),
            info: info.as_mut_ptr().expose_provenance() as u64,
        };
        // SAFETY: the kernel writes at most `info_len` bytes to `info`, and
        // reads and writes no more than the attributes' length.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_OBJ_GET_INFO_BY_FD,
                &raw mut attributes,
                size_of::<Attributes>(),
            )
        };
        if result == 0 {
            Ok(info[MISSES])
        } else {
            Err(NodeError::System {
                what: "ask the kernel about its program",
                source: io::Error::last_os_error(),
            })
        }
    }
}

fn tracepoint<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut BtfTracePoint {
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .expect("the object has these programs")
}

fn map<'a, M: TryFrom<&'a mut aya::maps::Map, Error = aya::maps::MapError>>(
    ebpf: &'a mut Ebpf,
    name: &str,
) -> Result<M, NodeError> {
    let map = ebpf.map_mut(name).expect("the object has this map");
    M::try_from(map).map_err(|source| NodeError::map(&source))
}

/// Where the program finds what it reads.
fn offsets(btf: &Btf) -> Result<DropLoad, BtfError> {
    let skb = |field| btf.offset("sk_buff", field);
    let dev = |field| btf.offset("net_device", field);
    Ok(DropLoad {
        skb_head: skb("head")?,
        skb_data: skb("data")?,
        skb_tail: skb("tail")?,
        skb_end: skb("end")?,
        skb_len: skb("len")?,
        skb_mac_header: skb("mac_header")?,
        skb_network_header: skb("network_header")?,
        skb_protocol: skb("protocol")?,
        skb_dev: skb("dev")?,
        skb_sk: skb("sk")?,
        shared_gso_segs: btf.offset("skb_shared_info", "gso_segs")?,
        dev_name: dev("name")?,
        dev_ifindex: dev("ifindex")?,
        dev_net: dev("nd_net.net")?,
        sk_net: btf.offset("sock_common", "skc_net.net")?,
        net_inum: btf.offset("net", "ns.inum")?,
    })
}
