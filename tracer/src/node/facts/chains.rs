//! Reads the base chains of netfilter at the hooks on a packet's path. It is not known which
//! rule dropped the packet, so all of these chains are facts. First comes whether the conntrack
//! table is full.

use std::{fs, path::Path};

use tracer_core::model::{Chain, Fact, Family, Hook, Policy};

use super::{hooks::number_of, legacy};
use crate::node::netlink::{Netlink, Question, attribute, attributes};

/// `NETLINK_NETFILTER`, and in it nf_tables' `NFT_MSG_GETCHAIN`
/// (include/uapi/linux/netfilter/nfnetlink.h, nf_tables.h).
const PROTOCOL: isize = 12;
const GET_CHAIN: u16 = (10 << 8) | 4;

/// Length of `struct nfgenmsg`, before the attributes, bytes.
const HEADER: usize = 4;

/// Attributes of a chain and of its hook.
const TABLE: u16 = 1;
const HANDLE: u16 = 2;
const NAME: u16 = 3;
const HOOK: u16 = 4;
const POLICY: u16 = 5;
const USE: u16 = 6;
const TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const HOOK_DEVICE: u16 = 3;
const HOOK_DEVICES: u16 = 4;

/// Families by their `NFPROTO_*` numbers.
const FAMILIES: [(u8, Family); 5] = [
    (1, Family::Inet),
    (2, Family::Ip),
    (5, Family::Netdev),
    (7, Family::Bridge),
    (10, Family::Ip6),
];

/// Hooks of devices, as (family, number): for incoming and for outgoing packets.
const INGRESS: [(Family, u32); 2] = [(Family::Netdev, 0), (Family::Inet, 5)];
const EGRESS: [(Family, u32); 1] = [(Family::Netdev, 1)];

/// Limit of named chains at a hook; more are only counted.
const NAMED: usize = 6;

/// A base chain, which is at a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hooked {
    chain: Chain,
    /// The hook's number in the chain's family.
    hook: u32,
    /// Devices of the chain; empty for all.
    devices: Vec<String>,
}

/// The packet whose chains are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'a> {
    /// Hooks on the packet's path.
    pub(super) hooks: &'a [Hook],
    /// Interface at which the packet was dropped.
    pub(super) device: Option<&'a str>,
    /// Whether the packet is IPv6.
    pub(super) v6: bool,
    /// Whether nftables is known to be loaded, because a request must load no module.
    pub(super) in_nftables: bool,
}

/// Chains on a packet's path, by hook.
pub(super) fn on(way: &Way<'_>) -> Vec<Fact> {
    let mut chains = if way.in_nftables || is_loaded() {
        base_chains()
    } else {
        Vec::new()
    };
    chains.sort_by_key(|hooked| hooked.chain.priority);
    let mut facts = Vec::from_iter(full());
    facts.extend(by_hook(&chains, way));
    facts.extend(legacy::on(way.hooks, way.v6));
    facts
}

