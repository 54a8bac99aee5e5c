//! The programs of one network namespace: load, attach, arm, read.
//!
//! A probe belongs to the thread that made it, which is inside the namespace:
//! interface indexes mean something only there. Each namespace has a load and
//! a ring buffer of its own, so that an interface index in an event is enough
//! to name the point, and nothing has to be pinned to be shared.

mod attach;
mod source;

use std::{
    collections::{BTreeMap, HashMap as StdHashMap},
    os::fd::{AsRawFd as _, BorrowedFd},
    time::Instant,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, MapData, PerCpuArray, RingBuf},
    programs::Program,
};
use tracer_common::{
    config::{EXPLAIN_MISSES, Load},
    counters::{Counters, SLOTS, SLOTS_PER_PLACE, slot},
    elsewhere,
    event::HopEvent,
    flow::Flows,
};
use tracer_core::{
    input::{Elsewhere, Report},
    model::{Direction, Hop, Point, Proto},
};

#[cfg(feature = "debug")]
use super::said;
use super::{
    NodeError, clock,
    conntrack::Connections,
    filter::{self, Armed, map},
    hook::{Device, Hooks, XdpLinks},
    names::Names,
};
use crate::decode::{self, At};
use tracer_core::request::{self, Filter, Start};

/// The kernel programs, as `build.rs` built them.
pub static PROGRAMS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-ebpf"));

/// Records taken off the ring buffer at a time.
const BATCH: usize = 4_096;

/// Bytes of frames in a batch: those that wait for the collector are in memory.
const CAPTURED: usize = 1 << 20;

/// The loaded programs of a namespace.
pub(super) struct Probe {
    ebpf: Ebpf,
    hooks: Hooks,
    /// Where to see packets at XDP, and what is attached there.
    wants_xdp: Option<request::Xdp>,
    xdp: XdpLinks,
    events: RingBuf<MapData>,
    filter: Armed,
    /// The interface index of each slot.
    slots: Box<[u32; SLOTS as usize]>,
    /// The names of the programs that an interface needed.
    loaded: Vec<&'static str>,
    /// Points that had lost their program at the last look.
    gone: Vec<usize>,
    /// Points of interfaces that new interfaces have replaced.
    retired: Vec<usize>,
    /// Points that were reported as gone.
    told: Vec<usize>,
    points: StdHashMap<(u32, At), usize>,
    /// The points at tc, as they were reported last.
    at_tc: BTreeMap<(u32, Direction), Point>,
    /// The interfaces' names, by index.
    names: StdHashMap<u32, String>,
    malformed: u64,
    connections: Connections,
    /// The names in DNS answers; `None` if nobody asks for them.
    dns: Option<Names>,
    /// How many bytes of each frame belong to a hop.
    snaplen: usize,
    #[cfg(feature = "debug")]
    _said: said::Listener,
}

impl Probe {
    /// Prepares the programs. They know the filter before they are attached, so they miss no packet
    /// of the follow from then on.
    pub(super) fn load(load: Load, start: &Start) -> Result<Self, NodeError> {
        let hooks = Hooks::open()?;
        let mut loader = EbpfLoader::new();
        // The programs need none of the kernel's types, and aya takes long to read them.
        loader.btf(None);
        #[cfg(feature = "debug")]
        said::choose(&mut loader);
        filter::size(&mut loader, &start.filter)?;
        let wants_xdp = start.request.xdp.clone();
        if wants_xdp.is_none() {
            loader.map_max_entries("COUNTERS", 2 * SLOTS_PER_PLACE);
        }
        let mut ebpf = loader
            .override_global("LOAD", &load, true)
            .override_global("SNAPLEN", &start.snaplen, true)
            .override_global("DNS_NAMES", &u32::from(start.dns_names), true)
            .map_max_entries("EVENTS", start.ring_size)
            .load(PROGRAMS)
            .map_err(|source| NodeError::load(&source))?;
        #[cfg(feature = "debug")]
        let said = said::listen(&mut ebpf)?;
        let events = ebpf.take_map("EVENTS").expect("the object has this map");
        let mut probe = Self {
            ebpf,
            hooks,
            wants_xdp,
            xdp: XdpLinks::default(),
            events: RingBuf::try_from(events).map_err(|source| NodeError::map(&source))?,
            filter: Armed::new(start.budget, EXPLAIN_MISSES),
            slots: Box::new([0; SLOTS as usize]),
            loaded: Vec::new(),
            gone: Vec::new(),
            retired: Vec::new(),
            told: Vec::new(),
            points: StdHashMap::new(),
            at_tc: BTreeMap::new(),
            names: StdHashMap::new(),
            malformed: 0,
            connections: Connections::default(),
            dns: start.dns_names.then(Names::default),
            snaplen: start.snaplen as usize,
            #[cfg(feature = "debug")]
            _said: said,
        };
        probe.load_closer()?;
        probe.arm(&start.filter)?;
        Ok(probe)
    }

