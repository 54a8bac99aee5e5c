//! What a fault must show, by the kernel's source: the tables in
//! `tests/faults`, one per kernel. Their format is in `tests/faults/README.md`.

use std::collections::HashSet;
use std::fs;

use anyhow::{Context, Result, bail, ensure};

use crate::Wiring;

/// The tables, by the beginning of the kernel's release: what the first one says of
/// a fault stands instead of what the others say.
const TABLES: [(&str, &[&str]); 2] = [
    ("6.18.", &[LINUX_6_18]),
    (
        "6.12.",
        &[include_str!("../../faults/linux-6.12.tsv"), LINUX_6_18],
    ),
];
const LINUX_6_18: &str = include_str!("../../faults/linux-6.18.tsv");

/// A kernel's tables.
#[derive(Debug)]
pub struct Table {
    tables: Vec<Vec<Expected>>,
    /// Whether they are another kernel's: where a packet is dropped is the same, but
    /// not what the kernel says of it, from which less may follow.
    others: bool,
}

/// What one fault must show in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The fault's name.
    pub fault: String,
    /// The families that this is true of.
    families: String,
    /// The wirings that this is true of; empty for all of which no other row says
    /// something else.
    wirings: Vec<String>,
    /// The verdicts that its packets may get. The first must occur.
    pub verdicts: Vec<String>,
    /// The one word for the mechanism.
    pub causes: Vec<String>,
    /// Whether the kernel says too little for any verdict.
    pub may_be_unknown: bool,
    /// Where the packet is dropped; `None` if it is nowhere.
    pub drop: Option<Place>,
    /// The kernel's source that says so.
    pub source: String,
}

/// Where the kernel drops a packet, and how it says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the node.
    pub node: usize,
    /// In whose namespace: `host`, `a`, `b`, `a2` or `b2`.
    pub netns: String,
    /// The role of the interface: `uplink`, `overlay`, `bridge`, `veth`, or
    /// `pod` for a pod's own. Empty: the kernel no longer knows it.
    pub interfaces: Vec<String>,
    /// The reason's name.
    pub reasons: Vec<String>,
    /// The function that may free it; the compiler's inlining decides.
    pub functions: Vec<String>,
}

impl Table {
    /// The table of the running kernel, or what must be true on any.
    ///
    /// # Errors
    /// If it cannot be understood.
    pub fn of_this_kernel() -> Result<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let found = TABLES
            .iter()
            .find(|(kernel, _)| release.starts_with(kernel));
        let texts = found.map_or([LINUX_6_18].as_slice(), |(_, texts)| texts);
        let tables = texts.iter().map(|text| parse(text));
        Ok(Self {
            tables: tables.collect::<Result<_>>()?,
            others: found.is_none(),
        })
    }

    /// What `fault` must show with a wiring.
    ///
    /// # Errors
    /// If no table says.
    pub fn expect(&self, fault: &str, v6: bool, wiring: Wiring) -> Result<Expected> {
        let family = if v6 { '6' } else { '4' };
        let name = format!("{wiring:?}");
        let is = |row: &&Expected| {
            let of_wiring = row.wirings.is_empty() || row.is_of(&name);
            row.fault == fault && row.families.contains(family) && of_wiring
        };
        // What is said of the wiring goes before what is said of all.
        let rows = self.tables.iter().flatten().filter(is);
        let row = rows.min_by_key(|row| row.wirings.is_empty());
        let row =
            row.with_context(|| format!("the table says nothing of {fault}, IPv{family}, {name}"))?;
        let row = row.clone().with(wiring);
        Ok(if self.others {
            row.on_any_kernel()
        } else {
            row
        })
    }

    /// Each fault's name and families in it.
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
    /// Whether it was written for a wiring: by its name, or `Calico*`.
    fn is_of(&self, wiring: &str) -> bool {
        self.wirings
            .iter()
            .any(|word| match word.strip_suffix('*') {
                Some(begin) => wiring.starts_with(begin),
                None => wiring == word,
            })
    }

    /// The same where a wiring lacks a device: a node without a bridge routes to
    /// the hosts' ends of its pods' interfaces, and without a tunnel to its uplink.
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

    /// What of it is true on any kernel: one without reasons may not let anybody
    /// know, but must not mislead.
    fn on_any_kernel(mut self) -> Self {
        let any = || vec!["*".to_owned()];
        self.causes = any();
        if let Some(drop) = &mut self.drop {
            (drop.reasons, drop.functions) = (any(), any());
        }
        self.may_be_unknown = true;
        self
    }
}

/// Reads a table, or names the line that cannot be understood.
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
        causes: words(cause),
        may_be_unknown: false,
        drop,
        source: source.to_owned(),
    })
}
