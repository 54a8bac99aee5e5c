//! The benchmark of this version and of an earlier one, in turn in the same run.
//!
//! Machines differ by a factor of four from day to day, so figures of two days cannot be compared.
//! The earlier version is built once, in a worktree in the user's cache directory. Both benchmarks
//! print tables of Markdown. Rows of the same name are compared.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    check::{self, BINARY},
    command::{cargo, line, release_binary, run, run_shown, say},
    setup,
};

/// The version with which the project's bounds compare.
const COMMIT: &str = "2827e80";

/// How often each version's benchmark runs.
const ROUNDS: usize = 3;

/// The parts of the benchmark that run unless others are named.
const PARTS: [&str; 2] = ["events", "times"];

/// A limit of a ratio, this version's figure by the earlier one's.
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// The bounds, by rows of the tables.
const BOUNDS: [(&str, Bound); 3] = [
    ("events/s", Bound::AtLeast(2.5)),
    ("events/s replayed", Bound::AtLeast(2.5)),
    ("start to ready line", Bound::AtMost(0.5)),
];

/// A benchmark that was built, with its `tracer`.
struct Built {
    bench: PathBuf,
    tracer: PathBuf,
    /// The folder in which cargo would run it.
    folder: PathBuf,
}

/// Runs both benchmarks in turn, and prints the medians and their ratios. `args` names parts.
pub(crate) fn bench(args: &[String]) -> Result<()> {
    setup::tools()?;
    setup::bpf()?;
    let parts: Vec<&str> = match args {
        [] => PARTS.to_vec(),
        named => named.iter().map(String::as_str).collect(),
    };
    ensure!(
        setup::is_root() || parts == ["events"],
        "the benchmark loads kernel programs: run `cargo xtask bench --beside` as root, or only the \
         part that needs none: `cargo xtask bench --beside -- events`"
    );
    let versions = [own()?, earlier()?];
    let mut figures: [Figures; 2] = Default::default();
    for round in 1..=ROUNDS {
        for ((name, version), figures) in ["this version", COMMIT]
            .into_iter()
            .zip(&versions)
            .zip(&mut figures)
        {
            say(format!("round {round} of {ROUNDS}: {name}"));
            figures.take(&version.run(&parts)?);
        }
    }
    let [now, before] = figures;
    let (table, missed) = compare(&now, &before);
    println!("{table}");
    ensure!(missed.is_empty(), "missed: {}", missed.join("; "));
    // A row of another name would never miss its bound.
    for (row, _) in BOUNDS.iter().filter(|_| args.is_empty()) {
        ensure!(
            now.median(row).is_some() && before.median(row).is_some(),
            "no figure `{row}` in both versions"
        );
    }
    Ok(())
}

/// A table of the rows that both versions have, and the bounds that were missed.
fn compare(now: &Figures, before: &Figures) -> (String, Vec<String>) {
    let mut table = format!(
        "| median of {ROUNDS} runs | now | {COMMIT} | ratio | bound |\n|---|---:|---:|---:|---:|\n"
    );
    let mut missed = Vec::new();
    for name in &now.names {
        let (Some(now), Some(before)) = (now.median(name), before.median(name)) else {
            continue;
        };
        let ratio = now / before;
        let bound = BOUNDS.iter().find(|(row, _)| row == name);
        let bound = bound.map_or(String::new(), |(_, bound)| {
            let (held, bound) = match bound {
                Bound::AtLeast(least) => (ratio >= *least, format!("≥ {least}")),
                Bound::AtMost(most) => (ratio <= *most, format!("≤ {most}")),
            };
            if held {
                return format!("{bound}: held");
            }
            missed.push(format!("{name}: {ratio:.2}, {bound}"));
            format!("{bound}: **missed**")
        });
        table += &format!("| {name} | {now} | {before} | {ratio:.2} | {bound} |\n");
    }
    (table, missed)
}

/// Builds this version.
fn own() -> Result<Built> {
    check::build()?;
    Ok(Built {
        bench: built_bench(&mut cargo())?,
        tracer: release_binary("tracer")?,
        folder: PathBuf::from("tests"),
    })
}

