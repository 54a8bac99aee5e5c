//! Points that come and go while a namespace is observed.
//!
//! A link of tcx ends with its interface, and a new interface has none, even with the same
//! name. So the result of the last search is compared with the attached programs. Missing
//! programs are attached, and points without a program are reported as gone.

use std::path::Path;

use nix::net::if_::if_nametoindex;
use tracer_core::{input::Change, model::Point};

use super::{NodeError, clock, points, probe::Probe, visit, worker};

impl Probe {
    /// Observes these interfaces of a namespace (`None`: the thread's own; otherwise the thread
    /// enters it). Adds the differences to `change`: new points are numbered from `first`, and
    /// an interface that cannot be observed becomes a note.
    ///
    /// # Errors
    /// If the kernel does not answer what is still attached.
    pub(super) fn take_in(
        &mut self,
        netns: Option<&Path>,
        first: usize,
        mut interfaces: Vec<(Point, bool)>,
        mut change: Change,
    ) -> Result<Change, NodeError> {
        if let Some(path) = netns
            && !visit::is_own(path)
        {
            match worker::enter(path).and_then(|()| self.move_in()) {
                Ok(()) => {}
                // The interface has gone in the meantime.
                Err(_) => interfaces.clear(),
            }
        }
        for (point, _) in &interfaces {
            self.call(point.ifindex, &point.interface);
        }
        self.gone()?;
        for (point, l2) in interfaces {
            if self.observes(point.ifindex) {
                continue;
            }
            let next = first + change.points.len();
            match points::attach(self, next, &point, l2) {
                Ok(attached) => {
                    change.points.extend(attached.points);
                    change.notes.extend(attached.notes);
                }
                Err(error) => {
                    // XDP or the other direction may be attached, and would have no index.
                    let released = self.release(point.ifindex, next);
                    // The interface may have gone in the meantime; otherwise, the error is
                    // real.
                    if exists(&point.interface) {
                        change.notes.push(error.to_string());
                        let stays = released.err().map(|error| error.to_string());
                        change.notes.extend(stays);
                    }
                }
            }
        }
        change.time = clock::now();
        for point in &mut change.points {
            point.since = change.time;
        }
        change
            .notes
            .extend(change.points.iter().filter_map(Point::warning));
        change.gone = self.newly_gone()?;
        Ok(change)
    }
}

/// Whether an interface of this name exists.
fn exists(interface: &str) -> bool {
    if_nametoindex(interface).is_ok()
}
