//! The expected effects of each fault, by the kernel's source: the tables in `tests/faults`, one
//! per kernel. `tests/faults/README.md` describes their format.

use std::collections::HashSet;

use anyhow::{Context, Result, bail, ensure};

use crate::Wiring;
use crate::lab::Release;

/// The tables, by the beginning of the kernel's release. If several tables have a fault, the first
/// one counts.
const TABLES: [(&str, &[&str]); 2] = [
    ("6.18.", &[LINUX_6_18]),
    (
        "6.12.",
        &[include_str!("../../faults/linux-6.12.tsv"), LINUX_6_18],
    ),
];
const LINUX_6_18: &str = include_str!("../../faults/linux-6.18.tsv");

/// Faults that kernels without a table report too vaguely for a verdict, with the reasons.
const UNKNOWN: &str = include_str!("../../faults/unknown.tsv");

/// A kernel's tables.
#[derive(Debug)]
pub struct Table {
    tables: Vec<Vec<Expected>>,
    /// Set if the tables belong to another kernel. That kernel drops packets at the same places,
    /// but with other reasons. For these faults, no verdict may follow from its reports.
    others: Option<Vec<Unknown>>,
}

/// Faults that a kernel may report too vaguely.
#[derive(Debug)]
struct Unknown {
    faults: Vec<String>,
    families: String,
}

/// The expected effects of one fault in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The fault's name.
    pub fault: String,
    /// The families to which the row applies.
    families: String,
    /// The wirings to which the row applies. If empty, the row applies to all wirings without a row
    /// of their own.
    wirings: Vec<String>,
    /// The verdicts that the fault's packets may get. The first must occur.
    pub verdicts: Vec<String>,
    /// The one word for the mechanism; `-` for none. The first must occur.
    pub causes: Vec<String>,
    /// Whether the kernel may report too little for a verdict.
    pub may_be_unknown: bool,
    /// Whether the kernel has no table, so that the reasons and functions are another kernel's.
    pub of_another_kernel: bool,
    /// Where the kernel drops the packet; `None` if it does not.
    pub drop: Option<Place>,
    /// The place in the kernel's source that proves the row.
    pub source: String,
}

/// Where the kernel drops a packet, and how it reports the drop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the node.
    pub node: usize,
    /// The namespace of the drop: `host`, `a`, `b`, `a2` or `b2`.
    pub netns: String,
    /// The role of the interface: `uplink`, `overlay`, `bridge`, `veth`, or
    /// `pod` for a pod's own. Empty: the kernel no longer knows it.
    pub interfaces: Vec<String>,
    /// The reason's name; `*` for any that another kernel may give instead.
    pub reasons: Vec<String>,
    /// The functions that may free the packet: the compiler's inlining decides.
    pub functions: Vec<String>,
}

impl Table {
    /// The table of the running kernel, or what holds without a table.
    ///
    /// # Errors
    /// If a table cannot be parsed.
    pub fn of_this_kernel() -> Result<Self> {
        Self::of(&Release::own())
    }

    /// The table of a release, or what holds without a table.
    ///
    /// # Errors
    /// As [`Table::of_this_kernel`].
    pub fn of(release: &Release) -> Result<Self> {
        let found = TABLES
            .iter()
            .find(|(kernel, _)| release.0.starts_with(kernel));
        let texts = found.map_or([LINUX_6_18].as_slice(), |(_, texts)| texts);
        let tables = texts.iter().map(|text| parse(text));
        let others = match found {
            Some(_) => None,
            None => Some(unknown(|other| release.is_before(other))?),
        };
        Ok(Self {
            tables: tables.collect::<Result<_>>()?,
            others,
        })
    }

