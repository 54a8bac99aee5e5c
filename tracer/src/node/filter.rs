//! The filter of loaded programs: the same maps, whichever programs look into
//! them.

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, LpmTrie, Map, MapError, lpm_trie::Key},
};
use tracer_common::{
    config::{BUDGET_WINDOW_SHIFT, Config, PREFIXES},
    filter::{AddressKey, Identity, MAX_RULE_SETS, PREFILTER_WORDS, PairKey, Prefilters, RuleSet},
};

use super::{NodeError, tables::Tables};
use tracer_core::request::Filter;

/// Entries of each table at least: two generations of a small filter that grows.
const LEAST_ENTRIES: u32 = 2048;

/// What a filter has in the kernel, so that it can be taken out again.
#[derive(Default)]
struct Written {
    addresses: Vec<AddressKey>,
    prefixes: Vec<Key<AddressKey>>,
    pairs: Vec<PairKey>,
}

/// The filter of one load of programs.
pub(super) struct Armed {
    pub(super) config: Config,
    /// By slot.
    written: [Written; 2],
    prefilters: Box<Prefilters>,
}

/// Gives the tables of programs that are to be loaded the size that a filter needs, and
/// twice as much, as it may grow: each of them holds two generations of it.
pub(super) fn size(loader: &mut EbpfLoader<'_>, filter: &Filter) -> Result<(), NodeError> {
    let tables = Tables::new(filter)?;
    let entries = |used: usize| {
        let entries = u32::try_from(4 * used).unwrap_or(u32::MAX);
        entries.max(LEAST_ENTRIES).next_power_of_two()
    };
    loader
        .map_max_entries("ADDRESSES", entries(tables.addresses.len()))
        .map_max_entries("PREFIXES", entries(tables.prefixes.len()))
        .map_max_entries("PAIRS", entries(tables.pairs.len()));
    Ok(())
}

impl Armed {
    /// What programs begin with: no filter, every packet in the sample, and
    /// `budget` events per second.
    pub(super) fn new(budget: u32, flags: u32) -> Self {
        let per_window = (u64::from(budget) << BUDGET_WINDOW_SHIFT) / 1_000_000_000;
        Self {
            config: Config {
                generation: 0,
                budget: u32::try_from(per_window).unwrap_or(u32::MAX).max(1),
                sample: u32::MAX,
                flags,
                prefilter_masks: [0; 2],
            },
            written: Default::default(),
            prefilters: Box::new(Prefilters {
                words: [[0; PREFILTER_WORDS]; 2],
            }),
        }
    }

    /// Puts a filter into force, all at once: its tables are written beside those
    /// in use, then the generation is changed.
    pub(super) fn arm(&mut self, ebpf: &mut Ebpf, filter: &Filter) -> Result<(), NodeError> {
        let tables = Tables::new(filter)?;
        let slot = filter.generation % 2;
        let index = slot as usize;
        self.clear(ebpf, index)?;
        let written = &mut self.written[index];

        let mut addresses: HashMap<_, AddressKey, Identity> = map(ebpf, "ADDRESSES")?;
        for (address, identity) in tables.addresses {
            let key = AddressKey { slot, address };
            addresses.insert(key, identity, 0).map_err(map_error)?;
            written.addresses.push(key);
        }
        let mut prefixes: LpmTrie<_, AddressKey, Identity> = map(ebpf, "PREFIXES")?;
        let any_prefix = !tables.prefixes.is_empty();
        for (len, address, identity) in tables.prefixes {
            let key = Key::new(len, AddressKey { slot, address });
            prefixes.insert(&key, identity, 0).map_err(map_error)?;
            written.prefixes.push(key);
        }
        let mut pairs: HashMap<_, PairKey, u32> = map(ebpf, "PAIRS")?;
        for ([from, to], set) in tables.pairs {
            let key = PairKey { slot, from, to };
            pairs.insert(key, set, 0).map_err(map_error)?;
            written.pairs.push(key);
        }
        let mut rules: Array<_, RuleSet> = map(ebpf, "RULES")?;
        let most = u32::try_from(MAX_RULE_SETS).expect("256");
        for (index, set) in (slot * most..).zip(tables.rules) {
            rules.set(index, set, 0).map_err(map_error)?;
        }
        let words = &mut self.prefilters.words[index];
        words[..tables.prefilter.len()].copy_from_slice(&tables.prefilter);
        let mut prefilters: Array<_, Prefilters> = map(ebpf, PREFILTERS)?;
        let all: &Prefilters = &self.prefilters;
        prefilters.set(0, all, 0).map_err(map_error)?;
        // Before a program looks there.
        let mask = u32::try_from(tables.prefilter.len() - 1).expect("few words");
        self.config.prefilter_masks[index] = mask;
        self.write(ebpf)?;
        self.config.generation = filter.generation;
        flag(&mut self.config, PREFIXES, any_prefix);
        self.write(ebpf)
    }

    /// Takes out what a filter before has in a slot.
    fn clear(&mut self, ebpf: &mut Ebpf, slot: usize) -> Result<(), NodeError> {
        let written = std::mem::take(&mut self.written[slot]);
        let mut addresses: HashMap<_, AddressKey, Identity> = map(ebpf, "ADDRESSES")?;
        for key in written.addresses {
            addresses.remove(&key).map_err(map_error)?;
        }
        let mut prefixes: LpmTrie<_, AddressKey, Identity> = map(ebpf, "PREFIXES")?;
        for key in written.prefixes {
            prefixes.remove(&key).map_err(map_error)?;
        }
        let mut pairs: HashMap<_, PairKey, u32> = map(ebpf, "PAIRS")?;
        for key in written.pairs {
            pairs.remove(&key).map_err(map_error)?;
        }
        Ok(())
    }

    /// Puts the configuration into force.
    pub(super) fn write(&self, ebpf: &mut Ebpf) -> Result<(), NodeError> {
        map::<Array<_, Config>>(ebpf, CONFIG)?
            .set(0, self.config, 0)
            .map_err(map_error)
    }

    /// Lets nothing belong to the follow any more, at every point at once.
    pub(super) fn disarm(&mut self, ebpf: &mut Ebpf) -> Result<(), NodeError> {
        self.prefilters.words = [[0; PREFILTER_WORDS]; 2];
        let none: &Prefilters = &self.prefilters;
        map::<Array<_, Prefilters>>(ebpf, PREFILTERS)?
            .set(0, none, 0)
            .map_err(map_error)
    }
}

/// What programs read without a look-up is in sections of the object, which are maps.
const CONFIG: &str = ".bss.config";
const PREFILTERS: &str = ".bss.prefilter";
/// See [`tracer_common::counters::share`].
pub(super) const POINTS: &str = ".bss.points";

#[expect(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
fn map_error(source: MapError) -> NodeError {
    NodeError::map(&source)
}

/// Sets or clears a flag.
pub(super) const fn flag(config: &mut Config, flag: u32, on: bool) {
    if on {
        config.flags |= flag;
    } else {
        config.flags &= !flag;
    }
}

/// A map of the object, which has it.
pub(super) fn map<'a, M: TryFrom<&'a mut Map, Error = MapError>>(
    ebpf: &'a mut Ebpf,
    name: &str,
) -> Result<M, NodeError> {
    let map = ebpf.map_mut(name).expect("the object has this map");
    M::try_from(map).map_err(|source| NodeError::map(&source))
}
