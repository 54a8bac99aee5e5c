//! The filter of loaded programs: the same maps, whichever programs look into
//! them.

use aya::{
    Ebpf,
    maps::{Array, HashMap, LpmTrie, Map, MapError, lpm_trie::Key},
};
use tracer_common::{
    config::{BUDGET_WINDOW_SHIFT, Config, PREFIXES},
    filter::{AddressKey, KEY_PREFIX_BITS, MAX_RULES, Prefilter, Rule, Sides},
};

use super::{NodeError, tables::Tables};
use tracer_core::request::Filter;

/// Entries of each address table: two generations of a filter with all pairs
/// and plenty of next hops.
pub(super) const MAX_ADDRESSES: u32 = 4096;

/// What programs begin with: no filter, every packet in the sample, and
/// `budget` events per second.
pub(super) fn config(budget: u32, flags: u32) -> Config {
    let per_window = (u64::from(budget) << BUDGET_WINDOW_SHIFT) / 1_000_000_000;
    Config {
        generation: 0,
        budget: u32::try_from(per_window).unwrap_or(u32::MAX).max(1),
        sample: u32::MAX,
        flags,
    }
}

/// Sets or clears a flag.
pub(super) const fn flag(config: &mut Config, flag: u32, on: bool) {
    if on {
        config.flags |= flag;
    } else {
        config.flags &= !flag;
    }
}

/// Puts a configuration into force.
pub(super) fn write_config(ebpf: &mut Ebpf, config: &Config) -> Result<(), NodeError> {
    map::<Array<_, Config>>(ebpf, "CONFIG")?
        .set(0, config, 0)
        .map_err(|source| NodeError::map(&source))
}

/// Puts a filter into force, all at once: its tables are written beside those
/// in use, then the generation is changed.
pub(super) fn arm(ebpf: &mut Ebpf, filter: &Filter, config: &mut Config) -> Result<(), NodeError> {
    let tables = Tables::new(filter)?;
    let slot = filter.generation % 2;
    let (single, prefixes): (Vec<_>, Vec<_>) = tables
        .addresses
        .into_iter()
        .map(|(len, address, sides)| (len, AddressKey { slot, address }, sides))
        .partition(|(len, ..)| *len == KEY_PREFIX_BITS + 128);

    let mut addresses: HashMap<_, AddressKey, Sides> = map(ebpf, "ADDRESSES")?;
    let stale: Vec<AddressKey> = addresses
        .keys()
        .flatten()
        .filter(|key| key.slot == slot)
        .collect();
    for key in stale {
        addresses
            .remove(&key)
            .map_err(|source| NodeError::map(&source))?;
    }
    for (_, key, sides) in single {
        addresses
            .insert(key, sides, 0)
            .map_err(|source| NodeError::map(&source))?;
    }

    let mut trie: LpmTrie<_, AddressKey, Sides> = map(ebpf, "PREFIXES")?;
    let stale: Vec<Key<AddressKey>> = trie
        .keys()
        .flatten()
        .filter(|key| key.data().slot == slot)
        .collect();
    for key in stale {
        trie.remove(&key)
            .map_err(|source| NodeError::map(&source))?;
    }
    let any_prefix = !prefixes.is_empty();
    for (len, key, sides) in prefixes {
        trie.insert(&Key::new(len, key), sides, 0)
            .map_err(|source| NodeError::map(&source))?;
    }

    let mut rules: Array<_, Rule> = map(ebpf, "RULES")?;
    let most = u32::try_from(MAX_RULES).expect("8");
    for (index, rule) in (slot * most..).zip(tables.rules) {
        rules
            .set(index, rule, 0)
            .map_err(|source| NodeError::map(&source))?;
    }
    let mut prefilter: Array<_, Prefilter> = map(ebpf, "PREFILTER")?;
    prefilter
        .set(slot, tables.prefilter, 0)
        .map_err(|source| NodeError::map(&source))?;
    config.generation = filter.generation;
    flag(config, PREFIXES, any_prefix);
    write_config(ebpf, config)
}

/// Lets nothing belong to the follow any more, at every point at once.
pub(super) fn disarm(ebpf: &mut Ebpf) -> Result<(), NodeError> {
    let mut prefilter: Array<_, Prefilter> = map(ebpf, "PREFILTER")?;
    for slot in 0..2 {
        prefilter
            .set(slot, Prefilter::EMPTY, 0)
            .map_err(|source| NodeError::map(&source))?;
    }
    Ok(())
}

/// A map of the object, which has it.
pub(super) fn map<'a, M: TryFrom<&'a mut Map, Error = MapError>>(
    ebpf: &'a mut Ebpf,
    name: &str,
) -> Result<M, NodeError> {
    let map = ebpf.map_mut(name).expect("the object has this map");
    M::try_from(map).map_err(|source| NodeError::map(&source))
}
