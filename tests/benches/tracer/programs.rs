//! The kernel programs, loaded as an agent loads them, but not attached. The kernel itself runs
//! them on a given frame, as often as requested.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, HashMap, PerCpuArray, ProgramArray, RingBuf};
use aya::programs::tc::TcAttachOptions;
use aya::programs::{
    LinkOrder, Program, SchedClassifier, TcAttachType, TestRun as _, TestRunOptions, Xdp,
};
use aya::{Ebpf, EbpfLoader};
use tracer_common::config::{Config, EXPLAIN_MISSES, Load, TunnelPorts};
use tracer_common::counters::{Counter, Counters, SLOTS, slot};
use tracer_common::event::{HopEvent, INGRESS, XDP};
use tracer_common::filter::{
    AddressKey, FOLLOWED, Identity, MAX_RULE_SETS, NEIGHBOUR, PREFILTER_WORDS, PairKey, Prefilter,
    Prefilters, Rule, RuleSet, SIDE_A,
};
use tracer_tests::frames::{TCP, UDP};

/// The measured program.
pub(crate) const OBSERVE: &str = "tracer_ingress";
/// Its closer, which it tail-calls if a glance does not settle a packet.
const CLOSER: &str = "tracer_closer";
/// An empty program, as the least that a program can cost.
pub(crate) const EMPTY: &str = "tracer_empty";

/// The measured program at XDP, and its closer.
pub(crate) const XDP_OBSERVE: &str = "tracer_xdp";
const XDP_CLOSER: &str = "tracer_xdp_closer";
pub(crate) const XDP_EMPTY: &str = "tracer_xdp_empty";

/// The UDP port of VXLAN.
pub(crate) const VXLAN_PORT: u16 = 8472;
/// The UDP port of Geneve.
pub(crate) const GENEVE_PORT: u16 = 6081;
/// The destination port of all pairs.
pub(crate) const SERVICE_PORT: u16 = 8080;

/// The default size of an agent's ring buffer, in bytes.
const RING: u32 = 8 << 20;
/// The number of runs whose events fit into the ring buffer, each with its 8-byte header.
pub(crate) const ROOM: u32 = 32 << 10;
const _: () = assert!(ROOM as usize * (size_of::<HopEvent>() + 8) < RING as usize);

/// The size of a filter's tables for addresses and pairs.
const ENTRIES: u32 = 1 << 15;
/// The first of the further addresses.
const OTHERS: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 0);

/// `BPF_PROG_TEST_RUN` gives packets the loopback device.
const LOOPBACK: u32 = 1;

/// The slot in which the program counts packets of the loopback device.
fn slot_of_loopback(program: &str) -> u32 {
    let place = if program == XDP_OBSERVE { XDP } else { INGRESS };
    slot(LOOPBACK, place)
}

/// The generation of the filter, which decides the slot of its tables.
const GENERATION: u32 = 1;

/// The loaded programs, with their filter in force.
pub(crate) struct Programs {
    ebpf: Ebpf,
    events: RingBuf<aya::maps::MapData>,
}

/// The size of a loaded program.
pub(crate) struct Size {
    /// Instructions that the verifier followed, all paths together.
    pub(crate) verified: u32,
    /// Instructions of the program in the kernel.
    pub(crate) translated: u32,
    /// Size of the machine code, bytes.
    pub(crate) jited: u32,
}

/// The number of dual-stack pairs of pods in the filter, each with two pairs of addresses.
pub(crate) const PODS: u8 = 32;

/// Two pods that talk to each other: source and destination.
pub(crate) struct Pair {
    pub(crate) v4: [Ipv4Addr; 2],
    pub(crate) v6: [Ipv6Addr; 2],
}

/// One of the [`PODS`] pairs in the filter.
pub(crate) fn followed(index: u8) -> Pair {
    pair([1, 2], index)
}

/// A pair that is not in the filter.
pub(crate) fn unfollowed(index: u8) -> Pair {
    pair([101, 102], index)
}

fn pair(nodes: [u8; 2], index: u8) -> Pair {
    let v6 = |node| {
        Ipv6Addr::new(
            0xfd00,
            0x10,
            0x244,
            node,
            0,
            0,
            0,
            0x1000 + u16::from(index),
        )
    };
    Pair {
        v4: nodes.map(|node| Ipv4Addr::new(10, 244, node, 10 + index)),
        v6: nodes.map(u16::from).map(v6),
    }
}

