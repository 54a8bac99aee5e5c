//! Reads the tables of legacy iptables: how many rules their chains have at the hooks on a
//! packet's path, and the chains' policies.
//!
//! The kernel answers by getsockopt. A request creates a missing table, so only existing tables
//! are requested.

use std::{
    fs, io,
    net::UdpSocket,
    os::fd::{AsFd, AsRawFd as _},
};

use tracer_core::model::{Fact, Family, Hook, LegacyChain, Policy};

use super::hooks::number_of;

/// Options of a socket that ask for a table (`IPT_SO_GET_INFO`,
/// `IPT_SO_GET_ENTRIES` in linux/netfilter_ipv4/ip_tables.h; IPv6's are the same).
const GET_INFO: i32 = 64;
const GET_ENTRIES: i32 = 65;

/// Lengths of a table's name (`XT_TABLE_MAXNAMELEN`), and of `struct ipt_getinfo` and `struct
/// ipt_get_entries`, which begin with the name, bytes.
const NAME: usize = 32;
const INFO: usize = 84;
const ENTRIES: usize = 40;

/// Number of hooks, and where `struct ipt_getinfo` has the offsets of their first and last
/// rules, and the size of all rules.
const HOOKS: usize = 5;
const FIRST: usize = NAME + 4;
const LAST: usize = FIRST + 4 * HOOKS;
const SIZE: usize = LAST + 4 * HOOKS + 4;

/// Where `struct ipt_entry` and `struct ip6t_entry` have the offset of their target. The offset
/// of the next entry follows it.
const TARGET: [usize; 2] = [88, 140];

/// Where a standard target (`struct xt_standard_target`) has its verdict, and the verdict for a
/// drop: `-NF_DROP - 1`.
const VERDICT: usize = 32;
const DROP: i32 = -1;

/// Limit of a table, bytes; larger tables are only named.
const LARGEST: usize = 8 << 20;

/// Chains at some hooks that may drop packets, by hook.
pub(super) fn on(hooks: &[Hook], v6: bool) -> Vec<Fact> {
    let (file, family) = if v6 {
        ("ip6_tables_names", Family::Ip6)
    } else {
        ("ip_tables_names", Family::Ip)
    };
    let names = fs::read_to_string(format!("/proc/thread-self/net/{file}"));
    let names = names.unwrap_or_default();
    let names = names.lines().filter(|name| *name != "nat");
    let (mut tables, mut unread) = (Vec::new(), Vec::new());
    for name in names {
        match read(name, v6) {
            Some(table) => tables.push((name, table)),
            None => unread.push(name.to_owned()),
        }
    }
    let mut facts = by_hook(&tables, hooks, family);
    if !unread.is_empty() {
        facts.push(Fact::LegacyTables {
            family,
            tables: unread,
        });
    }
    facts
}

/// A table from the kernel: its `struct ipt_getinfo`, and its rules.
struct Table {
    info: Vec<u8>,
    rules: Vec<u8>,
}

fn by_hook(tables: &[(&str, Table)], hooks: &[Hook], family: Family) -> Vec<Fact> {
    let at_hook = |hook: &Hook| {
        let chains: Vec<LegacyChain> = tables
            .iter()
            .filter_map(|(name, table)| table.chain(name, *hook, family == Family::Ip6))
            .filter(|chain| chain.policy == Policy::Drop || chain.rules > 0)
            .collect();
        (!chains.is_empty()).then_some(Fact::LegacyChains {
            family,
            hook: *hook,
            chains,
        })
    };
    hooks.iter().filter_map(at_hook).collect()
}

impl Table {
    /// The chain at a hook; `None` if the table has none there.
    fn chain(&self, name: &str, hook: Hook, v6: bool) -> Option<LegacyChain> {
        let number = number_of(hook)?;
        let offset = |of: usize| word(&self.info, of + 4 * number as usize);
        let is_there = word(&self.info, NAME)? & (1 << number) != 0;
        let (first, last) = (offset(FIRST)?, offset(LAST)?);
        let target = TARGET[usize::from(v6)];
        let (mut at, mut rules) = (first as usize, 0);
        while at < last as usize {
            let next = usize::from(half(&self.rules, at + target + 2)?);
            (at, rules) = (at.checked_add(next).filter(|_| next > 0)?, rules + 1);
        }
        // The last rule has the chain's policy.
        let verdict = at + usize::from(half(&self.rules, at + target)?) + VERDICT;
        let drops = word(&self.rules, verdict)?.cast_signed() == DROP;
        is_there.then_some(LegacyChain {
            table: name.to_owned(),
            rules,
            policy: if drops { Policy::Drop } else { Policy::Accept },
        })
    }
}

