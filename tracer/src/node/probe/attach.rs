//! Loads and attaches the programs of a probe.

use aya::{
    Ebpf,
    maps::{Array, ProgramArray},
    programs::{ProgramError, ProgramFd, SchedClassifier, Xdp},
};
use tracer_common::counters::{SLOTS, share, slot};
use tracer_core::{
    input::Change,
    model::{Direction, Foreign, Point, Role},
};

use super::Probe;
use crate::{
    decode::At,
    node::{
        NodeError, clock,
        filter::{self, map},
        hook::{self, Candidate, Device},
    },
};

/// The closers of tc and XDP, each with the program array that makes tail calls possible.
const CLOSER: [&str; 2] = ["tracer_closer", "CLOSER"];
const XDP_CLOSER: [&str; 2] = ["tracer_xdp_closer", "XDP_CLOSER"];
/// The program that is attached to XDP.
const XDP: &str = "tracer_xdp";

impl Probe {
    /// Attaches to one direction of an interface, before all other programs there. `l2` says
    /// whether the interface's packets begin with an Ethernet header, and `number` is the point
    /// number of its hops. Returns the point, with the foreign programs at the interface.
    pub(in crate::node) fn attach(
        &mut self,
        point: &Point,
        direction: Direction,
        l2: bool,
        number: usize,
    ) -> Result<Point, NodeError> {
        let (interface, ifindex) = (&*point.interface, point.ifindex);
        let device = Device {
            name: interface,
            index: ifindex,
        };
        let foreign = hook::foreign(device, direction)
            .map_err(|source| NodeError::attach(interface, direction, &source))?;
        let name = program(direction, l2);
        let program = classifier(&mut self.ebpf, name);
        if !self.loaded.contains(&name) {
            program.load().map_err(|source| NodeError::load(&source))?;
            self.loaded.push(name);
        }
        self.count_at(ifindex, At::Tc(direction))?;
        let program = classifier(&mut self.ebpf, name);
        self.hooks.attach(program, name, device, direction)?;
        self.take_for((device, At::Tc(direction)), number);
        let point = Point {
            direction,
            hook: self.hooks.name().into(),
            foreign,
            ..point.clone()
        };
        self.at_tc.insert((ifindex, direction), point.clone());
        Ok(point)
    }

    /// Asks again for the foreign programs at tc. A point whose foreign programs have changed is
    /// replaced by a new point. New points are numbered from `first`.
    ///
    /// # Errors
    /// If the kernel does not list tracer's attached programs.
    pub(in crate::node) fn ask_for_others(&mut self, first: usize) -> Result<Change, NodeError> {
        let mut change = Change::default();
        self.gone()?;
        let own = self.loaded.iter().filter_map(|name| {
            let info = self.ebpf.program(name)?.info().ok()?;
            Some(info.id())
        });
        let own: Vec<u32> = own.collect();
        let (points, gone) = (&self.points, &self.gone);
        self.at_tc.retain(|(ifindex, direction), _| {
            let number = points.get(&(*ifindex, At::Tc(*direction)));
            number.is_some_and(|number| !gone.contains(number))
        });
        for ((ifindex, direction), point) in self.at_tc.clone() {
            let at = At::Tc(direction);
            let device = Device {
                name: &point.interface,
                index: ifindex,
            };
            // Without an answer of the kernel, the point stays as it is.
            let Ok(mut foreign) = hook::foreign(device, direction) else {
                continue;
            };
            // Without CAP_SYS_ADMIN, the kernel tells no names, so only the ids show which programs
            // are tracer's own.
            foreign.retain(|program| !own.contains(&program.id));
            if are_same(&foreign, &point.foreign) {
                continue;
            }
            self.take_for((device, at), first + change.points.len());
            change.points.push(Point { foreign, ..point });
        }
        if change.points.is_empty() {
            return Ok(change);
        }
        change.time = clock::now();
        for point in &mut change.points {
            point.since = change.time;
            self.at_tc
                .insert((point.ifindex, point.direction), point.clone());
            let none = || {
                format!(
                    "tc at {} {}: no other program is there any more",
                    point.interface, point.direction
                )
            };
            change.notes.push(point.warning().unwrap_or_else(none));
        }
        change.gone = self.newly_gone()?;
        Ok(change)
    }

