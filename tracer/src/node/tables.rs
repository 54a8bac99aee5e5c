//! Turns a [`Filter`] into the tables that the programs read.
//!
//! Addresses are grouped into *classes*: addresses of a class have pairs with the same others,
//! under the same rules. The table of pairs has pairs of classes, so a client and the 5,000
//! backends of a Service are a single pair. A network inside of another one belongs to the
//! pairs of both, and has its own class.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net};
use tracer_common::filter::{
    FOLLOWED, Identity, KEY_PREFIX_BITS, MAX_RULE_SETS, MAX_RULES, NEIGHBOUR, Prefilter, Rule,
    RuleSet, SIDE_A,
};
use tracer_core::{model::Pair, request::Filter};

/// Limit of a prefix whose addresses are added to the Bloom filter one by one. A larger prefix
/// would set nearly every bit anyway.
const MARKED_ONE_BY_ONE: u128 = 4096;

/// Limit of addresses and prefixes.
pub(super) const MAX_ADDRESSES: usize = 1 << 16;

/// Limit of pairs of classes, each counted once per direction.
pub(super) const MAX_PAIRS: usize = 1 << 17;

/// The tables of one filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tables {
    /// The words of the Bloom filter.
    pub(super) prefilter: Vec<u64>,
    /// Single addresses.
    pub(super) addresses: Vec<([u8; 16], Identity)>,
    /// Prefixes: prefix length of the whole key in bits, address, value.
    pub(super) prefixes: Vec<(u32, [u8; 16], Identity)>,
    /// Numbers of rule sets, by the classes of source and destination.
    pub(super) pairs: Vec<([u32; 2], u32)>,
    pub(super) rules: Vec<RuleSet>,
}

/// The filter exceeds the kernel's tables.
#[derive(Debug, thiserror::Error)]
pub enum TooMany {
    /// Too many addresses.
    #[error(
        "this follow has {0} addresses, and at most {MAX_ADDRESSES} fit: name fewer ends, or a CIDR \
         that holds them"
    )]
    Addresses(usize),
    /// Too many pairs.
    #[error(
        "this follow pairs its addresses in more than {MAX_PAIRS} different ways: name fewer ends, or a \
         CIDR that holds them"
    )]
    Pairs,
    /// Too many rules.
    #[error(
        "the ports of this follow differ too much: at most {MAX_RULES} rules can hold between two \
         addresses, and at most {MAX_RULE_SETS} different sets of rules"
    )]
    Rules,
}

/// Properties of an address or a prefix, without those of prefixes around it.
#[derive(Clone, Debug, Default)]
struct Said {
    flags: u32,
    /// Number of its group, whose members have the same properties; 0 without a pair.
    group: u32,
}

/// The other network of a pair, and the rule for packets towards it.
type Role = (u32, Rule);

impl Tables {
    pub(super) fn new(filter: &Filter) -> Result<Self, TooMany> {
        let followed = if filter.neighbours {
            NEIGHBOUR | FOLLOWED
        } else {
            0
        };
        let mut own: BTreeMap<IpNet, Said> = BTreeMap::new();
        for pair in &filter.pairs {
            own.entry(pair.a.trunc()).or_default().flags |= followed | SIDE_A;
            own.entry(pair.b.trunc()).or_default().flags |= followed;
        }
        // In the tables, IPv4 addresses are part of IPv6's, so a prefix such as `::/0` would
        // contain them. The entry for all of IPv4 is longer, so the look-up finds it first.
        let v4 = IpNet::from(Ipv4Net::default());
        let mapped = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();
        if own.keys().any(|net| net.contains(&IpAddr::V6(mapped))) {
            own.entry(v4).or_default();
        }
        if filter.neighbours {
            for address in &filter.next_hops {
                own.entry(IpNet::from(*address)).or_default().flags |= NEIGHBOUR;
            }
        }
        if own.len() > MAX_ADDRESSES {
            return Err(TooMany::Addresses(own.len()));
        }
        let between = group(&mut own, &filter.pairs);
        let mut tables = Self {
            prefilter: prefilter(own.keys()),
            addresses: Vec::new(),
            prefixes: Vec::new(),
            pairs: Vec::new(),
            rules: Vec::new(),
        };
        let classes = tables.classify(&own);
        tables.pair(&between, &classes)?;
        Ok(tables)
    }

    /// Gives each network its class. Returns the classes to which each group belongs.
    fn classify(&mut self, own: &BTreeMap<IpNet, Said>) -> HashMap<u32, Vec<u32>> {
        let mut numbers: HashMap<BTreeSet<u32>, u32> = HashMap::new();
        let mut classes: HashMap<u32, Vec<u32>> = HashMap::new();
        // The networks around the present one, from the widest on, each with its properties and
        // those of all around it. In this order, a network comes after those that contain it.
        let mut around: Vec<(IpNet, u32, BTreeSet<u32>)> = Vec::new();
        for (net, said) in own {
            while around
                .last()
                .is_some_and(|(wider, ..)| !wider.contains(net))
            {
                around.pop();
            }
            let (mut flags, mut groups) = around
                .last()
                .map_or((0, BTreeSet::new()), |(_, flags, groups)| {
                    (*flags, groups.clone())
                });
            flags |= said.flags;
            if said.group != 0 {
                groups.insert(said.group);
            }
            let next = u32::try_from(numbers.len()).expect("as many as networks") + 1;
            let class = if groups.is_empty() {
                0
            } else {
                *numbers.entry(groups.clone()).or_insert_with(|| {
                    for group in &groups {
                        classes.entry(*group).or_default().push(next);
                    }
                    next
                })
            };
            let identity = Identity { class, flags };
            let (len, address) = key(*net);
            if len == KEY_PREFIX_BITS + 128 {
                self.addresses.push((address, identity));
            } else {
                self.prefixes.push((len, address, identity));
            }
            around.push((*net, flags, groups));
        }
        classes
    }

