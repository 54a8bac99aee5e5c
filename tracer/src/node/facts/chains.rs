//! Which rules of netfilter a packet meets: the base chains at the hooks on
//! its way. Which rule dropped it is not known, so all of them are told; before
//! them, that connections find no place any more.

use std::{fs, path::Path};

use super::legacy;
use crate::node::netlink::{Netlink, Question, attribute, attributes};

/// `NETLINK_NETFILTER`, and in it nf_tables' `NFT_MSG_GETCHAIN`
/// (include/uapi/linux/netfilter/nfnetlink.h, nf_tables.h).
const PROTOCOL: isize = 12;
const GET_CHAIN: u16 = (10 << 8) | 4;

/// Bytes of `struct nfgenmsg`, before the attributes.
const HEADER: usize = 4;

/// Attributes of a chain and of its hook.
const TABLE: u16 = 1;
const NAME: u16 = 3;
const HOOK: u16 = 4;
const POLICY: u16 = 5;
const USE: u16 = 6;
const TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const HOOK_DEVICE: u16 = 3;
const HOOK_DEVICES: u16 = 4;

/// Families, by their `NFPROTO_*`.
const FAMILIES: [(u8, &str); 5] = [
    (INET, "inet"),
    (IP, "ip"),
    (NETDEV, "netdev"),
    (BRIDGE, "bridge"),
    (IP6, "ip6"),
];
const INET: u8 = 1;
const IP: u8 = 2;
const NETDEV: u8 = 5;
const BRIDGE: u8 = 7;
const IP6: u8 = 10;

/// Hooks of interfaces: (family, number) of those for what comes in and what
/// goes out.
const INGRESS: [(u8, u32); 2] = [(NETDEV, 0), (INET, 5)];
const EGRESS: [(u8, u32); 1] = [(NETDEV, 1)];

/// More chains than this at a hook are counted, not named.
const NAMED: usize = 6;

/// A hook on a packet's way, by its number for IP and for bridges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Hook {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

impl Hook {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        }
    }

    /// Those that a packet passes.
    pub(super) const fn passed(from_here: bool, to_here: bool) -> &'static [Self] {
        match (from_here, to_here) {
            (false, false) => &[Self::Prerouting, Self::Forward, Self::Postrouting],
            (false, true) => &[Self::Prerouting, Self::Input],
            (true, false) => &[Self::Output, Self::Postrouting],
            (true, true) => &[
                Self::Output,
                Self::Postrouting,
                Self::Prerouting,
                Self::Input,
            ],
        }
    }
}

/// A chain that hangs at a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chain {
    family: u8,
    table: String,
    name: String,
    hook: u32,
    priority: i32,
    accepts: bool,
    /// The interfaces that it is for; empty for all.
    devices: Vec<String>,
}

/// What is asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way<'a> {
    /// Hooks on the packet's way.
    pub(super) hooks: &'a [Hook],
    /// The interface where it was dropped.
    pub(super) device: Option<&'a str>,
    /// IPv6?
    pub(super) v6: bool,
    /// Whether nftables is known to be there: asking must load no module.
    pub(super) in_nftables: bool,
}

/// The chains on a packet's way, a sentence for each hook that has some.
pub(super) fn on(way: &Way<'_>) -> Vec<String> {
    let mut chains = if way.in_nftables || is_loaded() {
        base_chains()
    } else {
        Vec::new()
    };
    chains.sort_by_key(|chain| chain.priority);
    let mut facts = Vec::from_iter(full());
    facts.extend(describe(&chains, way));
    facts.extend(legacy::on(way.hooks, way.v6));
    facts
}

/// Whether connections that are new find no place. Packets of those are
/// dropped as by a rule (`net/netfilter/nf_conntrack_core.c`, `nf_conntrack_in`).
fn full() -> Option<String> {
    let read = |name| {
        let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
        fs::read_to_string(path).ok()?.trim().parse().ok()
    };
    describe_full(read("count")?, read("max")?)
}

fn describe_full(count: u64, max: u64) -> Option<String> {
    // No limit is written as 0.
    (max > 0 && count >= max).then(|| {
        format!(
            "the table of connection tracking is full ({count} of nf_conntrack_max {max}): \
             packets of new connections are dropped"
        )
    })
}

fn describe(chains: &[Chain], way: &Way<'_>) -> Vec<String> {
    let at_hook = |place: String, accepts: &dyn Fn(&Chain) -> bool| {
        let wanted = chains.iter().filter(|chain| accepts(chain));
        let chains: Vec<String> = wanted.map(Chain::describe).collect();
        let (named, others) = chains.split_at(chains.len().min(NAMED));
        let more = match others.len() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let named = named.join(", ");
        (!named.is_empty()).then(|| format!("chains at {place}: {named}{more}"))
    };
    let own = if way.v6 { IP6 } else { IP };
    let mut facts = Vec::new();
    if let Some(device) = way.device {
        for (direction, hooks) in [("ingress", &INGRESS[..]), ("egress", &EGRESS[..])] {
            facts.extend(at_hook(format!("{direction} of {device}"), &|chain| {
                hooks.contains(&(chain.family, chain.hook))
                    && chain.devices.iter().any(|name| name == device)
            }));
        }
    }
    for hook in way.hooks {
        facts.extend(at_hook(hook.name().to_owned(), &|chain| {
            chain.hook == *hook as u32 && [INET, own, BRIDGE].contains(&chain.family)
        }));
    }
    facts
}

