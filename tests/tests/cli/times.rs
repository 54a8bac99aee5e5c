use std::path::Path;

use anyhow::{Context as _, Result};
use tracer_tests::Process;
use tracer_tests::program::{LIMIT, tracer};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// A replay in Japan, which is nine hours ahead of UTC.
fn replay(args: &[&str]) -> Result<String> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/clean.arrows");
    let mut command = tracer(["replay"])?;
    command.args(args).arg(fixture).env("TZ", "JST-9");
    Process::start(&mut command, "")?.succeed(LIMIT)
}

/// Milliseconds since midnight, for `HH:MM:SS.mmm`.
fn milliseconds(time: &str) -> Result<u64> {
    let (seconds, thousandths) = time.split_once('.').context("a point")?;
    let parts = seconds.split(':').map(str::parse::<u64>);
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    let &[hours, minutes, seconds] = parts.as_slice() else {
        anyhow::bail!("no time: {time}");
    };
    Ok(hours * HOUR + minutes * 60_000 + seconds * 1000 + thousandths.parse::<u64>()?)
}

/// The times of the journeys, and the text that has none.
fn split(text: &str) -> Result<(Vec<u64>, Vec<&str>)> {
    let (mut times, mut rest) = (Vec::new(), Vec::new());
    let (_, journeys) = text.split_once("Ctrl-C ends\n").context("a headline")?;
    for line in journeys.lines() {
        match line.split_once(" #") {
            Some((time, journey)) if time.len() == "00:00:00.000".len() => {
                times.push(milliseconds(time)?);
                rest.push(journey);
            }
            _ => rest.push(line),
        }
    }
    Ok((times, rest))
}

#[test]
fn times_are_local_unless_utc_is_asked_for() -> Result<()> {
    let [local, utc] = [&["-o", "text"][..], &["-o", "text", "--utc"]].map(replay);
    let (local, utc) = (local?, utc?);
    assert!(local.contains("times in JST (UTC+09:00);"), "{local}");
    assert!(utc.contains("times in UTC;"), "{utc}");
    let ((local, local_rest), (utc, utc_rest)) = (split(&local)?, split(&utc)?);
    assert!(utc.len() > 10, "{utc:?}");
    let later: Vec<u64> = utc.iter().map(|time| (time + 9 * HOUR) % DAY).collect();
    assert_eq!(local, later);
    assert_eq!(local_rest, utc_rest);
    // Data for programs has one zone.
    assert_eq!(replay(&["-o", "json"])?, replay(&["-o", "json", "--utc"])?);
    Ok(())
}