    /// The expected effects of `fault` with a wiring.
    ///
    /// # Errors
    /// If no table has the fault.
    pub fn expect(&self, fault: &str, v6: bool, wiring: Wiring) -> Result<Expected> {
        let family = if v6 { '6' } else { '4' };
        let name = format!("{wiring:?}");
        let is = |row: &&Expected| {
            let of_wiring = row.wirings.is_empty() || row.is_of(&name);
            row.fault == fault && row.families.contains(family) && of_wiring
        };
        // A row for the wiring takes precedence over a row for all wirings.
        let rows = self.tables.iter().flatten().filter(is);
        let row = rows.min_by_key(|row| row.wirings.is_empty());
        let row =
            row.with_context(|| format!("the table says nothing of {fault}, IPv{family}, {name}"))?;
        let row = row.clone().with(wiring);
        let Some(unknown) = &self.others else {
            return Ok(row);
        };
        let is_it =
            |one: &Unknown| one.faults.contains(&row.fault) && one.families.contains(family);
        let may_be_unknown = unknown.iter().any(is_it);
        Ok(row.on_another_kernel(may_be_unknown))
    }

    /// Each fault's name, with each of its families.
    pub fn faults(&self) -> impl Iterator<Item = (&str, bool)> {
        let families = |row: &Expected| {
            [('4', false), ('6', true)].map(|(c, v6)| (row.families.contains(c), v6))
        };
        self.tables.iter().flatten().flat_map(move |row| {
            let there = families(row).into_iter().filter(|(there, _)| *there);
            there.map(|(_, v6)| (row.fault.as_str(), v6))
        })
    }
}

impl Expected {
    /// Whether the row was written for a wiring: by its name, or by `Calico*`.
    fn is_of(&self, wiring: &str) -> bool {
        self.wirings
            .iter()
            .any(|word| match word.strip_suffix('*') {
                Some(begin) => wiring.starts_with(begin),
                None => wiring == word,
            })
    }

    /// Replaces interfaces that a wiring lacks. A node without a bridge routes to the veth peers of
    /// its pods, and a node without a tunnel to its uplink.
    fn with(mut self, wiring: Wiring) -> Self {
        let interfaces = self.drop.iter_mut().flat_map(|drop| &mut drop.interfaces);
        for interface in interfaces {
            let role = match &**interface {
                "bridge" if !wiring.has_bridge() => "veth",
                "overlay" if wiring.tunnel().is_none() => "uplink",
                _ => continue,
            };
            role.clone_into(interface);
        }
        self
    }

    /// Keeps what holds on a kernel without a table. Reason, function and cause may differ there.
    fn on_another_kernel(mut self, may_be_unknown: bool) -> Self {
        let any = || "*".to_owned();
        self.causes.push(any());
        if let Some(drop) = &mut self.drop {
            drop.reasons.push(any());
            drop.functions.push(any());
        }
        self.may_be_unknown = may_be_unknown;
        self.of_another_kernel = true;
        self
    }
}

/// Parses a table. The error names the line that cannot be parsed.
fn parse(text: &str) -> Result<Vec<Expected>> {
    let mut lines = text.lines().enumerate();
    lines.next();
    let mut said = HashSet::new();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| {
            let row = row(line).with_context(|| format!("line {}", number + 1))?;
            for family in row.families.chars() {
                let what = (row.fault.clone(), family, row.wirings.clone());
                ensure!(said.insert(what), "{}, IPv{family} stands twice", row.fault);
            }
            Ok(row)
        })
        .collect()
}

/// The faults that may be unknown on a release without a table.
fn unknown(is_before: impl Fn((u32, u32)) -> bool) -> Result<Vec<Unknown>> {
    let mut found = Vec::new();
    for line in UNKNOWN.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [before, faults, families, _why] = fields[..] else {
            bail!("{line}: {} fields instead of 4", fields.len());
        };
        let release = before.split_once('.');
        let (major, minor) = release.with_context(|| format!("{before} is no release"))?;
        if is_before((major.parse()?, minor.parse()?)) {
            found.push(Unknown {
                faults: faults.split('|').map(str::to_owned).collect(),
                families: families.to_owned(),
            });
        }
    }
    Ok(found)
}

