//! After any end of a recorder, its recording can be read. Files that are no recording are refused.

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use serde_json::Value;
use tracer_tests::program::run;
use tracer_tests::traffic::Flow;
use tracer_tests::{Lab, LabSpec};

use crate::{Recorder, command, mixed_traffic, printed};

fn journeys(printed: &str) -> Vec<Value> {
    let values = printed
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    values
        .filter(|value: &Value| value["schema"] == "tracer.journey/2")
        .collect()
}

#[test]
fn killed_it_loses_the_last_second_at_most() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let file = lab.directory()?.join("killed.arrows").display().to_string();
    let args = ["follow", "-o", "json", "-w", &file];
    let recorder = Recorder::start(&lab, "killed", &[0, 1], &args)?;
    let flow = Flow::new(&lab.pods[0], &lab.pods[1]);
    // There are two rounds, so that a cut file has some journeys: the recorder writes the rows of a
    // second together.
    for journeys in [40, 80] {
        ensure!(flow.ping(20, Duration::from_millis(2))?.is_complete());
        recorder.wait(|out, _| out.matches("tracer.journey/2").count() >= journeys)?;
        // Rows that are a second old are in the file.
        let enough = Instant::now() + Duration::from_secs(1);
        while Instant::now() < enough {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let ended = recorder.end(Signal::SIGKILL)?;
    assert_eq!(ended.code, None);
    let replayed = run(["replay", "-o", "json", &file])?;
    ensure!(replayed.status.success(), "{}", replayed.stderr);
    assert!(
        replayed.stderr.contains("ends in the middle"),
        "{}",
        replayed.stderr
    );
    let (live, again) = (journeys(&ended.stdout), journeys(&replayed.stdout));
    for journey in &live {
        assert!(again.contains(journey), "{journey:#}");
    }

    // A file cut anywhere gives an answer, and never a verdict that the whole does not have.
    let bytes = fs::read(&file)?;
    let cut = lab.directory()?.join("cut.arrows").display().to_string();
    let mut told = 0;
    for part in 1..24 {
        fs::write(&cut, &bytes[..bytes.len() * part / 24])?;
        let replayed = run(["replay", "-o", "json", &cut])?;
        let code = replayed.status.code();
        assert!(
            matches!(code, Some(0 | 1 | 4)),
            "{part}: {}",
            replayed.stderr
        );
        for journey in journeys(&replayed.stdout) {
            let kind = &journey["verdict"]["kind"];
            assert!(
                kind == "delivered" || kind == "unknown",
                "{part}: {journey:#}"
            );
            told += 1;
        }
    }
    assert!(told > 0, "nothing was told of any part");
    Ok(())
}

/// The line of `tracer show` on the end of a recording.
fn end_of(file: &str) -> Result<String> {
    let printed = printed(&["show", file])?;
    let line = printed.lines().find(|line| line.starts_with("end "));
    Ok(line.context("nothing is said of its end")?.to_owned())
}

#[test]
fn a_reader_or_a_terminal_that_goes_away_leaves_a_whole_recording() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let flow = Flow::new(&lab.pods[0], &lab.pods[1]);
    let file = |name: &str| Ok::<_, anyhow::Error>(lab.directory()?.join(name));
    let headed = file("headed.arrows")?.display().to_string();
    let args = ["follow", "-o", "json", "-w", &headed];
    let mut child = command([&lab.pods[0], &lab.pods[1]], &lab, &[0, 1], &args)?
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut first = String::new();
    BufReader::new(child.stdout.take().context("it is piped")?).read_line(&mut first)?;
    assert!(first.contains("tracer.started/1"), "{first}");
    // The reader has gone, which the recorder notices with the first journey.
    ensure!(flow.ping(5, Duration::from_millis(2))?.is_complete());
    assert_eq!(child.wait()?.code(), Some(0));
    assert!(end_of(&headed)?.contains("complete at"));
    assert!(!journeys(&printed(&["replay", "-o", "json", &headed])?).is_empty());

    let hung = file("hung.arrows")?.display().to_string();
    let recorder = Recorder::start(&lab, "hung", &[0, 1], &["record", "-w", &hung])?;
    ensure!(flow.ping(5, Duration::from_millis(2))?.is_complete());
    let ended = recorder.end(Signal::SIGHUP)?;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(end_of(&hung)?.contains("complete at"));
    Ok(())
}

