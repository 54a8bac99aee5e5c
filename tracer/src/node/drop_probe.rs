//! The program on `kfree_skb`: load, attach, arm, read.
//!
//! The program has its own ring buffer, because drops come in floods of one kind. They must not push
//! out hops, and hops must not push out drops. The program sees all namespaces of the kernel, while
//! each program for hops belongs to the namespace that it was loaded for.

use std::{
    collections::HashMap as StdHashMap,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    sync::Arc,
};

use aya::{
    Btf as AyaBtf, Ebpf, EbpfLoader, Endianness,
    maps::{HashMap, MapData, PerCpuArray, RingBuf},
    programs::BtfTracePoint,
};
use tracer_common::{
    config::{DROPS_ALL, Load},
    drop::DropCounters,
};
use tracer_core::{input::DropReport, model::Freed};

#[cfg(feature = "debug")]
use super::said;
use super::{
    NodeError, bpf,
    filter::{self, Armed, map},
    kernel::{Btf, KFREE_SKB, Reasons, Symbols, WITHOUT_REASON, drop_program, hides_its_memory},
    probe::PROGRAMS,
};
use crate::decode::{self, RawDrop};
use tracer_core::request::{Filter, Start, Watch};

/// Records taken off the ring buffer at a time.
const BATCH: usize = 16_384;

/// The loaded program of a node.
pub(super) struct DropProbe {
    ebpf: Ebpf,
    program: &'static str,
    events: RingBuf<MapData>,
    filter: Armed,
    reasons: Reasons,
    symbols: Symbols,
    /// What the namespaces are called, by inode number.
    namespaces: StdHashMap<u32, Arc<str>>,
    /// Those before: some of their drops may still be on their way.
    before: StdHashMap<u32, Arc<str>>,
    malformed: u64,
    #[cfg(feature = "debug")]
    _said: said::Listener,
    /// Runs that the kernel skipped; known until the program is unloaded.
    missed: u64,
}

impl DropProbe {
    /// Loads the program for drops in `namespaces` and attaches it. Each of them is an
    /// event, or, in a follow, each of what belongs to that.
    pub(super) fn start(
        load: Load,
        namespaces: StdHashMap<u32, Arc<str>>,
        start: &Start,
    ) -> Result<Self, NodeError> {
        let btf = Btf::of_kernel()?;
        let (program, offsets) = drop_program(&btf)?;
        let mut loader = EbpfLoader::new();
        // The programs need none of the kernel's types, and aya takes long to read them.
        loader.btf(None);
        #[cfg(feature = "debug")]
        said::choose(&mut loader);
        filter::size(&mut loader, &start.filter)?;
        let mut ebpf = loader
            .override_global("LOAD", &load, true)
            .override_global("DROP_LOAD", &offsets, true)
            .map_max_entries("DROPS", ring_size(start))
            .load(PROGRAMS)
            .map_err(|source| NodeError::load(&source))?;
        #[cfg(feature = "debug")]
        let said = said::listen(&mut ebpf)?;
        let events = ebpf.take_map("DROPS").expect("the object has this map");
        let events = RingBuf::try_from(events).map_err(|source| NodeError::map(&source))?;

        let mut filter = Armed::new(start.budget, 0);
        match start.watch {
            Watch::Follow => filter.arm(&mut ebpf, &start.filter)?,
            Watch::Drops => {
                filter::flag(&mut filter.config, DROPS_ALL, true);
                filter.write(&mut ebpf)?;
            }
        }
        want(&mut ebpf, &namespaces, &StdHashMap::new())?;

        let reasons = Reasons::new(&btf);
        // aya looks for the tracepoint only in a value of its own.
        let types = btf.only_tracepoint(KFREE_SKB).unwrap_or_default();
        let kernel = AyaBtf::parse(&types, Endianness::default())
            .map_err(|source| NodeError::load(&source))?;
        drop((btf, types));
        let tracepoint = tracepoint(&mut ebpf, program);
        tracepoint
            .load(KFREE_SKB, &kernel)
            .and_then(|()| tracepoint.attach())
            .map_err(|source| {
                if hides_its_memory() {
                    NodeError::LockedDown
                } else {
                    NodeError::load(&source)
                }
            })?;
        Ok(Self {
            ebpf,
            program,
            events,
            filter,
            reasons,
            symbols: Symbols::later(),
            namespaces,
            before: StdHashMap::new(),
            malformed: 0,
            #[cfg(feature = "debug")]
            _said: said,
            missed: 0,
        })
    }

    /// Watches these namespaces from now on, and no others.
    pub(super) fn replace(
        &mut self,
        namespaces: StdHashMap<u32, Arc<str>>,
    ) -> Result<(), NodeError> {
        want(&mut self.ebpf, &namespaces, &self.namespaces)?;
        self.before = std::mem::replace(&mut self.namespaces, namespaces);
        Ok(())
    }