    /// Stores an interface's name. If another interface had this name, it no longer exists.
    pub(super) fn call(&mut self, ifindex: u32, interface: &str) {
        let others = self.points.iter().filter(|((index, _), point)| {
            *index != ifindex && self.names[index] == interface && !self.retired.contains(point)
        });
        let others: Vec<usize> = others.map(|(_, point)| *point).collect();
        self.retired.extend(others);
        self.names.insert(ifindex, interface.to_owned());
    }

    /// Detaches from an interface to which not all programs could be attached. Points from the
    /// number `first` on were not reported.
    ///
    /// # Errors
    /// If something stays attached.
    pub(super) fn release(&mut self, ifindex: u32, first: usize) -> Result<(), NodeError> {
        let at_xdp = self.points.get(&(ifindex, At::Xdp));
        if at_xdp.is_some_and(|point| *point >= first) {
            self.xdp.release(ifindex);
        }
        self.points.retain(|_, point| *point < first);
        self.hooks.release(ifindex)
    }

    /// Continues in the namespace that the thread has entered. No old interface is in this
    /// namespace.
    pub(super) fn move_in(&mut self) -> Result<(), NodeError> {
        let points = self.points.values();
        let rest = points.filter(|point| !self.retired.contains(point));
        let rest: Vec<usize> = rest.copied().collect();
        self.retired.extend(rest);
        // Descriptors in the hooks would keep the old namespace alive.
        self.hooks = Hooks::open()?;
        self.xdp = XdpLinks::default();
        self.at_tc.clear();
        self.connections = Connections::default();
        Ok(())
    }

    /// Whether an interface is observed, as of the last look at what is gone.
    pub(super) fn observes(&self, ifindex: u32) -> bool {
        [Direction::Ingress, Direction::Egress]
            .into_iter()
            .filter_map(|direction| self.points.get(&(ifindex, At::Tc(direction))))
            .any(|point| !self.gone.contains(point))
    }

    /// The points that have lost their program: the interface is gone or was recreated, or somebody
    /// has detached the program.
    ///
    /// # Errors
    /// If the kernel does not answer, which is no sign that programs are gone.
    pub(super) fn gone(&mut self) -> Result<Vec<usize>, NodeError> {
        // After an agent has detached its own programs, no point counts as newly gone.
        if self.loaded.is_empty() {
            return Ok(self.gone.clone());
        }
        let mut gone = self.retired.clone();
        for ((ifindex, at), point) in &self.points {
            let device = Device {
                name: &self.names[ifindex],
                index: *ifindex,
            };
            let holds = match at {
                At::Tc(direction) => self.hooks.holds(device, *direction),
                At::Xdp => self.xdp.holds(device),
            };
            let holds = holds.map_err(|source| NodeError::System {
                what: "ask whether its programs are attached",
                source,
            })?;
            if !holds {
                gone.push(*point);
            }
        }
        gone.sort_unstable();
        gone.dedup();
        self.gone.clone_from(&gone);
        Ok(gone)
    }

    /// The gone points that were not reported yet.
    pub(super) fn newly_gone(&mut self) -> Result<Vec<usize>, NodeError> {
        let mut gone = self.gone()?;
        gone.retain(|point| !self.told.contains(point));
        self.told.extend(&gone);
        Ok(gone)
    }

    /// How its programs are attached.
    pub(super) const fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// Puts a filter into force, all at once.
    pub(super) fn arm(&mut self, filter: &Filter) -> Result<(), NodeError> {
        self.filter.arm(&mut self.ebpf, filter)
    }

    /// Lets so many of 2^32 packets through.
    pub(super) fn sample(&mut self, sample: u32) -> Result<(), NodeError> {
        self.filter.config.sample = sample;
        self.write_config()
    }

    /// Whether packets to elsewhere are counted.
    pub(super) fn explain(&mut self, explain: bool) -> Result<(), NodeError> {
        filter::flag(&mut self.filter.config, EXPLAIN_MISSES, explain);
        self.write_config()
    }

    fn write_config(&mut self) -> Result<(), NodeError> {
        self.filter.write(&mut self.ebpf)
    }

    /// What becomes readable when there are events.
    pub(super) fn readiness(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor lives as long as `self.events`.
        unsafe { BorrowedFd::borrow_raw(self.events.as_raw_fd()) }
    }