/// A file system of a given size, which is removed when this value is dropped.
struct Small(std::path::PathBuf);

impl Small {
    fn new(lab: &Lab, bytes: u64) -> Result<Self> {
        let path = lab.directory()?.join("small");
        fs::create_dir(&path)?;
        let options = format!("size={bytes}");
        let none = MsFlags::empty();
        mount(Some("none"), &path, Some("tmpfs"), none, Some(&*options)).context("mount")?;
        Ok(Self(path))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // A failure shows as a directory that cannot be removed.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_ends_it_and_keeps_what_is_there() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let disk = Small::new(&lab, 1 << 20)?;
    let file = disk.0.join("full.arrows").display().to_string();
    let args = ["follow", "-o", "json", "-w", &file];
    let mut recorder = Recorder::start(&lab, "full", &[0, 1], &args)?;
    let flow = Flow::new(&lab.pods[0], &lab.pods[1]);
    // This is many times what fits.
    while recorder.runs()? {
        ensure!(flow.ping(500, Duration::from_millis(1))?.sent > 0);
    }
    let ended = recorder.ended()?;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("No space left"), "{}", ended.stderr);
    assert!(ended.stdout.contains("tracer.summary/1"));
    let replayed = run(["replay", "-o", "json", &file])?;
    ensure!(replayed.status.success(), "{}", replayed.stderr);
    assert!(journeys(&replayed.stdout).len() > 10);
    Ok(())
}

#[test]
fn what_is_no_trace_is_told_in_one_sentence() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let directory = lab.directory()?;
    let file = |name: &str| directory.join(name).display().to_string();
    let good = file("good.arrows");
    let recorder = Recorder::start(&lab, "good", &[0, 1], &["record", "-w", &good])?;
    mixed_traffic(&lab)?;
    recorder.end(Signal::SIGINT)?;
    fs::write(file("empty"), "")?;
    fs::write(file("text"), "apiVersion: v1\n")?;
    fs::copy(&good, file("damaged"))?;
    let mut damaged = OpenOptions::new().write(true).open(file("damaged"))?;
    damaged.seek(SeekFrom::End(-600))?;
    damaged.write_all(&[0x55; 300])?;
    // The records before the damage are summed up, as they are shown.
    let ended = run(["stats", "-o", "json", &file("damaged")])?;
    let sums: Value = serde_json::from_str(&ended.stdout)?;
    assert_eq!(sums["schema"], "tracer.stats/1");
    for (name, sentence) in [
        ("empty", "is empty"),
        ("text", "is not a recording"),
        ("damaged", "is damaged at byte"),
        ("missing", "No such file"),
    ] {
        for command in ["replay", "show", "stats"] {
            let ended = run([command, &file(name)])?;
            assert_eq!(ended.status.code(), Some(1), "{command} {name}");
            let said = &ended.stderr;
            assert!(said.contains(sentence), "{command} {name}: {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
    let ended = run(["replay", &good, &good])?;
    assert!(
        ended.stderr.contains("give each file once"),
        "{}",
        ended.stderr
    );
    let nowhere = [
        "record",
        "-w",
        "/nowhere/a.arrows",
        "--src-ip",
        "10.0.0.1",
        "--dst-ip",
        "10.0.0.2",
    ];
    let ended = run(nowhere)?;
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended.stderr.contains("cannot write /nowhere/a.arrows"),
        "{}",
        ended.stderr
    );
    let ended = run([
        "follow",
        "--rotate-size",
        "1KiB",
        "--src-ip",
        "10.0.0.1",
        "--dst-ip",
        "10.0.0.2",
    ])?;
    assert_eq!(ended.status.code(), Some(2));
    assert!(printed(&["show", &good])?.contains("complete at"));
    Ok(())
}