    /// Attaches to XDP of an interface, if XDP is wanted there and not attached yet. `l2` and
    /// `number` are as in [`Probe::attach`]. Returns the hook's name, or the reason against it.
    pub(in crate::node) fn attach_xdp(
        &mut self,
        point: &Point,
        l2: bool,
        number: usize,
    ) -> Option<Result<&'static str, String>> {
        let wanted = self.wants_xdp.as_ref()?;
        let device = Device {
            name: &point.interface,
            index: point.ifindex,
        };
        // An interface that gets its tc programs again still has its XDP program.
        if matches!(self.xdp.holds(device), Ok(true)) {
            return None;
        }
        let candidate = Candidate {
            name: device.name,
            kind: &point.kind,
            l2,
            is_uplink: point.role == Role::Uplink,
        };
        // tracer attaches nothing to XDP inside of pods.
        let choice = hook::choose(wanted, candidate).filter(|_| point.role != Role::Pod)?;
        Some(choice.and_then(|hook| {
            let loaded = self.load_xdp();
            let counted = loaded.and_then(|()| self.count_at(device.index, At::Xdp));
            counted.map_err(|error| error.to_string())?;
            self.xdp.attach(xdp(&mut self.ebpf, XDP), device, hook)?;
            self.take_for((device, At::Xdp), number);
            Ok(hook)
        }))
    }

    /// Assigns the hops of a place at an interface to a point from now on.
    fn take_for(&mut self, (device, at): (Device<'_>, At), point: usize) {
        self.call(device.index, device.name);
        let before = self.points.insert((device.index, at), point);
        self.retired.extend(before);
    }

    /// Tells the programs that an interface is observed. At other interfaces they count nothing, so
    /// somebody else who runs them changes no counter.
    fn count_at(&mut self, ifindex: u32, at: At) -> Result<(), NodeError> {
        let slot = slot(ifindex, at.place()) as usize;
        self.slots[slot] = share(self.slots[slot], ifindex);
        let slots: &[u32; SLOTS as usize] = &self.slots;
        map::<Array<_, [u32; SLOTS as usize]>>(&mut self.ebpf, filter::POINTS)?
            .set(0, slots, 0)
            .map_err(|source| NodeError::map(&source))
    }

    /// Loads the closer, in which the classifiers continue if a glance does not settle a packet.
    pub(super) fn load_closer(&mut self) -> Result<(), NodeError> {
        let [name, map] = CLOSER;
        let program = classifier(&mut self.ebpf, name);
        program.load().map_err(|source| NodeError::load(&source))?;
        let loaded = hold(program.fd())?;
        self.loaded.push(name);
        self.go_on_in(map, &loaded)
    }

    /// Loads the programs for XDP, once and only on demand, because not every kernel has XDP in
    /// frags mode. The attached program comes last, so once it is loaded, all others are, too.
    fn load_xdp(&mut self) -> Result<(), NodeError> {
        let [closer, map] = XDP_CLOSER;
        self.load_one_of_xdp(closer)?;
        if !self.loaded.contains(&XDP) {
            let loaded = hold(xdp(&mut self.ebpf, closer).fd())?;
            self.go_on_in(map, &loaded)?;
        }
        self.load_one_of_xdp(XDP)
    }

    fn load_one_of_xdp(&mut self, name: &'static str) -> Result<(), NodeError> {
        if self.loaded.contains(&name) {
            return Ok(());
        }
        xdp(&mut self.ebpf, name)
            .load()
            .map_err(|source| NodeError::load_xdp(&source))?;
        self.loaded.push(name);
        Ok(())
    }

    fn go_on_in(&mut self, programs: &str, loaded: &ProgramFd) -> Result<(), NodeError> {
        map::<ProgramArray<_>>(&mut self.ebpf, programs)?
            .set(0, loaded, 0)
            .map_err(|source| NodeError::map(&source))
    }
}

/// Whether two lists of programs are the same by their names. A program that somebody loads again
/// gets another id, and usually keeps its name.
fn are_same(these: &[Foreign], those: &[Foreign]) -> bool {
    let is_same = |(one, other): (&Foreign, &Foreign)| {
        one.name == other.name || one.name.is_empty() || other.name.is_empty()
    };
    these.len() == those.len() && these.iter().zip(those).all(is_same)
}

const fn program(direction: Direction, l2: bool) -> &'static str {
    match (direction, l2) {
        (Direction::Ingress, true) => "tracer_ingress",
        (Direction::Egress, true) => "tracer_egress",
        (Direction::Ingress, false) => "tracer_l3_in",
        (Direction::Egress, false) => "tracer_l3_out",
    }
}

/// A copy of a program's descriptor, so that it does not borrow the probe.
fn hold(program: Result<&ProgramFd, ProgramError>) -> Result<ProgramFd, NodeError> {
    let program = program.map_err(|source| NodeError::load(&source))?;
    program.try_clone().map_err(|source| NodeError::System {
        what: "hold a program",
        source,
    })
}

fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut Xdp {
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .expect("the object has these programs of XDP")
}

fn classifier<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut SchedClassifier {
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .expect("the object has these classifiers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_loaded_anew_is_the_same() {
        let one = |id, name: &str| Foreign {
            id,
            name: name.to_owned(),
        };
        let before = [one(7, "cil_from_netdev"), one(9, "")];
        assert!(are_same(&before, &[one(8, "cil_from_netdev"), one(10, "")]));
        assert!(!are_same(&before, &[one(8, "cil_to_netdev"), one(9, "")]));
        assert!(!are_same(&before, &before[..1]));
        assert!(are_same(&[], &[]));
    }
}
