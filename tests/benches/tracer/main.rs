//! The benchmark behind `cargo xtask bench`: what tracer costs the packets, the
//! machine and the user, side by side with what is there without it.
//!
//! Needs root, but for `events`; with arguments, only the parts they name:
//! `cost`, `throughput`, `times`, `events`. The tables on standard output are Markdown. It fails if a bound is
//! missed.

mod alone;
mod cost;
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

/// What can be measured alone.
const PARTS: [&str; 4] = ["cost", "throughput", "times", "events"];

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
    // `cargo bench` adds this one.
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
    if wanted("events") {
        events::measure(&mut report)?;
    }
    println!("{report}");
    Ok(report)
}

/// Two labs that differ in nothing but the names of their namespaces.
fn labs() -> Result<[Lab; 2]> {
    let spec = LabSpec {
        pods_per_node: 2,
        ..LabSpec::default()
    };
    let first = Lab::new(&spec)?;
    let seed = Some(first.seed());
    Ok([first, Lab::new(&LabSpec { seed, ..spec })?])
}