fn read(name: &str, v6: bool) -> Option<Table> {
    let socket = if v6 {
        UdpSocket::bind("[::]:0")
    } else {
        UdpSocket::bind("0.0.0.0:0")
    };
    let socket = socket.ok()?;
    let mut info = vec![0; INFO];
    info.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
    ask(&socket, v6, GET_INFO, &mut info).ok()?;
    let size = word(&info, SIZE)?;
    let length = ENTRIES + size as usize;
    if length > LARGEST {
        return None;
    }
    let mut rules = vec![0; length];
    rules
        .get_mut(..name.len())?
        .copy_from_slice(name.as_bytes());
    rules
        .get_mut(NAME..NAME + 4)?
        .copy_from_slice(&size.to_ne_bytes());
    ask(&socket, v6, GET_ENTRIES, &mut rules).ok()?;
    rules.drain(..ENTRIES);
    Some(Table { info, rules })
}

/// Asks the kernel for an option of a socket. The buffer has the request, and then the answer.
fn ask(socket: &impl AsFd, v6: bool, option: i32, buffer: &mut [u8]) -> io::Result<()> {
    let level = if v6 { libc::SOL_IPV6 } else { libc::SOL_IP };
    let fd = socket.as_fd().as_raw_fd();
    let length = libc::socklen_t::try_from(buffer.len()).map_err(io::Error::other)?;
    let mut filled = length;
    let pointer = buffer.as_mut_ptr().cast();
    // SAFETY: the kernel writes no more than `filled` bytes, which the buffer has.
    let result = unsafe { libc::getsockopt(fd, level, option, pointer, &raw mut filled) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    bytes.try_into().map(u32::from_ne_bytes).ok()
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    bytes.try_into().map(u16::from_ne_bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{super::hooks::passed, *};

    /// Length of a target with a verdict, bytes.
    const STANDARD: usize = 40;

    fn entry(verdict: i32, v6: bool) -> Vec<u8> {
        let target = TARGET[usize::from(v6)];
        let begin = [112, 168][usize::from(v6)];
        let length = begin + STANDARD;
        let mut entry = vec![0; length];
        let half = |of: usize| u16::try_from(of).expect("entries are small").to_ne_bytes();
        entry[target..target + 2].copy_from_slice(&half(begin));
        entry[target + 2..target + 4].copy_from_slice(&half(length));
        entry[begin + VERDICT..begin + VERDICT + 4].copy_from_slice(&verdict.to_ne_bytes());
        entry
    }

    /// A table with some rules at one hook.
    fn table(hook: Hook, rules: usize, policy: i32, v6: bool) -> Table {
        let size = entry(policy, v6).len();
        let word = |of: usize| u32::try_from(of).expect("tables are small").to_ne_bytes();
        let mut info = vec![0; INFO];
        let number = number_of(hook).expect("one of IP's");
        let at = 4 * number as usize;
        info[NAME..NAME + 4].copy_from_slice(&(1u32 << number).to_ne_bytes());
        info[LAST + at..LAST + at + 4].copy_from_slice(&word(rules * size));
        let entries = (0..rules).map(|_| entry(0, v6)).chain([entry(policy, v6)]);
        let rules = entries.flatten().collect();
        Table { info, rules }
    }

    #[test]
    fn a_policy_that_drops_is_told_without_any_rule() {
        for v6 in [false, true] {
            let tables = [
                ("filter", table(Hook::Forward, 0, DROP, v6)),
                ("mangle", table(Hook::Forward, 1, -2, v6)),
                ("raw", table(Hook::Prerouting, 0, -2, v6)),
            ];
            let family = if v6 { Family::Ip6 } else { Family::Ip };
            let chain = |table: &str, rules, policy| LegacyChain {
                table: table.to_owned(),
                rules,
                policy,
            };
            let forward = Fact::LegacyChains {
                family,
                hook: Hook::Forward,
                chains: vec![
                    chain("filter", 0, Policy::Drop),
                    chain("mangle", 1, Policy::Accept),
                ],
            };
            assert_eq!(by_hook(&tables, passed(false, false), family), [forward]);
            assert!(by_hook(&tables, passed(true, false), family).is_empty());
        }
    }

    #[test]
    fn a_broken_table_says_nothing() {
        let mut cut = table(Hook::Forward, 3, DROP, false);
        cut.rules.truncate(200);
        assert_eq!(cut.chain("filter", Hook::Forward, false), None);
        let mut endless = table(Hook::Forward, 3, DROP, false);
        endless.rules.fill(0);
        assert_eq!(endless.chain("filter", Hook::Forward, false), None);
    }
}
