//! Programs of others at a point: who else may drop or redirect what passes.

use std::collections::HashMap;

use aya::programs::loaded_programs;

use crate::link::Foreign;

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