impl Programs {
    /// Loads the programs, and fills their filter, with `others` further addresses.
    pub(crate) fn load(others: u32) -> Result<Self> {
        let load = Load {
            ports: TunnelPorts {
                vxlan: [VXLAN_PORT, 4789, 0, 0],
                geneve: [GENEVE_PORT, 0, 0, 0],
            },
            ..Load::default()
        };
        let mut ebpf = EbpfLoader::new()
            .btf(None)
            .map_max_entries("ADDRESSES", ENTRIES)
            .map_max_entries("PAIRS", ENTRIES)
            .override_global("LOAD", &load, true)
            .map_max_entries("EVENTS", RING)
            .load(tracer::node::PROGRAMS)
            .context("cannot load the kernel programs: is this root?")?;
        for name in [EMPTY, OBSERVE, CLOSER] {
            classifier(&mut ebpf, name)?.load()?;
        }
        for name in [XDP_EMPTY, XDP_OBSERVE, XDP_CLOSER] {
            xdp(&mut ebpf, name)?.load()?;
        }
        let closer = classifier(&mut ebpf, CLOSER)?.fd()?.try_clone()?;
        let xdp_closer = xdp(&mut ebpf, XDP_CLOSER)?.fd()?.try_clone()?;
        let events = ebpf.take_map("EVENTS").context("no ring buffer")?;
        let mut programs = Self {
            ebpf,
            events: RingBuf::try_from(events)?,
        };
        programs
            .map::<ProgramArray<_>>("CLOSER")?
            .set(0, &closer, 0)?;
        programs
            .map::<ProgramArray<_>>("XDP_CLOSER")?
            .set(0, &xdp_closer, 0)?;
        programs.arm(others)?;
        Ok(programs)
    }

    /// Arms the filter with pairs of pods, and with pairs of further addresses.
    fn arm(&mut self, others: u32) -> Result<()> {
        let slot = GENERATION % 2;
        let mut pairs = Vec::new();
        for Pair { v4, v6 } in (0..PODS).map(followed) {
            pairs.extend([v4.map(|end| end.to_ipv6_mapped()), v6]);
        }
        let other = |number| Ipv4Addr::from_bits(OTHERS.to_bits() + number).to_ipv6_mapped();
        pairs.extend((0..others / 2).map(|number| [2 * number, 2 * number + 1].map(other)));

        let mut prefilters = Box::new(Prefilters {
            words: [[0; PREFILTER_WORDS]; 2],
        });
        let words = Prefilter::words_for(2 * pairs.len());
        let mut prefilter = Prefilter::new(&mut prefilters.words[slot as usize][..words]);
        let mut addresses: HashMap<_, AddressKey, Identity> = self.map("ADDRESSES")?;
        for (class, end) in (1..).zip(pairs.as_flattened()) {
            match end.to_ipv4_mapped() {
                Some(end) => prefilter.insert_v4(end.octets()),
                None => prefilter.insert_v6(end.octets()),
            }
            let address = end.octets();
            let flags = NEIGHBOUR | FOLLOWED | SIDE_A;
            addresses.insert(AddressKey { slot, address }, Identity { class, flags }, 0)?;
        }
        let mut table: HashMap<_, PairKey, u32> = self.map("PAIRS")?;
        for (from, _) in (1..).step_by(2).zip(&pairs) {
            let to = from + 1;
            table.insert(PairKey { slot, from, to }, 0, 0)?;
            let (from, to) = (to, from);
            table.insert(PairKey { slot, from, to }, 1, 0)?;
        }
        let mut rules: Array<_, RuleSet> = self.map("RULES")?;
        let mut set = RuleSet::default();
        for (rule, proto) in set.rules.iter_mut().zip([TCP, UDP]) {
            *rule = Rule {
                dst_port: SERVICE_PORT,
                proto,
                holds: 1,
                ..Rule::default()
            };
        }
        let first = slot * u32::try_from(MAX_RULE_SETS)?;
        rules.set(first, set, 0)?;
        set.rules = set.rules.map(Rule::reversed);
        rules.set(first + 1, set, 0)?;
        self.map::<Array<_, Prefilters>>(".bss.prefilter")?
            .set(0, *prefilters, 0)?;
        let mut config = Config {
            generation: GENERATION,
            budget: u32::MAX,
            sample: u32::MAX,
            flags: EXPLAIN_MISSES,
            prefilter_masks: [0; 2],
        };
        config.prefilter_masks[slot as usize] = u32::try_from(words - 1)?;
        self.map::<Array<_, Config>>(".bss.config")?
            .set(0, config, 0)?;
        let mut points = Box::new([0; SLOTS as usize]);
        for program in [OBSERVE, XDP_OBSERVE] {
            points[slot_of_loopback(program) as usize] = LOOPBACK;
        }
        self.map::<Array<_, [u32; SLOTS as usize]>>(".bss.points")?
            .set(0, *points, 0)?;
        Ok(())
    }