/// A fact, if the conntrack table is full. The kernel then drops packets of new connections as
/// a rule would (`nf_conntrack_in` in net/netfilter/nf_conntrack_core.c).
fn full() -> Option<Fact> {
    let read = |name| {
        let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
        fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    fullness(read("count")?, read("max")?)
}

fn fullness(count: u64, max: u64) -> Option<Fact> {
    // 0 means no limit.
    (max > 0 && count >= max).then_some(Fact::ConntrackFull { count, max })
}

fn by_hook(all: &[Hooked], way: &Way<'_>) -> Vec<Fact> {
    let at_hook = |hook: Hook, device: Option<&str>, is_at: &dyn Fn(&Hooked) -> bool| {
        let wanted = all.iter().filter(|hooked| is_at(hooked));
        let mut chains: Vec<Chain> = wanted.map(|hooked| hooked.chain.clone()).collect();
        let more = chains.len().saturating_sub(NAMED);
        chains.truncate(NAMED);
        (!chains.is_empty()).then(|| Fact::Chains {
            hook,
            device: device.map(str::to_owned),
            chains,
            more: u32::try_from(more).unwrap_or(u32::MAX),
        })
    };
    let own = if way.v6 { Family::Ip6 } else { Family::Ip };
    let mut facts = Vec::new();
    if let Some(device) = way.device {
        for (hook, numbers) in [(Hook::Ingress, &INGRESS[..]), (Hook::Egress, &EGRESS[..])] {
            facts.extend(at_hook(hook, Some(device), &|hooked| {
                numbers.contains(&(hooked.chain.family, hooked.hook))
                    && hooked.devices.iter().any(|name| name == device)
            }));
        }
    }
    for hook in way.hooks {
        facts.extend(at_hook(*hook, None, &|hooked| {
            Some(hooked.hook) == number_of(*hook)
                && [Family::Inet, own, Family::Bridge].contains(&hooked.chain.family)
        }));
    }
    facts
}

/// Whether a request to nftables loads no module.
fn is_loaded() -> bool {
    !Path::new("/proc/modules").exists() || Path::new("/sys/module/nf_tables").exists()
}

fn base_chains() -> Vec<Hooked> {
    let dump = || {
        // The request is for all families.
        let question = Question::new(GET_CHAIN, &[0; HEADER]);
        Netlink::open(PROTOCOL)?.dump(&question, Hooked::parse)
    };
    dump().map_or_else(|_| Vec::new(), |answers| answers.items)
}

impl Hooked {
    /// Parses a chain. `None` if it is at no hook, only translates addresses, or has no rule
    /// that could drop.
    fn parse(message: &[u8]) -> Option<Self> {
        let parts = message.get(HEADER..)?;
        let find = |wanted| attribute(parts, wanted);
        let hook = find(HOOK)?;
        let of_hook = |wanted| attribute(hook, wanted);
        let accepts = find(POLICY)
            .and_then(number)
            .is_none_or(|policy| policy != 0);
        let is_empty = find(USE).and_then(number) == Some(0);
        if find(TYPE).is_some_and(|kind| text(kind) == "nat") || (accepts && is_empty) {
            return None;
        }
        let device = of_hook(HOOK_DEVICE).map(text);
        let devices = of_hook(HOOK_DEVICES).into_iter().flat_map(attributes);
        let of_message = *message.first()?;
        let mut families = FAMILIES.iter();
        let (_, family) = families.find(|(number, _)| *number == of_message)?;
        Some(Self {
            chain: Chain {
                family: *family,
                table: text(find(TABLE)?),
                chain: text(find(NAME)?),
                handle: find(HANDLE).and_then(long),
                priority: number(of_hook(HOOK_PRIORITY)?)?.cast_signed(),
                policy: if accepts {
                    Policy::Accept
                } else {
                    Policy::Drop
                },
            },
            hook: number(of_hook(HOOK_NUMBER)?)?,
            devices: device
                .into_iter()
                .chain(devices.map(|(_, name)| text(name)))
                .collect(),
        })
    }
}

/// nf_tables' numbers are big-endian.
fn number(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().map(u32::from_be_bytes).ok()
}

fn long(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().map(u64::from_be_bytes).ok()
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{super::hooks::passed, *};

    fn hooked(family: Family, name: &str, hook: Hook) -> Hooked {
        Hooked {
            chain: Chain {
                family,
                table: "faults".to_owned(),
                chain: name.to_owned(),
                handle: Some(7),
                priority: -10,
                policy: Policy::Accept,
            },
            hook: number_of(hook).unwrap_or(0),
            devices: Vec::new(),
        }
    }

    fn told(chains: &[Hooked], from_here: bool, to_here: bool) -> Vec<Fact> {
        let way = Way {
            hooks: passed(from_here, to_here),
            device: Some("eth0"),
            v6: false,
            in_nftables: true,
        };
        by_hook(chains, &way)
    }

    #[test]
    fn a_full_table_of_connections_is_told() {
        assert_eq!(fullness(9, 10), None);
        assert_eq!(fullness(9, 0), None);
        let full = Fact::ConntrackFull { count: 10, max: 10 };
        assert_eq!(fullness(10, 10), Some(full));
    }

    #[test]
    fn chains_are_told_by_hook_and_family() {
        let all = [
            hooked(Family::Inet, "a", Hook::Forward),
            hooked(Family::Ip6, "b", Hook::Forward),
            hooked(Family::Ip, "c", Hook::Forward),
            hooked(Family::Ip, "d", Hook::Input),
        ];
        let at = |hook, chains: &[&Hooked]| Fact::Chains {
            hook,
            device: None,
            chains: chains.iter().map(|hooked| hooked.chain.clone()).collect(),
            more: 0,
        };
        let [first, _, third, last] = &all;
        assert_eq!(
            told(&all, false, false),
            [at(Hook::Forward, &[first, third])]
        );
        assert_eq!(told(&all, false, true), [at(Hook::Input, &[last])]);
        assert!(told(&all, true, false).is_empty());
        let many = vec![hooked(Family::Inet, "a", Hook::Output); NAMED + 2];
        let facts = told(&many, true, false);
        assert!(
            matches!(&facts[..], [Fact::Chains { chains, more: 2, .. }] if chains.len() == NAMED),
            "{facts:?}"
        );
    }

    #[test]
    fn a_chain_of_a_device_is_told_of_that_device() {
        let at_device = |name: &str| Hooked {
            devices: vec![name.to_owned()],
            ..hooked(Family::Netdev, "e", Hook::Ingress)
        };
        let all = [at_device("eth0"), at_device("eth1")];
        let told = told(&all, true, false);
        let ingress = Fact::Chains {
            hook: Hook::Ingress,
            device: Some("eth0".to_owned()),
            chains: vec![all[0].chain.clone()],
            more: 0,
        };
        assert_eq!(told, [ingress]);
    }

    #[test]
    fn a_chain_that_cannot_drop_is_left_out() {
        let message = |policy: u32, uses: u32, kind: &[u8]| {
            let hook = Question::new(0, &[])
                .with(HOOK_NUMBER, &2u32.to_be_bytes())
                .with(HOOK_PRIORITY, &(-150i32).to_be_bytes());
            Question::new(0, &[1, 0, 0, 0])
                .with(TABLE, b"t\0")
                .with(HANDLE, &5u64.to_be_bytes())
                .with(NAME, b"c\0")
                .with(HOOK, hook.payload())
                .with(POLICY, &policy.to_be_bytes())
                .with(USE, &uses.to_be_bytes())
                .with(TYPE, kind)
        };
        let parse = |message: Question| Hooked::parse(message.payload());
        let hooked = parse(message(1, 1, b"filter\0")).expect("it has a rule");
        let expected = Chain {
            family: Family::Inet,
            table: "t".to_owned(),
            chain: "c".to_owned(),
            handle: Some(5),
            priority: -150,
            policy: Policy::Accept,
        };
        assert_eq!(hooked.chain, expected);
        assert_eq!(Some(hooked.hook), number_of(Hook::Forward));
        assert!(
            parse(message(0, 0, b"filter\0")).is_some(),
            "its policy drops"
        );
        assert!(parse(message(1, 0, b"filter\0")).is_none());
        assert!(parse(message(1, 1, b"nat\0")).is_none());
        let unhooked = Question::new(0, &[1, 0, 0, 0]).with(NAME, b"c\0");
        assert!(parse(unhooked).is_none());
    }
}
