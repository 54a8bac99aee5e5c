//! What a fault must show, by the kernel's source: the tables in
//! `tests/faults`, one per kernel. Their format is in `tests/faults/README.md`.

use std::fs;

use anyhow::{Context, Result, bail, ensure};

/// The tables, by the beginning of the kernel's release.
const TABLES: [(&str, &str); 1] = [("6.18.", include_str!("../../faults/linux-6.18.tsv"))];

/// A kernel's table.
#[derive(Debug)]
pub struct Table(Vec<Expected>);

/// What one fault must show in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The fault's name.
    pub fault: String,
    /// The families that this is true of.
    families: String,
    /// The verdicts that its packets may get. The first must occur.
    pub verdicts: Vec<String>,
    /// The one word for the mechanism.
    pub causes: Vec<String>,
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
    /// The table of the running kernel.
    ///
    /// # Errors
    /// If there is none, or it cannot be understood.
    pub fn of_this_kernel() -> Result<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let found = TABLES
            .iter()
            .find(|(kernel, _)| release.starts_with(kernel));
        let Some((_, text)) = found else {
            bail!("there is no table of faults for Linux {}", release.trim());
        };
        Self::parse(text)
    }

    /// Reads a table.
    ///
    /// # Errors
    /// Names the line that cannot be understood.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().enumerate();
        lines.next();
        lines
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            .map(|(number, line)| row(line).with_context(|| format!("line {}", number + 1)))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// What `fault` must show.
    ///
    /// # Errors
    /// If the table does not say.
    pub fn expect(&self, fault: &str, v6: bool) -> Result<&Expected> {
        let family = if v6 { '6' } else { '4' };
        let is = |row: &&Expected| row.fault == fault && row.families.contains(family);
        let mut rows = self.0.iter().filter(is);
        let row = rows
            .next()
            .with_context(|| format!("the table says nothing of {fault}, IPv{family}"))?;
        ensure!(rows.next().is_none(), "{fault}, IPv{family} stands twice");
        Ok(row)
    }

    /// Each fault's name and families in it.
    pub fn faults(&self) -> impl Iterator<Item = (&str, bool)> {
        let families = |row: &Expected| {
            [('4', false), ('6', true)].map(|(c, v6)| (row.families.contains(c), v6))
        };
        self.0.iter().flat_map(move |row| {
            let there = families(row).into_iter().filter(|(there, _)| *there);
            there.map(|(_, v6)| (row.fault.as_str(), v6))
        })
    }
}

fn row(line: &str) -> Result<Expected> {
    let fields: Vec<&str> = line.split('\t').map(str::trim).collect();
    let [
        fault,
        families,
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
        bail!("{} fields instead of 10", fields.len());
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
        verdicts: words(verdicts),
        causes: words(cause),
        drop,
        source: source.to_owned(),
    })
}