    /// Sets the rules between two classes.
    fn pair(
        &mut self,
        between: &BTreeSet<(u32, u32, Rule)>,
        classes: &HashMap<u32, Vec<u32>>,
    ) -> Result<(), TooMany> {
        let mut pairs: BTreeMap<[u32; 2], Vec<Rule>> = BTreeMap::new();
        for (from, to, rule) in between {
            for from in &classes[from] {
                for to in &classes[to] {
                    let rules = pairs.entry([*from, *to]).or_default();
                    if !rules.contains(rule) {
                        rules.push(*rule);
                    }
                    if pairs.len() > MAX_PAIRS {
                        return Err(TooMany::Pairs);
                    }
                }
            }
        }
        let mut numbers: HashMap<RuleSet, u32> = HashMap::new();
        for (pair, mut rules) in pairs {
            // A rule without conditions makes the others redundant.
            let nothing = Rule {
                holds: 1,
                ..Rule::default()
            };
            if rules.contains(&nothing) {
                rules = vec![nothing];
            }
            rules.sort_unstable();
            let mut set = RuleSet::default();
            let places = set.rules.get_mut(..rules.len()).ok_or(TooMany::Rules)?;
            places.copy_from_slice(&rules);
            let next = u32::try_from(numbers.len()).expect("few");
            let number = *numbers.entry(set).or_insert(next);
            if number == next {
                self.rules.push(set);
            }
            self.pairs.push((pair, number));
        }
        if self.rules.len() > MAX_RULE_SETS {
            return Err(TooMany::Rules);
        }
        Ok(())
    }
}

/// Groups networks that have the same pairs. Returns the rules for packets from one group to
/// another, in both directions.
fn group(own: &mut BTreeMap<IpNet, Said>, pairs: &[Pair]) -> BTreeSet<(u32, u32, Rule)> {
    let number = |own: &BTreeMap<IpNet, Said>| -> HashMap<IpNet, u32> {
        own.keys().copied().zip(0..).collect()
    };
    let numbers = number(own);
    let mut roles: Vec<Vec<Role>> = vec![Vec::new(); numbers.len()];
    for pair in pairs {
        let [a, b] = [pair.a, pair.b].map(|net| numbers[&net.trunc()]);
        let rule = rule(pair);
        roles[a as usize].push((b, rule));
        roles[b as usize].push((a, rule.reversed()));
    }
    let mut groups: HashMap<&[Role], u32> = HashMap::new();
    for roles in &mut roles {
        roles.sort_unstable();
        roles.dedup();
    }
    let mut of: Vec<u32> = Vec::with_capacity(roles.len());
    for (said, roles) in own.values_mut().zip(&roles) {
        if !roles.is_empty() {
            let next = u32::try_from(groups.len()).expect("as many as networks") + 1;
            said.group = *groups.entry(roles).or_insert(next);
        }
        of.push(said.group);
    }
    // All members of a group have the same pairs, so one of each group is enough.
    let mut between = BTreeSet::new();
    for (roles, from) in groups {
        for (to, rule) in roles {
            between.insert((from, of[*to as usize], *rule));
        }
    }
    between
}

/// The rule for packets from a pair's side A to its side B.
fn rule(pair: &Pair) -> Rule {
    Rule {
        src_port: pair.a_port.unwrap_or(0),
        dst_port: pair.b_port.unwrap_or(0),
        proto: pair.proto.unwrap_or(0),
        holds: 1,
        padding: [0; 2],
    }
}

/// A prefix as key of the trie.
fn key(net: IpNet) -> (u32, [u8; 16]) {
    let (len, address) = match net {
        IpNet::V4(net) => (96 + net.prefix_len(), net.network().to_ipv6_mapped()),
        IpNet::V6(net) => (net.prefix_len(), net.network()),
    };
    (KEY_PREFIX_BITS + u32::from(len), address.octets())
}

fn prefilter<'a>(nets: impl Iterator<Item = &'a IpNet> + Clone) -> Vec<u64> {
    let host_bits = |net: &IpNet| u32::from(net.max_prefix_len() - net.prefix_len());
    let too_large = |net: &IpNet| host_bits(net) >= MARKED_ONE_BY_ONE.ilog2();
    if nets.clone().any(too_large) {
        return vec![u64::MAX; Prefilter::words_for(0)];
    }
    let addresses = nets.clone().map(|net| 1_usize << host_bits(net)).sum();
    let mut words = vec![0; Prefilter::words_for(addresses)];
    let mut bits = Prefilter::new(&mut words);
    for net in nets {
        for offset in 0..1_u128 << host_bits(net) {
            match net.network() {
                IpAddr::V4(first) => {
                    let offset = u32::try_from(offset).expect("below 4096");
                    bits.insert_v4((first.to_bits() + offset).to_be_bytes());
                }
                IpAddr::V6(first) => {
                    bits.insert_v6(Ipv6Addr::from_bits(first.to_bits() + offset).octets());
                }
            }
        }
    }
    words
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;
