//! The benchmark behind `cargo xtask bench`: tracer's costs for packets, for the machine and for
//! the user, compared with the same without tracer.
//!
//! The benchmark needs root, except for `events`. Arguments select parts: `cost`, `throughput`,
//! `times`, `drops`, `events`. The tables on standard output are Markdown. A missed bound is a
//! failure.

mod alone;
mod cost;
mod drops;
mod events;
mod flow;
mod follow;
mod programs;
mod report;
mod sample;
mod throughput;
mod times;

use std::env;
use std::process::ExitCode;

use anyhow::{Result, bail};
use tracer_tests::{Lab, LabSpec};

use report::Report;

/// The parts that can be measured separately.
const PARTS: [&str; 5] = ["cost", "throughput", "times", "drops", "events"];

fn main() -> ExitCode {
    match run() {
        Ok(report) if report.missed().is_empty() => ExitCode::SUCCESS,
        Ok(report) => {
            for what in report.missed() {
                eprintln!("missed: {what}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Report> {
    // `cargo bench` adds the argument `--bench`.
    let parts: Vec<_> = env::args()
        .skip(1)
        .filter(|part| part != "--bench")
        .collect();
    if let Some(unknown) = parts.iter().find(|part| !PARTS.contains(&part.as_str())) {
        bail!("there is no part `{unknown}`: name some of {PARTS:?}, or none for all");
    }
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);

    let mut report = Report::default();
    if wanted("cost") {
        cost::measure(&mut report)?;
    }
    if wanted("throughput") || wanted("times") {
        let labs = labs()?;
        let mut flooded = throughput::Exits::default();
        if wanted("throughput") {
            flooded = throughput::measure(&mut report, &labs)?;
        }
        if wanted("times") {
            times::measure(&mut report, &labs[0], flooded)?;
        }
    }
    if wanted("drops") {
        drops::measure(&mut report, &lab()?)?;
    }
    if wanted("events") {
        events::measure(&mut report)?;
    }
    println!("{report}");
    Ok(report)
}

/// A lab with two pods on each of two nodes.
fn lab() -> Result<Lab> {
    Lab::new(&LabSpec {
        pods_per_node: 2,
        ..LabSpec::default()
    })
}

/// Two labs that differ only in the names of their namespaces.
fn labs() -> Result<[Lab; 2]> {
    let first = lab()?;
    let second = LabSpec {
        pods_per_node: 2,
        seed: Some(first.seed()),
        ..LabSpec::default()
    };
    Ok([first, Lab::new(&second)?])
}
