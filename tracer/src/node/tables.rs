//! From a [`Filter`] to the tables that the programs look into.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net};
use tracer_common::filter::{
    FOLLOWED, KEY_PREFIX_BITS, MAX_PAIRS, MAX_RULES, NEIGHBOUR, Prefilter, Rule, Sides,
};
use tracer_core::model::Pair;

use tracer_core::request::Filter;

/// Up to how many addresses of a prefix are marked one by one in the bit
/// array; a larger prefix would set nearly every bit anyway.
const MARKED_ONE_BY_ONE: u128 = 4096;

/// The tables of one filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tables {
    pub(super) prefilter: Prefilter,
    /// Trie entries: prefix length of the whole key, address, value.
    pub(super) addresses: Vec<(u32, [u8; 16], Sides)>,
    /// Those that are not there ask nothing of no pair.
    pub(super) rules: [Rule; MAX_RULES],
}

/// More than the kernel's tables hold.
#[derive(Debug, thiserror::Error)]
pub enum TooMany {
    /// Pairs.
    #[error(
        "this follow has {0} pairs of addresses, and at most {max} fit: name fewer ends, or a CIDR that holds them",
        max = MAX_PAIRS
    )]
    Pairs(usize),
    /// Rules.
    #[error("the pairs of this follow differ in protocol or ports in more than {MAX_RULES} ways")]
    Rules,
}

impl Tables {
    pub(super) fn new(filter: &Filter) -> Result<Self, TooMany> {
        if filter.pairs.len() > MAX_PAIRS {
            return Err(TooMany::Pairs(filter.pairs.len()));
        }
        let followed = if filter.neighbours {
            NEIGHBOUR | FOLLOWED
        } else {
            0
        };
        let mut own: BTreeMap<IpNet, Sides> = BTreeMap::new();
        for (index, pair) in filter.pairs.iter().enumerate() {
            let a = own.entry(pair.a.trunc()).or_default();
            a.a |= 1 << index;
            a.flags |= followed;
            let b = own.entry(pair.b.trunc()).or_default();
            b.b |= 1 << index;
            b.flags |= followed;
        }
        // In the tables, IPv4 is a part of IPv6's addresses, and what holds those
        // would hold it, too: what is said of IPv4 alone is found first.
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
        Ok(Self {
            prefilter: prefilter(own.keys()),
            addresses: own
                .keys()
                .map(|net| {
                    let (prefix_len, address) = key(*net);
                    (prefix_len, address, union(&own, *net))
                })
                .collect(),
            rules: rules(&filter.pairs)?,
        })
    }
}

/// What pairs ask, those that ask the same together.
fn rules(pairs: &[Pair]) -> Result<[Rule; MAX_RULES], TooMany> {
    let mut rules = [Rule::default(); MAX_RULES];
    for (index, pair) in pairs.iter().enumerate() {
        let asked = Rule {
            pairs: 0,
            a_port: pair.a_port.unwrap_or(0),
            b_port: pair.b_port.unwrap_or(0),
            proto: pair.proto.unwrap_or(0),
            padding: [0; 3],
        };
        let same = |rule: &&mut Rule| rule.pairs == 0 || Rule { pairs: 0, ..**rule } == asked;
        let rule = rules.iter_mut().find(same).ok_or(TooMany::Rules)?;
        *rule = Rule {
            pairs: rule.pairs | 1 << index,
            ..asked
        };
    }
    Ok(rules)
}

/// What all prefixes that hold `net` say: the trie returns the longest only.
fn union(own: &BTreeMap<IpNet, Sides>, net: IpNet) -> Sides {
    own.iter().filter(|(wider, _)| wider.contains(&net)).fold(
        Sides::default(),
        |mut all, (_, sides)| {
            all.a |= sides.a;
            all.b |= sides.b;
            all.flags |= sides.flags;
            all
        },
    )
}

/// A prefix as the trie's key has it.
fn key(net: IpNet) -> (u32, [u8; 16]) {
    let (len, address) = match net {
        IpNet::V4(net) => (96 + net.prefix_len(), net.network().to_ipv6_mapped()),
        IpNet::V6(net) => (net.prefix_len(), net.network()),
    };
    (KEY_PREFIX_BITS + u32::from(len), address.octets())
}

