//! Loading the programs of a probe, and attaching them.

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
use crate::node::{
    NodeError, clock,
    filter::{self, map},
    hook::{self, At, Candidate, Device},
};

/// The programs that [`Probe::load_closer`] and [`Probe::load_xdp`] load, and where they go.
const CLOSER: [&str; 2] = ["tracer_closer", "CLOSER"];
const XDP_CLOSER: [&str; 2] = ["tracer_xdp_closer", "XDP_CLOSER"];
/// The program for XDP.
const XDP: &str = "tracer_xdp";

impl Probe {
    /// Attaches to one direction of an interface, before all other programs
    /// there. `l2` says whether its packets begin with an Ethernet header,
    /// `number` is what its hops will be called. Returns the point, with the foreign programs
    /// found there.
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

    /// Asks again for the foreign programs at tc. A point where others run than before is a
    /// new one, numbered from `first`, and the one before is gone.
    ///
    /// # Errors
    /// If the kernel does not say what is still attached.
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
            // Where the kernel does not say, all is as it was.
            let Ok(mut foreign) = hook::foreign(device, direction) else {
                continue;
            };
            // Without CAP_SYS_ADMIN these have no names that would tell.
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

    /// Attaches to XDP of an interface, if that is wanted there and not so already. `l2`
    /// and `number` are as in [`Probe::attach`]. Returns the hook's name, or why it is not to be.
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
        // Whoever has attached again to tc has it still.
        if matches!(self.xdp.holds(device), Ok(true)) {
            return None;
        }
        let candidate = Candidate {
            name: device.name,
            kind: &point.kind,
            l2,
            is_uplink: point.role == Role::Uplink,
        };
        // Inside of pods nothing is attached to XDP.
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

    /// What comes from a place at an interface is a point's from now on.
    fn take_for(&mut self, (device, at): (Device<'_>, At), point: usize) {
        self.call(device.index, device.name);
        let before = self.points.insert((device.index, at), point);
        self.retired.extend(before);
    }

    /// Lets the programs count what they see at an interface: where somebody else
    /// runs them, they count nothing.
    fn count_at(&mut self, ifindex: u32, at: At) -> Result<(), NodeError> {
        let slot = slot(ifindex, at.place()) as usize;
        self.slots[slot] = share(self.slots[slot], ifindex);
        let slots: &[u32; SLOTS as usize] = &self.slots;
        map::<Array<_, [u32; SLOTS as usize]>>(&mut self.ebpf, filter::POINTS)?
            .set(0, slots, 0)
            .map_err(|source| NodeError::map(&source))
    }

    /// Loads the program that the others go on in where a glance does not suffice.
    pub(super) fn load_closer(&mut self) -> Result<(), NodeError> {
        let [name, map] = CLOSER;
        let program = classifier(&mut self.ebpf, name);
        program.load().map_err(|source| NodeError::load(&source))?;
        let loaded = hold(program.fd())?;
        self.loaded.push(name);
        self.go_on_in(map, &loaded)
    }

    /// Loads those of XDP, once: only who asks for them needs a kernel that has them. The one
    /// that is attached comes last, so that it has all that it needs once it is loaded.
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

/// Whether programs are the same as others, as far as their names tell: whoever loads a
/// program anew gives it another number, and often no other name.
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

/// A program's descriptor, to be kept.
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
