//! Text on a terminal: a flood is cut to a few lines, and the rest is counted.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context, Result};
use tracer_tests::{
    Lab, LabSpec,
    program::{is, run},
    traffic::Flow,
};

use super::{
    DROP, SIZE, follow, ping, recorded,
    terminal::{Terminal, until},
};

/// The output to a terminal, without colours, once all of it has come.
fn sent(file: &Path, end: &str) -> Result<String> {
    let read = || -> Result<String> {
        // A character may be incomplete.
        Ok(String::from_utf8_lossy(&fs::read(file)?).into_owned())
    };
    until("all that was sent", || {
        let all = read()?;
        Ok((all.contains(end), all))
    })?;
    let mut text = String::new();
    for (index, piece) in read()?.split("\x1b[").enumerate() {
        let rest = if index == 0 {
            piece
        } else {
            // The parameters of an escape sequence, and its letter.
            piece
                .trim_start_matches(|c: char| !c.is_ascii_alphabetic())
                .get(1..)
                .unwrap_or("")
        };
        text.push_str(rest);
    }
    // The terminal shows the typed `^C` at some place.
    Ok(text.replace('\r', "").replace("^C", ""))
}

/// The number after the first of these words.
fn after(text: &str, words: &str) -> Result<u64> {
    let (_, rest) = text
        .split_once(words)
        .with_context(|| format!("{words}: {text}"))?;
    let number = rest.split([' ', '.']).next().unwrap_or_default();
    Ok(number.replace(',', "").parse()?)
}

/// The number of shown journeys. Each begins with its time and number.
fn shown(text: &str) -> u64 {
    let begins = |line: &&str| {
        let mut words = line.split(' ');
        let is_clock = words
            .next()
            .is_some_and(|time| time.len() == 12 && time.contains(':'));
        is_clock && words.next().is_some_and(|id| id.starts_with('#'))
    };
    text.lines().filter(begins).count() as u64
}

#[test]
fn of_a_flood_a_terminal_gets_what_can_be_read_and_the_count_of_the_rest() -> Result<()> {
    const PINGS: u64 = 2000;

    let lab = Lab::new(&LabSpec::default())?;
    let directory = lab.directory()?;
    let terminal = Terminal::open(&directory, SIZE)?;
    let file = directory.join("flood.arrows");
    let file = file.display();
    let kept = terminal.keep()?;
    let line =
        format!("-o text --proto icmp --hold 300ms --budget 1000000 --ring-size 16MiB -w {file}");
    let begin = Instant::now();
    terminal.run(&follow(&lab, &line)?)?;
    terminal.wait_for("Ctrl-C ends")?;
    let far = &lab.nodes[1].netns;
    far.batch("nft -f -", DROP)?;
    assert_eq!(ping(&lab, 3)?, 0);
    until("three are dropped", || {
        let sent = String::from_utf8_lossy(&fs::read(&kept)?).into_owned();
        Ok((sent.matches("NETFILTER_DROP in").count() >= 3, sent))
    })?;
    far.batch("nft -f -", "delete table ip t")?;
    let flow = Flow::new(&lab.pods[0], &lab.pods[1]);
    assert!(flow.ping_flood(PINGS)?.is_complete());
    terminal.press(&["C-c"])?;
    terminal.wait_for("exit code 0")?;
    let seconds = begin.elapsed().as_secs() + 1;

    let journeys = recorded(file.to_string().as_ref())?;
    let journeys = journeys
        .iter()
        .filter(|value| is(value, "tracer.journey/2"));
    let journeys = journeys.count() as u64;
    let text = sent(&kept, "exit code 0")?;
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let told = after(&words, "Shown above: ")?;
    let left_out = after(&words, "Left out: ")?;
    assert_eq!(told + left_out, journeys, "{words}");
    assert!(left_out > told, "a flood: {words}");
    assert_eq!(shown(&text), told, "{text}");
    assert!(words.contains(&format!(" of {} journeys, ", grouped(journeys))));

    // The limit holds, besides the lines at the beginning and at the end.
    let lines = text.lines().count() as u64;
    assert!(lines <= 100 * seconds + 60, "{lines} lines in {seconds} s");
    // Problems are shown with their hops.
    let dropped = text.matches("✘ NETFILTER_DROP in ").count();
    assert_eq!(dropped, 3, "{text}");

    // The sums are the same as through a pipe.
    let piped = run(["replay", "-o", "text", &file.to_string()])?.stdout;
    let verdicts = format!("\n{} journeys: ", grouped(journeys));
    let sums = |text: &str| {
        let (_, sums) = text.split_once(&verdicts)?;
        Some(sums.lines().next()?.to_owned())
    };
    let expected = sums(&piped).context("the sums")?;
    assert_eq!(sums(&text).as_deref(), Some(&*expected), "{text}");
    assert!(!piped.contains("left out"));
    assert_eq!(shown(&piped), journeys);

    // A replay does the same, by the time of the recording.
    terminal.run(&format!(
        "clear; tracer replay -o text {file}; echo replayed"
    ))?;
    terminal.wait_for("\nreplayed")?;
    let text = sent(&kept, "\nreplayed")?;
    let (_, replayed) = text.rsplit_once("line.sh").context("it was typed")?;
    let words = replayed.split_whitespace().collect::<Vec<_>>().join(" ");
    let told = after(&words, "Shown above: ")?;
    assert_eq!(told + after(&words, "Left out: ")?, journeys, "{words}");
    assert_eq!(shown(replayed), told);
    Ok(())
}

/// A number in the format of text output.
pub(super) fn grouped(number: u64) -> String {
    match (number / 1000, number % 1000) {
        (0, rest) => rest.to_string(),
        (thousands, rest) => format!("{thousands},{rest:03}"),
    }
}

#[test]
fn with_hops_a_terminal_gets_what_a_pipe_gets() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let terminal = Terminal::open(&lab.directory()?, (80, 24))?;
    let kept = terminal.keep()?;
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/invalid-state-4.arrows");
    let fixture = fixture.display();
    let piped = run(["replay", "-o", "text", &fixture.to_string()])?.stdout;
    terminal.run(&format!(
        "echo begins; NO_COLOR=1 tracer replay --hops {fixture}; echo ended"
    ))?;
    terminal.wait_for("\nended")?;
    let text = sent(&kept, "\nended")?;
    let (_, text) = text.split_once("\nbegins\n").context("it begins")?;
    let (text, _) = text.split_once("\nended").context("it ends")?;
    assert_eq!(text.trim_end(), piped.trim_end());
    // Without --hops, a terminal would get fewer journeys within a second.
    assert!(shown(text) > 10, "{text}");
    Ok(())
}
