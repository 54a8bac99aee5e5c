//! Filters of clsact, the qdisc that queues nothing.
//!
//! A filter stays when the process that added it ends. So its name has its owner. The next
//! tracer that starts in the namespace removes the filters of dead owners, and keeps those of
//! live tracers and of other tools. The qdisc is removed with the last filter, if a tracer
//! created it.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
    time::Duration,
};

use aya::programs::SchedClassifier;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcHandle, TcHeader, TcMessage},
};
use netlink_sys::protocols::NETLINK_ROUTE;
use tracer_core::model::{Direction, Foreign};
use tracing::warn;

use super::{
    Device, OURS,
    filter::{Filter, Place},
    owner::{self, Owner, PATIENCE, Turn},
};
use crate::node::{
    NodeError,
    netlink::{Netlink, Question},
    qdisc::Qdisc,
};

const KIND: &str = "clsact";

const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// The filters of one owner in a namespace.
pub(in crate::node) struct Clsact {
    netlink: Netlink,
    owner: Owner,
    /// Indexes of the interfaces with programs.
    devices: Vec<u32>,
    /// How long to wait for the turn.
    patience: Duration,
}

impl Clsact {
    /// Opens the calling thread's namespace.
    pub(super) fn open() -> Result<Self, NodeError> {
        Ok(Self {
            netlink: Netlink::open(NETLINK_ROUTE).map_err(cannot("open a netlink socket"))?,
            owner: Owner::new()?,
            devices: Vec::new(),
            patience: PATIENCE,
        })
    }

    /// Whether this owner's filter is still there.
    pub(super) fn holds(&mut self, ifindex: u32, direction: Direction) -> io::Result<bool> {
        let owner = self.owner.id();
        let mut filters = self.filters(ifindex, direction)?.into_iter();
        Ok(filters.any(|filter| Mark::of(&filter).is_some_and(|mark| mark.owner == owner)))
    }

    pub(super) fn attach(
        &mut self,
        program: &SchedClassifier,
        name: &str,
        device: Device<'_>,
        direction: Direction,
    ) -> Result<(), NodeError> {
        let _turn = self.turn()?;
        let attached = self.add(program, name, device.index, direction);
        attached.map_err(|source| NodeError::attach(device.name, direction, &source))
    }

    fn add(
        &mut self,
        program: &SchedClassifier,
        name: &str,
        ifindex: u32,
        direction: Direction,
    ) -> io::Result<()> {
        let made = match self.qdisc(ifindex)?.as_deref() {
            Some(KIND) => self.of_device(ifindex)?.iter().any(Mark::says_made),
            // The filter takes the same place.
            Some(other) => {
                let text = format!("its {other} qdisc leaves no place for clsact");
                return Err(io::Error::other(text));
            }
            None => {
                let add = qdisc(ifindex, RouteNetlinkMessage::NewQueueDiscipline);
                self.netlink
                    .change(&add, NLM_F_CREATE | NLM_F_EXCL)
                    .map_err(|error| lacks(error, "clsact (CONFIG_NET_SCH_INGRESS)"))?;
                true
            }
        };
        self.devices.push(ifindex);
        let owner = self.owner.id();
        let filters = self.filters(ifindex, direction)?;
        let descriptor = program.fd().map_err(io::Error::other)?;
        let add = Filter::add(
            ifindex,
            direction,
            priority(&filters),
            descriptor.as_fd().as_raw_fd().cast_unsigned(),
            Mark { owner, made }.write(name),
        );
        self.netlink
            .change(&add, NLM_F_CREATE | NLM_F_EXCL)
            .map_err(|error| lacks(error, "programs as filters (CONFIG_NET_CLS_BPF)"))
    }

    /// Waits for the turn. If another tool holds it, the second attempt does not wait.
    fn turn(&mut self) -> Result<Turn, NodeError> {
        let turn = Turn::wait(self.patience)?;
        if turn.is_not_granted() {
            self.patience = Duration::ZERO;
        }
        Ok(turn)
    }

    /// Removes this owner's filters.
    pub(super) fn detach(&mut self) -> Result<(), NodeError> {
        let owner = self.owner.id();
        let mut devices = std::mem::take(&mut self.devices);
        devices.sort_unstable();
        devices.dedup();
        self.remove(devices, |mark| mark.owner == owner)
            .map_err(cannot("detach its programs"))
    }

    /// Removes this owner's filters at one interface.
    pub(super) fn release(&mut self, ifindex: u32) -> Result<(), NodeError> {
        let owner = self.owner.id();
        self.devices.retain(|device| *device != ifindex);
        self.remove(vec![ifindex], |mark| mark.owner == owner)
            .map_err(cannot("detach its programs"))
    }

    /// Removes the filters of dead owners in the namespace.
    pub(super) fn remove_leftovers(&mut self) -> Result<(), NodeError> {
        let qdiscs = self.qdiscs();
        let devices = qdiscs.map(|found| found.into_iter().map(|one| one.device).collect());
        devices
            .and_then(|devices| self.remove(devices, |mark| !owner::lives(mark.owner)))
            .map_err(cannot("remove what a killed tracer has left"))
    }