    /// Runs a program on `frame`, `repeat` times, and returns ns per run.
    ///
    /// The time is by this process's clock, because the kernel's figure is in whole nanoseconds, a
    /// tenth of the empty program's time. For XDP, the kernel's figure counts. The kernel patches
    /// its own text before it runs such a program (`bpf_prog_change_xdp`), which takes longer than
    /// all runs.
    pub(crate) fn time(&mut self, program: &str, frame: &[u8], repeat: u32) -> Result<f64> {
        /// `TC_ACT_UNSPEC` and `XDP_PASS`.
        const PASSES: [u32; 2] = [u32::MAX, 2];

        let program = self.ebpf.program_mut(program).context("no such program")?;
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat,
            ..TestRunOptions::default()
        };
        let (passes, returned, ns) = match program {
            Program::Xdp(program) => {
                let result = program.test_run(options)?;
                (
                    PASSES[1],
                    result.return_value,
                    result.duration.as_secs_f64() * 1e9,
                )
            }
            program => {
                let program: &mut SchedClassifier = program.try_into()?;
                let start = Instant::now();
                let result = program.test_run(options)?;
                let taken = start.elapsed().as_secs_f64() * 1e9;
                (PASSES[0], result.return_value, taken / f64::from(repeat))
            }
        };
        ensure!(
            returned == passes,
            "the program returned {returned}, not {passes}: it does not let pass"
        );
        Ok(ns)
    }

    /// Attaches the empty program as an agent attaches its own, in this thread's network namespace.
    pub(crate) fn attach_empty(&mut self, interface: &str, direction: TcAttachType) -> Result<()> {
        let first = TcAttachOptions::TcxOrder(LinkOrder::first());
        classifier(&mut self.ebpf, EMPTY)?
            .attach_with_options(interface, direction, first)
            .with_context(|| format!("cannot attach to {interface}"))?;
        Ok(())
    }

    /// The number of runs that the kernel has timed. Another program may have enabled BPF
    /// statistics, which cost more than the measured programs.
    pub(crate) fn timed_by_kernel(&mut self) -> Result<u64> {
        let mut runs = 0;
        for name in [EMPTY, OBSERVE] {
            runs += classifier(&mut self.ebpf, name)?.info()?.run_count();
        }
        for name in [XDP_EMPTY, XDP_OBSERVE] {
            runs += xdp(&mut self.ebpf, name)?.info()?.run_count();
        }
        Ok(runs)
    }

    /// Takes all events off the ring buffer, and counts the readable ones.
    pub(crate) fn drain(&mut self) -> u64 {
        let mut events = 0;
        while let Some(record) = self.events.next() {
            events += u64::from(HopEvent::from_bytes(&record).is_some());
        }
        events
    }

    /// The number of packets in one of a program's counters.
    pub(crate) fn counted(&mut self, program: &str, counter: Counter) -> Result<u64> {
        let map: PerCpuArray<_, Counters> = self.map("COUNTERS")?;
        let cpus = map.get(&slot_of_loopback(program), 0)?;
        Ok(cpus.iter().map(|cpu| cpu.get(counter)).sum())
    }

    /// The sizes of the measured program and of its closer.
    pub(crate) fn size(&mut self) -> Result<[Size; 2]> {
        let mut size = |name| -> Result<Size> {
            let info = classifier(&mut self.ebpf, name)?.info()?;
            Ok(Size {
                verified: info.verified_instruction_count().unwrap_or(0),
                translated: info.size_translated().unwrap_or(0) / 8,
                jited: info.size_jitted(),
            })
        };
        Ok([size(OBSERVE)?, size(CLOSER)?])
    }

    fn map<'a, M: TryFrom<&'a mut aya::maps::Map, Error = aya::maps::MapError>>(
        &'a mut self,
        name: &str,
    ) -> Result<M> {
        let map = self.ebpf.map_mut(name);
        Ok(M::try_from(map.with_context(|| format!("no map {name}"))?)?)
    }
}

fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = ebpf.program_mut(name);
    Ok(program
        .with_context(|| format!("no program {name}"))?
        .try_into()?)
}

fn classifier<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    let program = ebpf.program_mut(name);
    Ok(program
        .with_context(|| format!("no program {name}"))?
        .try_into()?)
}
