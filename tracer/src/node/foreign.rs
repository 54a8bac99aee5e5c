//! Programs of others at a point: who else may drop or redirect what passes.

use std::collections::HashMap;

use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType, loaded_programs};

use super::discover::Interface;
use crate::link::{Direction, Foreign};

/// What the plan of a node should say of programs that may hide packets, as far as
/// this process may know: it takes CAP_NET_ADMIN.
pub(super) fn notes(interfaces: &[Interface]) -> Vec<String> {
    let mut notes = Vec::new();
    for Interface { name, .. } in interfaces {
        for (direction, at) in [
            (Direction::Ingress, TcAttachType::Ingress),
            (Direction::Egress, TcAttachType::Egress),
        ] {
            let (_, programs) = SchedClassifier::query_tcx(name, at).unwrap_or_default();
            let others: Vec<Foreign> = programs.iter().filter_map(foreign).collect();
            notes.extend(Foreign::warning(&others, name, direction));
        }
    }
    notes
}

/// A program, unless it is tracer's.
fn foreign(info: &ProgramInfo) -> Option<Foreign> {
    let name = String::from_utf8_lossy(info.name()).into_owned();
    let id = info.id();
    (!name.starts_with("tracer_")).then_some(Foreign { id, name })
}

/// Gives programs the names that their owners gave them: these say whose they
/// are, which identifiers do not.
pub(super) fn named(ids: Vec<u32>) -> Vec<Foreign> {
    if ids.is_empty() {
        return Vec::new();
    }
    // One that goes meanwhile, or cannot be looked at, has no name.
    let mut names: HashMap<u32, String> = loaded_programs()
        .flatten()
        .map(|info| (info.id(), String::from_utf8_lossy(info.name()).into_owned()))
        .collect();
    let named = |id| Foreign {
        id,
        name: names.remove(&id).unwrap_or_default(),
    };
    ids.into_iter().map(named).collect()
}