fn row(line: &str) -> Result<Expected> {
    let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
    let [
        fault,
        families,
        wirings,
        verdicts,
        node,
        netns,
        interface,
        reason,
        function,
        cause,
        source,
    ] = fields[..]
    else {
        bail!("{} fields instead of 11", fields.len());
    };
    let words = |field: &str| -> Vec<String> {
        let words = field.split('|').filter(|word| *word != "-");
        words.map(str::to_owned).collect()
    };
    ensure!(
        ["4", "6", "46"].contains(&families),
        "{families} are no families"
    );
    let drop = match node {
        "-" => None,
        _ => Some(Place {
            node: ["near", "far", "third"]
                .iter()
                .position(|name| *name == node)
                .with_context(|| format!("{node} is no node"))?,
            netns: netns.to_owned(),
            interfaces: words(interface),
            reasons: words(reason),
            functions: words(function),
        }),
    };
    Ok(Expected {
        fault: fault.to_owned(),
        families: families.to_owned(),
        wirings: match wirings {
            "*" => Vec::new(),
            _ => words(wirings),
        },
        verdicts: words(verdicts),
        causes: cause.split('|').map(str::to_owned).collect(),
        may_be_unknown: false,
        of_another_kernel: false,
        drop,
        source: source.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::{Fault, all};

    /// The table of a release.
    fn table(release: (u32, u32)) -> Table {
        let release = Release(format!("{}.{}.0", release.0, release.1));
        Table::of(&release).expect("the tables are sound")
    }

    /// The faults, with their families, that may be unknown on a release.
    fn unknown_on(release: (u32, u32)) -> Vec<(String, bool)> {
        let table = table(release);
        let mut found = Vec::new();
        for fault in all() {
            for &v6 in fault.v6 {
                let expected = table.expect(&fault.name, v6, Wiring::Flannel);
                if expected.expect("it is in the table").may_be_unknown {
                    found.push((fault.name.clone(), v6));
                }
            }
        }
        found
    }

    #[test]
    fn a_kernel_that_gives_reasons_lets_nearly_nothing_be_unknown() {
        let time_wait = [false, true].map(|v6| ("old-timestamp-in-time-wait".to_owned(), v6));
        assert_eq!(unknown_on((6, 1)), time_wait);
        assert_eq!(unknown_on((6, 14)), time_wait);
        for release in [(6, 12), (6, 15), (6, 18), (7, 1)] {
            assert_eq!(unknown_on(release), [], "{release:?}");
        }
    }

    #[test]
    fn a_kernel_without_reasons_is_no_excuse_for_all() {
        let before = unknown_on((5, 10));
        let has = |name: &str, v6| before.contains(&(name.to_owned(), v6));
        assert!(has("ttl-near", false) && has("blackhole-route", true));
        for known in [
            "blackhole-route",
            "no-fdb-entry",
            "nft-forward-far-drop",
            "pod-down",
            "udp-no-listener",
            "middle-loses-all",
            "accept-backlog-full",
        ] {
            assert!(!has(known, false), "{known}");
        }
    }

    /// Rows for faults that no longer exist would excuse nothing.
    #[test]
    fn what_may_be_unknown_is_a_fault() {
        let faults = all();
        for row in unknown(|_| true).expect("it is sound") {
            for name in &row.faults {
                let is_it = |v6| {
                    let named = |fault: &Fault| fault.name == *name && fault.v6.contains(&v6);
                    faults.iter().any(named)
                };
                for (family, v6) in [('4', false), ('6', true)] {
                    let told = row.families.contains(family);
                    assert!(!told || is_it(v6), "there is no {name} of IPv{family}");
                }
            }
        }
    }

    #[test]
    fn on_another_kernel_the_place_is_the_same() {
        let [own, other] = [(6, 18), (6, 16)].map(|release| {
            let row = table(release).expect("rp-filter", false, Wiring::Flannel);
            row.expect("it is in the table")
        });
        let [own_drop, other_drop] = [&own, &other].map(|row| row.drop.as_ref().expect("a drop"));
        assert_eq!(own_drop.node, other_drop.node);
        assert_eq!(own_drop.interfaces, other_drop.interfaces);
        assert_eq!(own.verdicts, other.verdicts);
        assert_eq!(own_drop.reasons, ["IP_RPFILTER"]);
        assert_eq!(other_drop.reasons, ["IP_RPFILTER", "*"]);
        assert!(other.of_another_kernel && !own.of_another_kernel);
    }
}
