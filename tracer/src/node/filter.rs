//! Writes the filter of loaded programs into their maps, which all programs share.

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, LpmTrie, Map, MapError, lpm_trie::Key},
};
use tracer_common::{
    config::{BUDGET_WINDOW_SHIFT, Config, PREFIXES},
    filter::{AddressKey, Identity, MAX_RULE_SETS, PREFILTER_WORDS, PairKey, Prefilters, RuleSet},
};

use super::{
    NodeError,
    tables::{MAX_ADDRESSES, MAX_PAIRS, Tables},
};
use tracer_core::request::Filter;

/// Least number of entries of each table: two generations of a small filter that grows.
const LEAST_ENTRIES: u32 = 2048;

/// Entries of a filter in the kernel, so that they can be removed again.
#[derive(Default)]
struct Written {
    addresses: Vec<AddressKey>,
    prefixes: Vec<Key<AddressKey>>,
    pairs: Vec<PairKey>,
}

/// The filter of one load of programs.
pub(super) struct Armed {
    pub(super) config: Config,
    /// Entries by slot.
    written: [Written; 2],
    prefilters: Box<Prefilters>,
}

/// Number of entries of each table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    addresses: u32,
    prefixes: u32,
    pairs: u32,
}

impl Sizes {
    /// Sizes for twice the addresses, because a follow may grow, and for two generations. If
    /// all addresses communicate with all, twice the addresses are four times the pairs.
    fn of(tables: &Tables) -> Self {
        let entries = |used: usize, growth: usize, most: usize| {
            let entries = u32::try_from((growth * used).min(most)).expect("a few bits");
            let entries = entries.max(LEAST_ENTRIES / 2).next_power_of_two();
            2 * entries
        };
        Self {
            addresses: entries(tables.addresses.len(), 2, MAX_ADDRESSES),
            prefixes: entries(tables.prefixes.len(), 2, MAX_ADDRESSES),
            pairs: entries(tables.pairs.len(), 4, MAX_PAIRS),
        }
    }
}

/// Sets the sizes of tables before programs are loaded: what a filter needs, and room to grow.
pub(super) fn size(loader: &mut EbpfLoader<'_>, filter: &Filter) -> Result<(), NodeError> {
    let sizes = Sizes::of(&Tables::new(filter)?);
    loader
        .map_max_entries("ADDRESSES", sizes.addresses)
        .map_max_entries("PREFIXES", sizes.prefixes)
        .map_max_entries("PAIRS", sizes.pairs);
    Ok(())
}

/// Generation of a filter that replaces the one in force: the requested one, or the next one,
/// whose tables are not in use. After a filter that did not fit, it is the next one.
const fn next_generation(in_force: u32, asked: u32) -> u32 {
    if asked % 2 == in_force % 2 {
        asked + 1
    } else {
        asked
    }
}

impl Armed {
    /// The first configuration: no filter, every packet in the sample, and `budget` events per
    /// second.
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

    /// Puts a filter into force at once: its tables are written beside those in use, then the
    /// generation changes. If that fails, the earlier filter stays in force.
    pub(super) fn arm(&mut self, ebpf: &mut Ebpf, filter: &Filter) -> Result<(), NodeError> {
        let tables = Tables::new(filter)?;
        let generation = next_generation(self.config.generation, filter.generation);
        let slot = generation % 2;
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
        // The sets are written before a program reads them.
        let mask = u32::try_from(tables.prefilter.len() - 1).expect("few words");
        self.config.prefilter_masks[index] = mask;
        self.write(ebpf)?;
        self.config.generation = generation;
        flag(&mut self.config, PREFIXES, any_prefix);
        self.write(ebpf)
    }

    /// Removes the entries of an earlier filter from a slot.
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

    /// Puts an empty filter into force, at all points at once.
    pub(super) fn disarm(&mut self, ebpf: &mut Ebpf) -> Result<(), NodeError> {
        self.prefilters.words = [[0; PREFILTER_WORDS]; 2];
        let none: &Prefilters = &self.prefilters;
        map::<Array<_, Prefilters>>(ebpf, PREFILTERS)?
            .set(0, none, 0)
            .map_err(map_error)
    }
}

/// Names of maps that programs read without a look-up: sections of the object.
const CONFIG: &str = ".bss.config";
const PREFILTERS: &str = ".bss.prefilter";
/// Section of the points, see [`tracer_common::counters::share`].
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

/// A map of the object, which must exist.
pub(super) fn map<'a, M: TryFrom<&'a mut Map, Error = MapError>>(
    ebpf: &'a mut Ebpf,
    name: &str,
) -> Result<M, NodeError> {
    let map = ebpf.map_mut(name).expect("the object has this map");
    M::try_from(map).map_err(|source| NodeError::map(&source))
}

#[cfg(test)]
mod tests {
    use tracer_core::model::Pair;

    use super::*;

    /// The tables of a filter in which each of `pods` pods communicates with each other one.
    fn among(pods: u8) -> Tables {
        let address = |pod: u8| format!("10.1.0.{pod}/32").parse().expect("a network");
        let all = (0..pods).flat_map(|a| (0..pods).map(move |b| (a, b)));
        let pairs = all.filter(|(a, b)| a != b).map(|(a, b)| Pair {
            a: address(a),
            b: address(b),
            proto: None,
            a_port: None,
            b_port: None,
        });
        let filter = Filter {
            generation: 1,
            pairs: pairs.collect(),
            ..Filter::default()
        };
        Tables::new(&filter).expect("few")
    }

    #[test]
    fn twice_the_pods_have_room_beside_those_that_are_followed() {
        for pods in [2, 40, 100] {
            let (sizes, before, after) = (Sizes::of(&among(pods)), among(pods), among(2 * pods));
            let need = |before: usize, after: usize| u32::try_from(before + after).expect("few");
            let pairs = need(before.pairs.len(), after.pairs.len());
            let addresses = need(before.addresses.len(), after.addresses.len());
            assert!(sizes.pairs >= pairs, "{pods}: {sizes:?}");
            assert!(sizes.addresses >= addresses, "{pods}: {sizes:?}");
        }
        // There is room for no more than two of the largest filter.
        let most = Sizes::of(&among(250)).pairs as usize;
        assert_eq!(most, 2 * MAX_PAIRS);
    }

    #[test]
    fn a_filter_is_never_written_over_the_one_in_force() {
        let mut in_force = 1;
        // The second, third and sixth filter did not fit, or were sent while the agent was
        // gone.
        for asked in [4, 5, 7, 8] {
            let next = next_generation(in_force, asked);
            assert!(next > in_force && next % 2 != in_force % 2, "{next}");
            in_force = next;
        }
        assert_eq!(next_generation(1, 2), 2);
    }
}