fn prefilter<'a>(nets: impl Iterator<Item = &'a IpNet>) -> Prefilter {
    let mut bits = Prefilter::EMPTY;
    for net in nets {
        let host_bits = u32::from(net.max_prefix_len() - net.prefix_len());
        if host_bits >= MARKED_ONE_BY_ONE.ilog2() {
            return Prefilter::FULL;
        }
        for offset in 0..1_u128 << host_bits {
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
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(a: &str, b: &str) -> Pair {
        Pair {
            a: a.parse().expect("a prefix"),
            b: b.parse().expect("a prefix"),
            proto: None,
            a_port: None,
            b_port: None,
        }
    }

    #[test]
    fn nested_prefixes_carry_the_union() {
        let tables = Tables::new(&Filter {
            generation: 1,
            pairs: vec![
                pair("10.1.0.0/16", "10.2.0.1/32"),
                pair("10.1.2.3/32", "10.3.0.1/32"),
            ],
            next_hops: vec!["10.1.0.1".parse().expect("an address")],
            neighbours: true,
        })
        .expect("two pairs fit");
        let sides = |text: &str| {
            let (len, address) = key(text.parse().expect("a prefix"));
            tables
                .addresses
                .iter()
                .find(|(l, a, _)| (*l, *a) == (len, address))
                .map(|(_, _, sides)| *sides)
                .expect("an entry")
        };
        assert_eq!(sides("10.1.0.0/16").a, 0b01);
        assert_eq!(sides("10.1.2.3/32").a, 0b11);
        assert_eq!(sides("10.2.0.1/32").b, 0b01);
        assert_eq!(sides("10.1.0.1/32").flags, NEIGHBOUR | FOLLOWED);
        assert_eq!(sides("10.1.0.1/32").a, 0b01);
    }

    /// The longest prefix is what the trie finds.
    #[test]
    fn all_of_ipv6_is_nothing_of_ipv4() {
        let found = |pairs: &[Pair], address: &str| {
            let tables = Tables::new(&Filter {
                pairs: pairs.to_vec(),
                ..Filter::default()
            })
            .expect("two pairs fit");
            let address: Ipv4Addr = address.parse().expect("an address");
            let bits = address.to_ipv6_mapped().to_bits();
            let holding = tables.addresses.iter().filter(|(len, prefix, _)| {
                let ignored = 128 + KEY_PREFIX_BITS - len;
                let differs = bits ^ u128::from_be_bytes(*prefix);
                differs.checked_shr(ignored).unwrap_or(0) == 0
            });
            let longest = holding.max_by_key(|(len, ..)| *len);
            longest.map_or(0, |(.., sides)| sides.b)
        };
        let all6 = pair("fd00::1/128", "::/0");
        assert_eq!(found(&[all6], "192.0.2.1"), 0);
        let both = [all6, pair("10.0.0.1/32", "0.0.0.0/0")];
        assert_eq!(found(&both, "192.0.2.1"), 0b10);
        let narrow = [all6, pair("10.0.0.1/32", "192.0.2.0/24")];
        assert_eq!(found(&narrow, "192.0.2.1"), 0b10);
        assert_eq!(found(&narrow, "192.0.3.1"), 0);
    }

    #[test]
    fn a_large_prefix_lets_everything_through_the_first_stage() {
        let tables = Tables::new(&Filter {
            pairs: vec![pair("10.0.0.0/8", "0.0.0.0/0")],
            ..Filter::default()
        })
        .expect("one pair fits");
        assert_eq!(tables.prefilter, Prefilter::FULL);
    }

    #[test]
    fn too_many_pairs_are_refused() {
        let pairs = vec![pair("10.0.0.1/32", "10.0.0.2/32"); MAX_PAIRS + 1];
        let error = Tables::new(&Filter {
            pairs,
            ..Filter::default()
        })
        .expect_err("one pair too many");
        assert!(error.to_string().contains("at most 64 fit"));
    }

    #[test]
    fn pairs_that_ask_the_same_share_a_rule() {
        let asking = |b_port| Pair {
            b_port,
            ..pair("10.0.0.1/32", "10.0.0.2/32")
        };
        let asked = [None, Some(80), None, Some(53), Some(80)].map(asking);
        let rules = rules(&asked).expect("they fit");
        let told = rules.map(|rule| (rule.pairs, rule.b_port));
        assert_eq!(
            told[..4],
            [(0b101, 0), (0b1_0010, 80), (0b1000, 53), (0, 0)]
        );
        let many: Vec<Pair> = (1..=9).map(|port| asking(Some(port))).collect();
        assert!(super::rules(&many[..8]).is_ok());
        assert!(super::rules(&many).is_err());
    }
}
