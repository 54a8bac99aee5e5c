//! Tests that tables are small, and equivalent to the filter.

use std::time::{Duration, Instant};

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

fn tables(pairs: &[Pair]) -> Result<Tables, TooMany> {
    Tables::new(&Filter {
        generation: 1,
        pairs: pairs.to_vec(),
        next_hops: vec!["10.1.0.1".parse().expect("an address")],
        neighbours: true,
    })
}

/// The value that the kernel would find, which is that of the longest prefix.
fn identity(tables: &Tables, address: &str) -> Identity {
    let address = match address.parse().expect("an address") {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    let mut single = tables.addresses.iter();
    let single = single.find(|(single, _)| *single == address.octets());
    let holding = tables.prefixes.iter().filter(|(len, prefix, _)| {
        let ignored = 128 + KEY_PREFIX_BITS - len;
        let differs = address.to_bits() ^ u128::from_be_bytes(*prefix);
        differs.checked_shr(ignored).unwrap_or(0) == 0
    });
    let longest = holding.max_by_key(|(len, ..)| *len);
    let found = single.map(|(_, found)| *found);
    found
        .or(longest.map(|(.., found)| *found))
        .unwrap_or_default()
}

/// The rules for packets from one address to another.
fn rules(tables: &Tables, from: &str, to: &str) -> Vec<Rule> {
    let pair = [from, to].map(|end| identity(tables, end).class);
    let found = tables.pairs.iter().find(|(classes, _)| *classes == pair);
    found.map_or(Vec::new(), |(_, set)| {
        let rules = tables.rules[*set as usize].rules.into_iter();
        rules.take_while(|rule| rule.holds != 0).collect()
    })
}

#[test]
fn nested_prefixes_say_what_each_says() {
    let tables = tables(&[
        pair("10.1.0.0/16", "10.2.0.1/32"),
        pair("10.1.2.3/32", "10.3.0.1/32"),
    ])
    .expect("two pairs fit");
    let follows = |from, to| {
        let both = [rules(&tables, from, to), rules(&tables, to, from)];
        assert_eq!(
            both[0].len(),
            both[1].len(),
            "a pair holds in both directions"
        );
        !both[0].is_empty()
    };
    assert!(follows("10.1.9.9", "10.2.0.1"));
    assert!(follows("10.1.2.3", "10.2.0.1"));
    assert!(follows("10.1.2.3", "10.3.0.1"));
    assert!(!follows("10.1.9.9", "10.3.0.1"));
    assert!(!follows("10.2.0.1", "10.3.0.1"));
    assert!(!follows("10.1.2.3", "10.1.9.9"));
    assert_eq!(
        identity(&tables, "10.1.0.1").flags,
        NEIGHBOUR | FOLLOWED | SIDE_A
    );
    assert_eq!(identity(&tables, "10.2.0.1").flags, NEIGHBOUR | FOLLOWED);
    assert_eq!(identity(&tables, "10.2.0.2"), Identity::default());
}

/// The trie finds the longest prefix.
#[test]
fn all_of_ipv6_is_nothing_of_ipv4() {
    let found = |pairs: &[Pair], from, to| {
        let tables = Tables::new(&Filter {
            pairs: pairs.to_vec(),
            ..Filter::default()
        });
        !rules(&tables.expect("two pairs fit"), from, to).is_empty()
    };
    let all6 = pair("fd00::1/128", "::/0");
    assert!(!found(&[all6], "fd00::1", "192.0.2.1"));
    assert!(found(&[all6], "fd00::1", "fd00::2"));
    let both = [all6, pair("10.0.0.1/32", "0.0.0.0/0")];
    assert!(!found(&both, "fd00::1", "192.0.2.1"));
    assert!(found(&both, "10.0.0.1", "192.0.2.1"));
    let narrow = [all6, pair("10.0.0.1/32", "192.0.2.0/24")];
    assert!(found(&narrow, "10.0.0.1", "192.0.2.1"));
    assert!(!found(&narrow, "10.0.0.1", "192.0.3.1"));
}

#[test]
fn a_large_prefix_lets_everything_through_the_first_stage() {
    let tables = tables(&[pair("10.0.0.0/8", "0.0.0.0/0")]).expect("one pair fits");
    assert!(tables.prefilter.iter().all(|word| *word == u64::MAX));
}

/// Addresses with the same pairs are one class. So thousands of addresses make few pairs, in a
/// matter of milliseconds.
#[test]
fn thousands_of_ends_are_few_pairs() {
    let address = |n: u32| IpNet::from(IpAddr::from(Ipv4Addr::from_bits(0x0a80_0000 + n)));
    let client = pair("10.0.0.1/32", "10.0.0.2/32");
    let backends = (0..5_000).map(|n| Pair {
        b: address(n),
        ..client
    });
    let pairs: Vec<Pair> = backends.collect();
    let begun = Instant::now();
    let tables = tables(&pairs).expect("they fit");
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(tables.addresses.len(), 1 + 5_000 + 1);
    assert_eq!((tables.pairs.len(), tables.rules.len()), (2, 1));
    // The Bloom filter has a word for each address, so that hardly any other passes.
    assert_eq!(tables.prefilter.len(), 8_192);
    // Each address has its own peer.
    let peers = (0..5_000).map(|n| Pair {
        a: address(n),
        b: address(10_000 + n),
        ..client
    });
    let peers: Vec<Pair> = peers.collect();
    let tables = self::tables(&peers).expect("they fit");
    assert_eq!(tables.pairs.len(), 10_000);
    assert_eq!(rules(&tables, "10.128.0.7", "10.128.39.23").len(), 1);
    assert!(rules(&tables, "10.128.0.7", "10.128.39.24").is_empty());
}

#[test]
fn too_much_is_refused() {
    let address = |n: u32| IpNet::from(IpAddr::from(Ipv4Addr::from_bits(n)));
    let client = pair("10.0.0.1/32", "10.0.0.2/32");
    let many: Vec<Pair> = (0..70_000)
        .map(|n| Pair {
            b: address(n),
            ..client
        })
        .collect();
    let error = tables(&many).expect_err("too many addresses");
    assert!(error.to_string().contains("at most 65536 fit"), "{error}");
    let asking = |b_port| Pair {
        b_port: Some(b_port),
        ..client
    };
    let ports: Vec<Pair> = (1..=16).map(asking).collect();
    tables(&ports).expect("as many rules as fit");
    let ports: Vec<Pair> = (1..=17).map(asking).collect();
    let error = tables(&ports).expect_err("too many rules");
    assert!(error.to_string().contains("at most 16 rules"), "{error}");
}

#[test]
fn a_rule_is_turned_round_for_answers() {
    let asking = |b_port| Pair {
        b_port,
        ..pair("10.0.0.1/32", "10.0.0.2/32")
    };
    let tables = tables(&[asking(Some(80)), asking(Some(53)), asking(Some(80))]).expect("they fit");
    let ports = |from, to| -> Vec<[u16; 2]> {
        let rules = rules(&tables, from, to).into_iter();
        rules.map(|rule| [rule.src_port, rule.dst_port]).collect()
    };
    assert_eq!(ports("10.0.0.1", "10.0.0.2"), [[0, 53], [0, 80]]);
    assert_eq!(ports("10.0.0.2", "10.0.0.1"), [[53, 0], [80, 0]]);
    let all = self::tables(&[asking(Some(80)), asking(None)]).expect("they fit");
    assert_eq!(
        rules(&all, "10.0.0.1", "10.0.0.2").len(),
        1,
        "it asks for nothing"
    );
}