/// Whether a question to nftables would load no module.
fn is_loaded() -> bool {
    !Path::new("/proc/modules").exists() || Path::new("/sys/module/nf_tables").exists()
}

fn base_chains() -> Vec<Chain> {
    let dump = || {
        // Of all families.
        let question = Question::new(GET_CHAIN, &[0; HEADER]);
        Netlink::open(PROTOCOL)?.dump(&question, Chain::parse)
    };
    dump().map_or_else(|_| Vec::new(), |answers| answers.items)
}

impl Chain {
    /// `None` for one that hangs at no hook, only translates addresses, or
    /// has no rule that could drop.
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
        Some(Self {
            family: *message.first()?,
            table: text(find(TABLE)?),
            name: text(find(NAME)?),
            hook: number(of_hook(HOOK_NUMBER)?)?,
            priority: number(of_hook(HOOK_PRIORITY)?)?.cast_signed(),
            accepts,
            devices: device
                .into_iter()
                .chain(devices.map(|(_, name)| text(name)))
                .collect(),
        })
    }

    fn describe(&self) -> String {
        let mut families = FAMILIES.iter();
        let family = families.find(|(number, _)| *number == self.family);
        let family = family.map_or("another family's", |(_, name)| name);
        let policy = if self.accepts { "accept" } else { "drop" };
        format!(
            "{family} {}/{} (priority {}, policy {policy})",
            self.table, self.name, self.priority
        )
    }
}

/// nf_tables' numbers are big-endian.
fn number(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().map(u32::from_be_bytes).ok()
}

fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(family: u8, name: &str, hook: Hook, accepts: bool) -> Chain {
        Chain {
            family,
            table: "faults".to_owned(),
            name: name.to_owned(),
            hook: hook as u32,
            priority: -10,
            accepts,
            devices: Vec::new(),
        }
    }

    fn told(chains: &[Chain], from_here: bool, to_here: bool) -> Vec<String> {
        let way = Way {
            hooks: Hook::passed(from_here, to_here),
            device: Some("eth0"),
            v6: false,
            in_nftables: true,
        };
        describe(chains, &way)
    }

    #[test]
    fn a_full_table_of_connections_is_told() {
        assert_eq!(describe_full(9, 10), None);
        assert_eq!(describe_full(9, 0), None);
        let told = describe_full(10, 10).expect("it is full");
        assert!(told.contains("(10 of nf_conntrack_max 10)"), "{told}");
    }

    #[test]
    fn chains_are_told_by_hook_and_family() {
        let chains = [
            chain(INET, "a", Hook::Forward, true),
            chain(IP6, "b", Hook::Forward, true),
            chain(IP, "c", Hook::Forward, false),
            chain(IP, "d", Hook::Input, true),
        ];
        assert_eq!(
            told(&chains, false, false),
            [
                "chains at forward: inet faults/a (priority -10, policy accept), \
                 ip faults/c (priority -10, policy drop)"
            ]
        );
        assert_eq!(
            told(&chains, false, true),
            ["chains at input: ip faults/d (priority -10, policy accept)"]
        );
        assert!(told(&chains, true, false).is_empty());
        let many = vec![chain(INET, "a", Hook::Output, true); NAMED + 2];
        let facts = told(&many, true, false);
        assert!(facts[0].ends_with("and 2 more"), "{facts:?}");
        let at_device = |name: &str| Chain {
            family: NETDEV,
            hook: 0,
            devices: vec![name.to_owned()],
            ..chain(NETDEV, "e", Hook::Prerouting, true)
        };
        assert_eq!(
            told(&[at_device("eth0"), at_device("eth1")], true, false),
            ["chains at ingress of eth0: netdev faults/e (priority -10, policy accept)"]
        );
    }

    #[test]
    fn a_chain_that_cannot_drop_is_left_out() {
        let message = |policy: u32, uses: u32, kind: &[u8]| {
            let hook = Question::new(0, &[])
                .with(HOOK_NUMBER, &2u32.to_be_bytes())
                .with(HOOK_PRIORITY, &(-150i32).to_be_bytes());
            Question::new(0, &[INET, 0, 0, 0])
                .with(TABLE, b"t\0")
                .with(NAME, b"c\0")
                .with(HOOK, hook.payload())
                .with(POLICY, &policy.to_be_bytes())
                .with(USE, &uses.to_be_bytes())
                .with(TYPE, kind)
        };
        let parse = |message: Question| Chain::parse(message.payload());
        let chain = parse(message(1, 1, b"filter\0")).expect("it has a rule");
        assert_eq!(chain.describe(), "inet t/c (priority -150, policy accept)");
        assert_eq!(chain.hook, Hook::Forward as u32);
        assert!(
            parse(message(0, 0, b"filter\0")).is_some(),
            "its policy drops"
        );
        assert!(parse(message(1, 0, b"filter\0")).is_none());
        assert!(parse(message(1, 1, b"nat\0")).is_none());
        let unhooked = Question::new(0, &[INET, 0, 0, 0]).with(NAME, b"c\0");
        assert!(parse(unhooked).is_none());
    }
}
