//! Actions on a terminal while packets flow: other sizes, the mouse, a file to save.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;
use tracer_tests::{Lab, LabSpec, program::is, traffic::Flow};

use super::{AS_BEFORE, SIZE, TAKEN, follow, recorded, terminal::Terminal, text::grouped};

/// The modes while the view has the terminal without the mouse.
const NO_MOUSE: &str = "1 0 0";

#[test]
fn two_hundred_other_sizes_while_packets_flow() -> Result<()> {
    const SIZES: u16 = 200;

    let lab = Lab::new(&LabSpec::default())?;
    let directory = lab.directory()?;
    let terminal = Terminal::open(&directory, SIZE)?;
    let file = directory.join("sizes.arrows");
    let write = format!("-o live --proto icmp -w {}", file.display());
    terminal.run(&follow(&lab, &write)?)?;
    terminal.wait_for("● LIVE")?;
    let pinging = Flow::new(&lab.pods[0], &lab.pods[1]).keep_pinging();
    for size in 0..SIZES {
        // The sizes range from too small for anything to large enough for all, on each screen.
        terminal.resize((20 + size % 14 * 14, 2 + size % 9 * 7))?;
        terminal.press(&[&(size % 4 + 1).to_string()])?;
    }
    terminal.resize(SIZE)?;
    let pings = pinging.stop()?;
    assert!(pings.is_complete(), "{pings:?}");
    terminal.press(&["4"])?;
    let journeys = format!("{} journeys, no problem", grouped(2 * pings.sent));
    let screen = terminal.wait_for(&journeys)?;
    assert!(screen.contains("Journeys by verdict"), "{screen}");
    // The whole screen is drawn: tabs above, keys below.
    let mut lines = screen.lines();
    assert!(
        lines.next().is_some_and(|line| line.contains("1 Path")),
        "{screen}"
    );
    let last = screen.trim_end().lines().last();
    assert!(last.is_some_and(|line| line.contains("q end")), "{screen}");

    terminal.press(&["m"])?;
    terminal.wait_for_modes(NO_MOUSE)?;
    terminal.press(&["m"])?;
    terminal.wait_for_modes(TAKEN)?;

    terminal.press(&["q"])?;
    terminal.wait_for("exit code 0")?;
    assert_eq!(terminal.modes()?, AS_BEFORE);
    let all = recorded(&file)?;
    let all = all.iter().filter(|value| is(value, "tracer.journey/2"));
    assert_eq!(all.count() as u64, 2 * pings.sent);
    Ok(())
}

#[test]
fn what_is_saved_is_what_is_recorded_of_it() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let directory = lab.directory()?;
    let terminal = Terminal::open(&directory, SIZE)?;
    let file = directory.join("all.arrows");
    let write = format!("-o live --proto icmp -w {}", file.display());
    terminal.run(&follow(&lab, &write)?)?;
    terminal.wait_for("● LIVE")?;
    assert_eq!(super::ping(&lab, 5)?, 5);
    terminal.press(&["2"])?;
    terminal.type_text("/direction:request")?;
    terminal.press(&["Enter"])?;
    terminal.wait_for("5 of 10 kept")?;

    terminal.press(&["w"])?;
    terminal.wait_for("save 5 journeys as tracer-")?;
    let saved = directory.join("pings.jsonl");
    let name = saved.display().to_string();
    terminal.press(&["C-u"])?;
    terminal.type_text(&name)?;
    terminal.press(&["Enter"])?;
    terminal.wait_for("saved 5 journeys to ")?;
    let written = fs::read_to_string(&saved)?;
    // A second save loses nothing.
    terminal.press(&["w", "C-u"])?;
    terminal.type_text(&name)?;
    terminal.press(&["Enter"])?;
    terminal.wait_for("is there already")?;
    terminal.press(&["Escape"])?;
    terminal.wait_until("the line is gone", |screen| {
        !screen.contains("is there already")
    })?;
    terminal.press(&["q"])?;
    let ended = terminal.wait_for("exit code 0")?;
    assert!(ended.contains("tracer: saved 5 journeys to "), "{ended}");
    assert_eq!(fs::read_to_string(&saved)?, written);

    let lines = written.lines().map(serde_json::from_str);
    let lines: Vec<Value> = lines.collect::<Result<_, _>>()?;
    let journeys = |values: &[Value]| -> Vec<Value> {
        let all = values.iter();
        let all =
            all.filter(|value| is(value, "tracer.journey/2") && value["direction"] == "request");
        all.cloned().collect()
    };
    assert_eq!(journeys(&lines), journeys(&recorded(&file)?));
    assert_eq!(journeys(&lines).len(), 5);
    let started = lines.first().context("a first line")?;
    let warnings = started["warnings"].as_array().context("warnings")?;
    let said = warnings.iter().filter_map(Value::as_str);
    assert!(
        said.clone()
            .any(|line| line.contains("saved from the live view")),
        "{started}"
    );
    Ok(())
}