/// Builds the earlier version, if that was not done before.
fn earlier() -> Result<Built> {
    let tree = setup::cache()?.join("beside").join(COMMIT);
    if !tree.exists() {
        fs::create_dir_all(tree.parent().context("it is below the cache")?)?;
        let mut prune = Command::new("git");
        run(prune.args(["worktree", "prune"]))?;
        let mut add = Command::new("git");
        run(add
            .args(["worktree", "add", "--detach"])
            .arg(&tree)
            .arg(COMMIT))
        .with_context(|| format!("is {COMMIT} in this clone? A shallow one lacks it"))?;
    }
    let in_tree = || {
        let mut cargo = cargo();
        // The alias and the settings of that version hold there.
        cargo.current_dir(&tree).env_remove("CARGO_TARGET_DIR");
        cargo
    };
    run_shown(in_tree().args(["build", "--release", "--bins"]))?;
    Ok(Built {
        bench: built_bench(&mut in_tree())?,
        tracer: tree.join("target/release/tracer"),
        folder: tree.join("tests"),
    })
}

/// Builds the benchmark, and returns its path.
fn built_bench(cargo: &mut Command) -> Result<PathBuf> {
    cargo.args(["bench", "--bench", "*", "--no-run"]);
    let built = check::built(cargo, |message| message["target"]["kind"][0] == "bench")?;
    let bench = built.into_iter().next();
    bench.with_context(|| format!("`{}` has built no benchmark", line(cargo)))
}

impl Built {
    /// Runs the benchmark, and returns its tables. A missed bound of its own is no failure here.
    fn run(&self, parts: &[&str]) -> Result<String> {
        let mut bench = Command::new(&self.bench);
        bench.args(parts).env(BINARY, &self.tracer);
        bench.current_dir(&self.folder);
        bench.stdin(Stdio::null()).stderr(Stdio::inherit());
        let output = bench.output()?;
        let tables = String::from_utf8(output.stdout)?;
        ensure!(
            tables.contains('|'),
            "`{}` has measured nothing",
            line(&bench)
        );
        Ok(tables)
    }
}

/// The figures of all runs of a version, by the names of rows.
#[derive(Default)]
struct Figures {
    /// The names, in the order of the tables.
    names: Vec<String>,
    values: BTreeMap<String, Vec<f64>>,
}

impl Figures {
    /// Adds the first figure of each row.
    fn take(&mut self, tables: &str) {
        for row in tables.lines().filter(|line| line.starts_with('|')) {
            let mut cells = row.split('|').skip(1).map(str::trim);
            let (Some(name), Some(cell)) = (cells.next(), cells.next()) else {
                continue;
            };
            // A header has no figure, nor has the line below it.
            let number: String = cell
                .chars()
                .take_while(|c| c.is_ascii_digit() || *c == '.')
                .collect();
            let Ok(value) = number.parse() else {
                continue;
            };
            if !self.values.contains_key(name) {
                self.names.push(name.to_owned());
            }
            self.values.entry(name.to_owned()).or_default().push(value);
        }
    }

    fn median(&self, name: &str) -> Option<f64> {
        let mut values = self.values.get(name)?.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_figure_of_each_row_counts() {
        let mut figures = Figures::default();
        for (speed, start) in [(600, "0.80 s"), (640, "0.70 s"), (620, "0.75 s")] {
            figures.take(&format!(
                "| events to journeys | median |   bound |\n\
                 |--------------------|-------:|--------:|\n\
                 | events/s           |    {speed} | ≥ 1 M/s |\n\n\
                 a note\n\n\
                 |                     | median |\n|--|--:|\n| start to ready line | {start} |\n"
            ));
        }
        assert_eq!(figures.names, ["events/s", "start to ready line"]);
        assert_eq!(figures.median("events/s"), Some(620.0));
        assert_eq!(figures.median("start to ready line"), Some(0.75));
        assert_eq!(figures.median("bound"), None);
    }

    #[test]
    fn ratios_are_of_rows_that_both_have() {
        let figures = |tables: &str| {
            let mut figures = Figures::default();
            figures.take(tables);
            figures
        };
        let now = figures("| events/s | 900 |\n| start to ready line | 0.40 s |\n| new | 1 |\n");
        let before = figures("| events/s | 600 |\n| start to ready line | 0.80 s |\n");
        let (table, missed) = compare(&now, &before);
        assert!(table.contains("| events/s | 900 | 600 | 1.50 | ≥ 2.5: **missed** |"));
        assert!(table.contains("| start to ready line | 0.4 | 0.8 | 0.50 | ≤ 0.5: held |"));
        assert!(!table.contains("new"));
        assert_eq!(missed, ["events/s: 1.50, ≥ 2.5"]);
    }
}