    /// Takes records off the ring buffer. False if there may be more.
    pub(super) fn drain(&mut self, hops: &mut Vec<Hop>) -> bool {
        let now = Instant::now();
        let mut captured = 0;
        for _ in 0..BATCH {
            if captured >= CAPTURED {
                return false;
            }
            let Some(record) = self.events.next() else {
                return true;
            };
            let points = &self.points;
            // The rest of a DNS answer was captured for its names alone.
            let wanted = size_of::<HopEvent>() + self.snaplen;
            let whole = &*record;
            let record = whole.get(..wanted).unwrap_or(whole);
            match decode::hop(record, |ifindex, at| points.get(&(ifindex, at)).copied()) {
                Ok(hop) => {
                    if let Some(names) = &mut self.dns
                        && hop.packet.dns().is_some_and(|dns| dns.is_answer)
                        && let Some((name, addresses)) = decode::named(whole)
                    {
                        names.saw(&name, &addresses, hop.time, now);
                    }
                    captured += hop.frame.as_ref().map_or(0, |frame| frame.len());
                    self.connections.saw(&hop.packet, hop.time, now);
                    hops.push(hop);
                }
                Err(_) => self.malformed += 1,
            }
        }
        false
    }

    /// What has become of packets so far.
    pub(super) fn report(&mut self) -> Result<Report, NodeError> {
        let mut slots: StdHashMap<u32, usize> = StdHashMap::new();
        for ((ifindex, at), point) in &self.points {
            let shared = slots.entry(slot(*ifindex, at.place())).or_insert(*point);
            *shared = (*shared).min(*point);
        }
        let map: PerCpuArray<_, Counters> = map(&mut self.ebpf, "COUNTERS")?;
        let mut counters = Vec::with_capacity(slots.len());
        for (slot, point) in slots {
            let mut sum = Counters::default();
            let values = map
                .get(&slot, 0)
                .map_err(|source| NodeError::map(&source))?;
            for cpu in values.iter() {
                sum.add(cpu);
            }
            counters.push((point, sum));
        }
        counters.sort_unstable_by_key(|(point, _)| *point);
        Ok(Report {
            time: clock::now(),
            counters,
            gone: self.gone()?,
            sample: self.filter.config.sample,
            malformed: self.malformed,
            elsewhere: self.elsewhere()?,
            drops: None,
            health: None,
            translations: self.connections.translations(),
            names: self.dns.as_mut().map(Names::take).unwrap_or_default(),
        })
    }

    fn elsewhere(&mut self) -> Result<Vec<Elsewhere>, NodeError> {
        if self.filter.config.flags & EXPLAIN_MISSES == 0 {
            return Ok(Vec::new());
        }
        let mut counted: StdHashMap<elsewhere::Elsewhere, u64> = StdHashMap::new();
        let table: HashMap<_, elsewhere::Elsewhere, u64> = map(&mut self.ebpf, "ELSEWHERE")?;
        // An entry that vanishes while the table is read is no loss: it is
        // explanatory.
        counted.extend(table.iter().flatten());
        let flows: PerCpuArray<_, Flows> = map(&mut self.ebpf, "FLOWS")?;
        let cpus = flows.get(&0, 0).map_err(|source| NodeError::map(&source))?;
        let flows = cpus.iter().flat_map(|cpu| &cpu.flows);
        for flow in flows.filter(|flow| flow.elsewhere != 0) {
            *counted.entry(flow.key.elsewhere()).or_default() += u64::from(flow.elsewhere);
        }
        let mut found: Vec<Elsewhere> = Vec::new();
        for (key, packets) in counted {
            let entry = Elsewhere {
                src: decode::mapped(key.src),
                dst: decode::mapped(key.dst),
                proto: Proto::Ip(key.proto),
                dst_port: key.dst_port,
                packets,
            };
            let same = |other: &&mut Elsewhere| {
                (other.src, other.dst, other.proto, other.dst_port)
                    == (entry.src, entry.dst, entry.proto, entry.dst_port)
            };
            // The same packets pass several points; the largest count stands.
            match found.iter_mut().find(same) {
                Some(other) => other.packets = other.packets.max(packets),
                None => found.push(entry),
            }
        }
        Ok(found)
    }

    /// Detaches everything; what is in the ring buffer stays readable.
    pub(super) fn detach(&mut self) -> Result<(), NodeError> {
        // First all points at once: detached one after the other, they would
        // see less and less of each packet.
        self.filter.disarm(&mut self.ebpf)?;
        self.xdp.detach();
        self.hooks.detach()?;
        for name in self.loaded.drain(..) {
            let unloaded = match self.ebpf.program_mut(name) {
                Some(Program::SchedClassifier(program)) => program.unload(),
                Some(Program::Xdp(program)) => program.unload(),
                _ => Ok(()),
            };
            unloaded.map_err(|source| NodeError::load(&source))?;
        }
        Ok(())
    }
}