    /// Removes tracer's filters for which `which` is true, and with the last one the qdisc, if
    /// a tracer created it.
    fn remove(&mut self, devices: Vec<u32>, which: impl Fn(&Mark) -> bool) -> io::Result<()> {
        if devices.is_empty() {
            return Ok(());
        }
        // The filters must be removed in any case. Whoever holds the turn may be about to add a
        // filter, so the qdisc stays then.
        let turn = self.turn().inspect_err(|error| warn!("{error}"));
        for device in devices {
            remove(&mut self.netlink, device, &which, turn.is_ok())?;
        }
        Ok(())
    }

    fn of_device(&mut self, ifindex: u32) -> io::Result<Vec<Filter>> {
        self.netlink.filters(ifindex)
    }

    fn filters(&mut self, ifindex: u32, direction: Direction) -> io::Result<Vec<Filter>> {
        filters(&mut self.netlink, ifindex, direction)
    }

    /// Qdiscs in the place of clsact, by device.
    fn qdiscs(&mut self) -> io::Result<Vec<Qdisc>> {
        let mut found = self.netlink.dump(&Qdisc::list(), Qdisc::parse)?.items;
        found.retain(|qdisc| !qdisc.is_root);
        Ok(found)
    }

    fn qdisc(&mut self, ifindex: u32) -> io::Result<Option<String>> {
        let mut found = self.qdiscs()?.into_iter();
        let here = found.find(|qdisc| qdisc.device == ifindex);
        Ok(here.map(|qdisc| qdisc.kind))
    }
}

impl Drop for Clsact {
    /// Removes the filters, also after a failed start.
    fn drop(&mut self) {
        if let Err(error) = self.detach() {
            warn!("{error}");
        }
    }
}

/// The kernel's operations for removing filters.
trait Kernel {
    /// Filters at an interface.
    fn filters(&mut self, ifindex: u32) -> io::Result<Vec<Filter>>;
    /// Whether the qdisc of an interface is certainly empty.
    fn is_empty(&mut self, ifindex: u32) -> io::Result<bool>;
    /// Removes a filter, which may have gone with its interface.
    fn remove(&mut self, place: &Place) -> io::Result<()>;
    /// Removes the qdisc with everything in it; it may have gone with its interface.
    fn remove_qdisc(&mut self, ifindex: u32) -> io::Result<()>;
}

impl Kernel for Netlink {
    fn filters(&mut self, ifindex: u32) -> io::Result<Vec<Filter>> {
        let mut found = Vec::new();
        for direction in DIRECTIONS {
            found.extend(filters(self, ifindex, direction)?);
        }
        Ok(found)
    }

    fn is_empty(&mut self, ifindex: u32) -> io::Result<bool> {
        for direction in DIRECTIONS {
            // Every answer counts, so nothing is parsed.
            let answers = self.dump(&Filter::list(ifindex, direction), |_| Some(()))?;
            if answers.interrupted || !answers.items.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn remove(&mut self, place: &Place) -> io::Result<()> {
        gone_is_fine(self.change(&place.remove(), 0))
    }

    fn remove_qdisc(&mut self, ifindex: u32) -> io::Result<()> {
        let remove = qdisc(ifindex, RouteNetlinkMessage::DelQueueDiscipline);
        gone_is_fine(self.change(&remove, 0))
    }
}

fn gone_is_fine(changed: io::Result<()>) -> io::Result<()> {
    match changed {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT)) => Ok(()),
        changed => changed,
    }
}

/// Removes tracer's filters at an interface for which `which` is true. Also removes the qdisc,
/// if a tracer created it, and `alone` says that no other tracer is about to use it. The kernel
/// removes a qdisc with everything in it, so the qdisc is checked for other tools' filters
/// directly before. A filter that comes between the two steps is lost.
fn remove(
    kernel: &mut impl Kernel,
    ifindex: u32,
    which: impl Fn(&Mark) -> bool,
    alone: bool,
) -> io::Result<()> {
    let mut removed = kernel.filters(ifindex)?;
    removed.retain(|filter| Mark::of(filter).is_some_and(|mark| which(&mark)));
    for filter in &removed {
        kernel.remove(&filter.place)?;
    }
    if alone && removed.iter().any(Mark::says_made) && kernel.is_empty(ifindex)? {
        kernel.remove_qdisc(ifindex)?;
    }
    Ok(())
}

/// Filters in the first chain at an interface of the calling thread's namespace, from any tool.
pub(super) fn attached(ifindex: u32, direction: Direction) -> io::Result<Vec<Foreign>> {
    let mut netlink = Netlink::open(NETLINK_ROUTE)?;
    let filters = filters(&mut netlink, ifindex, direction)?;
    let begin = filters.into_iter().filter(|filter| filter.begins);
    Ok(begin.map(|filter| filter.program).collect())
}

fn filters(netlink: &mut Netlink, ifindex: u32, direction: Direction) -> io::Result<Vec<Filter>> {
    let list = Filter::list(ifindex, direction);
    Ok(netlink.dump(&list, Filter::parse)?.items)
}