    /// That the kernel gives reasons without names, one sentence. Before Linux 5.17 it
    /// gives none.
    pub(super) fn nameless_reasons(&self) -> Option<&'static str> {
        let gives_reasons = self.program != WITHOUT_REASON;
        (gives_reasons && self.reasons.is_empty()).then_some(
            "the kernel's type information (/sys/kernel/btf/vmlinux) does not name the reasons of \
             drops: a drop decides nothing",
        )
    }

    /// Puts a filter into force, all at once.
    pub(super) fn arm(&mut self, filter: &Filter) -> Result<(), NodeError> {
        self.filter.arm(&mut self.ebpf, filter)
    }

    /// Lets so many of 2^32 packets through.
    pub(super) fn sample(&mut self, sample: u32) -> Result<(), NodeError> {
        self.filter.config.sample = sample;
        self.filter.write(&mut self.ebpf)
    }

    /// How many of 2^32 packets are let through.
    pub(super) const fn sampled(&self) -> u32 {
        self.filter.config.sample
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
            let decoded = decode::freed(&record);
            drop(record);
            match decoded.map(|raw| self.name(raw)) {
                Ok(Some(freed)) => drops.push(freed),
                Ok(None) | Err(_) => self.malformed += 1,
            }
        }
        false
    }

    /// Gives the numbers of a record their names. None if it is from a
    /// namespace that was not asked for.
    fn name(&mut self, raw: RawDrop) -> Option<Freed> {
        let netns = match raw.scope {
            Some(_) => {
                let inode = &raw.event.netns;
                let name = self.namespaces.get(inode).or(self.before.get(inode));
                Some(Arc::clone(name?))
            }
            None => None,
        };
        Some(Freed {
            time: raw.event.hop.time,
            skb: raw.event.hop.skb,
            reason: self.reasons.name(raw.event.reason),
            place: self.symbols.caller(raw.event.location),
            netns,
            scope: raw.scope,
            device: raw.device.map(Arc::from),
            dst_mac: raw.dst_mac,
            protocol: raw.event.protocol,
            encap: raw.encap,
            packet: raw.packet,
            facts: raw.context.into_iter().collect(),
        })
    }

    /// Detaches; what is in the ring buffer stays readable.
    pub(super) fn detach(&mut self) -> Result<(), NodeError> {
        filter::flag(&mut self.filter.config, DROPS_ALL, false);
        self.filter.disarm(&mut self.ebpf)?;
        self.filter.write(&mut self.ebpf)?;
        self.missed = missed(self.tracepoint())?;
        // Unloading drops the link, and with it the attachment.
        self.tracepoint()
            .unload()
            .map_err(|source| NodeError::load(&source))
    }

    /// What has become of freed packets so far.
    pub(super) fn report(&mut self) -> Result<DropReport, NodeError> {
        if self.tracepoint().fd().is_ok() {
            self.missed = missed(self.tracepoint())?;
        }
        let counters: PerCpuArray<_, DropCounters> = map(&mut self.ebpf, "DROP_COUNTERS")?;
        let mut sum = DropCounters::default();
        let values = counters
            .get(&0, 0)
            .map_err(|source| NodeError::map(&source))?;
        for cpu in values.iter() {
            sum.add(cpu);
        }
        let nested: PerCpuArray<_, u64> = map(&mut self.ebpf, "DROPS_NESTED")?;
        let nested = nested
            .get(&0, 0)
            .map_err(|source| NodeError::map(&source))?;
        Ok(DropReport {
            counters: sum,
            malformed: self.malformed,
            missed: self.missed + nested.iter().sum::<u64>(),
        })
    }

    fn tracepoint(&mut self) -> &mut BtfTracePoint {
        tracepoint(&mut self.ebpf, self.program)
    }
}

/// Says which namespaces' drops are wanted, where `before` were.
fn want(
    ebpf: &mut Ebpf,
    namespaces: &StdHashMap<u32, Arc<str>>,
    before: &StdHashMap<u32, Arc<str>>,
) -> Result<(), NodeError> {
    let mut wanted: HashMap<_, u32, u32> = map(ebpf, "NAMESPACES")?;
    for inode in before
        .keys()
        .filter(|inode| !namespaces.contains_key(inode))
    {
        wanted
            .remove(inode)
            .map_err(|source| NodeError::map(&source))?;
    }
    for inode in namespaces.keys() {
        wanted
            .insert(inode, 1, 0)
            .map_err(|source| NodeError::map(&source))?;
    }
    Ok(())
}

/// Runs that the kernel left out: `recursion_misses` of `bpf_prog_info`
/// (include/uapi/linux/bpf.h), which aya does not show.
fn missed(program: &BtfTracePoint) -> Result<u64, NodeError> {
    /// Where it begins, in 32-bit words.
    const MISSES: usize = 208 / 4;

    let fd = program.fd().map_err(|source| NodeError::load(&source))?;
    let info: [u32; MISSES + 2] = bpf::info(fd.as_fd()).map_err(|source| NodeError::System {
        what: "ask the kernel about its program",
        source,
    })?;
    let [first, second] = [info[MISSES], info[MISSES + 1]].map(u32::to_ne_bytes);
    let [a, b, c, d] = first;
    let [e, f, g, h] = second;
    Ok(u64::from_ne_bytes([a, b, c, d, e, f, g, h]))
}

/// Bytes of the ring buffer of drops: of a follow's packets, few are dropped.
fn ring_size(start: &Start) -> u32 {
    const LEAST: u32 = 1 << 16;
    match start.watch {
        Watch::Follow => (start.ring_size / 4).max(start.ring_size.min(LEAST)),
        Watch::Drops => start.ring_size,
    }
}

fn tracepoint<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut BtfTracePoint {
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .expect("the object has these programs")
}