/// The first priority for a program for all protocols: filters of one priority are of one kind
/// and one protocol. It is nearly always 1, where a later program runs earlier.
fn priority(filters: &[Filter]) -> u16 {
    let is_free = |priority: &u16| {
        let mut there = filters
            .iter()
            .filter(|filter| filter.begins && filter.place.priority == *priority);
        there.all(|filter| filter.is_plain_program)
    };
    (1..u16::MAX).find(is_free).unwrap_or(u16::MAX)
}

/// Names the feature that the kernel lacks.
fn lacks(error: io::Error, what: &str) -> io::Error {
    if error.raw_os_error() == Some(libc::ENOENT) {
        return io::Error::other(format!("this kernel has neither tcx nor {what}"));
    }
    error
}

/// A message about the clsact of an interface.
fn qdisc(ifindex: u32, kind: impl Fn(TcMessage) -> RouteNetlinkMessage) -> Question {
    let header = TcHeader {
        index: ifindex.cast_signed(),
        parent: TcHandle::CLSACT,
        handle: TcHandle {
            major: u16::MAX,
            minor: 0,
        },
        ..TcHeader::default()
    };
    let attributes = vec![TcAttribute::Kind(KIND.to_owned())];
    Question::of(&kind(TcMessage::from_parts(header, attributes)))
}

/// The parts of a filter's name: the program's name, the owner, and whether a tracer created
/// the qdisc: `tracer_ingress/0123456789abcdef/clsact`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    owner: u64,
    made: bool,
}

impl Mark {
    fn write(self, program: &str) -> String {
        let Self { owner, made } = self;
        let made = if made { "/clsact" } else { "" };
        format!("{program}/{owner:016x}{made}")
    }

    fn of(filter: &Filter) -> Option<Self> {
        Self::read(&filter.program.name)
    }

    fn says_made(filter: &Filter) -> bool {
        Self::of(filter).is_some_and(|mark| mark.made)
    }

    /// Parses a name; `None` for another tool's filter.
    fn read(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(OURS)?.split('/').skip(1);
        let owner = parts.next().filter(|owner| owner.len() == 16)?;
        Some(Self {
            owner: u64::from_str_radix(owner, 16).ok()?,
            made: match parts.next() {
                None => false,
                Some(KIND) => true,
                Some(_) => return None,
            },
        })
    }
}

fn cannot(what: &'static str) -> impl Fn(io::Error) -> NodeError {
    move |source| NodeError::System { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A qdisc with these filters, to which another tool adds one when the first is removed.
    struct Shared {
        there: Vec<Filter>,
        comes: Option<Filter>,
        is_removed: bool,
    }

    impl Kernel for Shared {
        fn filters(&mut self, _: u32) -> io::Result<Vec<Filter>> {
            Ok(self.there.clone())
        }

        fn is_empty(&mut self, _: u32) -> io::Result<bool> {
            Ok(self.there.is_empty())
        }

        fn remove(&mut self, place: &Place) -> io::Result<()> {
            self.there.retain(|filter| filter.place != *place);
            self.there.extend(self.comes.take());
            Ok(())
        }

        fn remove_qdisc(&mut self, _: u32) -> io::Result<()> {
            self.is_removed = true;
            Ok(())
        }
    }

    #[test]
    fn a_qdisc_goes_only_if_nobody_has_anything_in_it() {
        const OWN: u64 = 7;
        let mark = |owner, made| Mark { owner, made }.write("tracer_ingress");
        let own = || Filter::named(1, mark(OWN, true));
        let kept = || Filter::named(2, "somebody_elses".to_owned());
        let colleague = || Filter::named(3, mark(8, false));
        let after = |there: Vec<Filter>, comes: Option<Filter>, alone| {
            let mut shared = Shared {
                there,
                comes,
                is_removed: false,
            };
            remove(&mut shared, 1, |mark| mark.owner == OWN, alone).expect("no failure");
            (shared.is_removed, shared.there.len())
        };
        assert_eq!(after(vec![own()], None, true), (true, 0));
        assert_eq!(after(vec![own(), kept()], None, true), (false, 1));
        assert_eq!(after(vec![own(), colleague()], None, true), (false, 1));
        // The filter comes while tracer's own are being removed.
        assert_eq!(after(vec![own()], Some(kept()), true), (false, 1));
        // Another tracer may be about to add one.
        assert_eq!(after(vec![own()], None, false), (false, 0));
        let strangers = Filter::named(1, mark(OWN, false));
        assert_eq!(after(vec![strangers], None, true), (false, 0));
    }

    #[test]
    fn marks_are_read_back_and_nobody_elses_are() {
        for made in [false, true] {
            let mark = Mark { owner: 7, made };
            assert_eq!(Mark::read(&mark.write("tracer_l3_in")), Some(mark));
        }
        for name in [
            "cilium-lxc",
            "tracer_ingress",
            "tracer_ingress/7",
            "tracer_ingress/0000000000000007/other",
            "tracer_ingress/000000000000000g",
        ] {
            assert_eq!(Mark::read(name), None, "{name}");
        }
    }
}
