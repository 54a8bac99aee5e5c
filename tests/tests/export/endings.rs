//! Errors are one sentence, and no incomplete file has the final name.

use std::fs;

use anyhow::{Result, ensure};
use tracer_tests::{
    Process, process,
    program::{LIMIT, binary, run},
};

use crate::{fixture, folder, names};

/// Exports a bad recording over an existing file, which stays. Returns the error.
fn refused(recording: &[u8], format: &str) -> Result<String> {
    let folder = folder()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("bad.arrows"), recording)?;
    fs::write(path("out"), "yesterday's")?;
    let ended = run([
        "export",
        &path("bad.arrows"),
        "-f",
        format,
        "-o",
        &path("out"),
    ])?;
    ensure!(ended.status.code() == Some(1), "{}", ended.stderr);
    ensure!(ended.stdout.is_empty());
    ensure!(ended.stderr.lines().count() == 1, "{}", ended.stderr);
    ensure!(fs::read_to_string(path("out"))? == "yesterday's");
    ensure!(names(folder.path())? == ["bad.arrows", "out"]);
    Ok(ended.stderr)
}

#[test]
fn what_is_no_recording_is_refused() -> Result<()> {
    let told = refused(b"\xd4\xc3\xb2\xa1 a capture, say", "pcapng")?;
    ensure!(
        told.contains("is not a recording: give a file that"),
        "{told}"
    );
    let told = refused(b"", "jsonl")?;
    ensure!(told.contains("is empty: nothing was recorded"), "{told}");
    Ok(())
}

#[test]
fn a_recording_of_a_later_version_is_refused() -> Result<()> {
    let mut recording = fs::read(fixture("clean"))?;
    let schema = b"tracer.trace/2";
    let mut windows = recording.windows(schema.len());
    let at = windows
        .position(|window| window == schema)
        .expect("a schema");
    recording[at + schema.len() - 1] = b'9';
    let told = refused(&recording, "pcapng")?;
    ensure!(
        told.contains("a trace of the kind tracer.trace/9"),
        "{told}"
    );
    ensure!(
        told.contains("read it with the version that wrote it"),
        "{told}"
    );
    Ok(())
}

#[test]
fn of_a_damaged_recording_only_standard_output_gets_a_part() -> Result<()> {
    let mut recording = fs::read(fixture("pod-restarts"))?;
    let middle = recording.len() * 3 / 4;
    recording[middle..middle + 64].fill(0xff);
    let told = refused(&recording, "jsonl")?;
    ensure!(told.contains("is damaged at byte"), "{told}");
    ensure!(
        told.contains("out was not written: -o - writes what comes before"),
        "{told}"
    );

    let folder = folder()?;
    let bad = folder.path().join("bad.arrows").display().to_string();
    fs::write(&bad, recording)?;
    let ended = run(["export", &bad, "-f", "jsonl"])?;
    ensure!(ended.status.code() == Some(1));
    ensure!(
        ended.stdout.contains("tracer.journey/2"),
        "{}",
        ended.stdout
    );
    Ok(())
}

#[test]
fn a_recording_that_was_cut_off_is_exported_up_to_there() -> Result<()> {
    let recording = fs::read(fixture("pod-restarts"))?;
    let folder = folder()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("cut.arrows"), &recording[..recording.len() * 2 / 3])?;
    let ended = run([
        "export",
        &path("cut.arrows"),
        "-f",
        "jsonl",
        "-o",
        &path("out"),
    ])?;
    ensure!(ended.status.success(), "{}", ended.stderr);
    ensure!(
        ended.stderr.contains("ends in the middle"),
        "{}",
        ended.stderr
    );
    let replayed = run(["replay", &path("cut.arrows"), "-o", "json"])?;
    ensure!(fs::read_to_string(path("out"))? == replayed.stdout);
    Ok(())
}

/// A limit on the size of files imitates a full disk: writing fails in the middle.
#[test]
fn a_full_disk_leaves_what_was_there() -> Result<()> {
    for format in ["pcapng", "jsonl", "html"] {
        let folder = folder()?;
        let out = folder.path().join("out").display().to_string();
        fs::write(&out, "yesterday's")?;
        let script = "trap '' XFSZ; ulimit -f 16; exec \"$@\"";
        let mut command = process::command("bash");
        command.args(["-c", script, "bash"]).arg(binary()?);
        command.args(["export", &fixture("clean"), "-f", format, "-o", &out]);
        let ended = Process::start(&mut command, "")?.finish(LIMIT)?;
        ensure!(ended.status.code() == Some(1), "{}", ended.stderr);
        let told = format!("tracer: cannot write {out}: File too large");
        ensure!(ended.stderr.starts_with(&told), "{}", ended.stderr);
        ensure!(fs::read_to_string(&out)? == "yesterday's");
        ensure!(names(folder.path())? == ["out"]);
    }
    Ok(())
}

#[test]
fn arguments_that_do_not_fit_are_refused() -> Result<()> {
    let folder = folder()?;
    let there = folder.path().display().to_string();
    fs::write(folder.path().join("capture"), "")?;
    let recording = fixture("clean");
    for (args, code, told) in [
        (
            &["-f", "pcap"][..],
            2,
            "[possible values: pcapng, parquet, jsonl, html",
        ),
        (
            &["-f", "jsonl", "--split", "point"],
            2,
            "only pcapng can be split",
        ),
        (
            &["-f", "pcapng", "--split", "point"],
            2,
            "name it with -o FOLDER",
        ),
        (
            &["-f", "pcapng", "--split", "point", "-o", &there],
            1,
            "it is a folder with something in it",
        ),
        (
            &["-f", "pcapng", "-o", "/nowhere/at/all"],
            1,
            "cannot write /nowhere/at/all",
        ),
        (
            &["-f", "html", "--profile", "-o", "x"],
            2,
            "only pcapng has a profile",
        ),
        (
            &["-f", "pcapng", "--profile"],
            2,
            "name the file with -o FILE",
        ),
        (
            &["-f", "pcapng", "--profile", "--split", "point", "-o", "x"],
            2,
            "cannot be used with",
        ),
        (&["-f", "parquet"], 2, "name it with -o FOLDER"),
        (
            &["-f", "parquet", "--split", "point", "-o", "x"],
            2,
            "only pcapng can be split",
        ),
        (
            &["-f", "parquet", "-o", &there],
            1,
            "it is a folder with something in it: name a new one",
        ),
        (
            &["-f", "parquet", "-o", &recording],
            1,
            "it is no folder: name a new one",
        ),
        (&["-f", "pcapng", "--where", "verdict:gone"], 2, "verdict"),
        (&[], 2, "--format"),
    ] {
        let ended = run([&["export", &recording], args].concat())?;
        ensure!(
            ended.status.code() == Some(code),
            "{args:?}: {}",
            ended.stderr
        );
        ensure!(ended.stderr.contains(told), "{args:?}: {}", ended.stderr);
        ensure!(ended.stdout.is_empty(), "{args:?}");
    }
    ensure!(names(folder.path())? == ["capture"]);
    Ok(())
}

#[test]
fn json_lines_are_those_of_a_replay() -> Result<()> {
    let recording = fixture("wiring-calicodualstack-clean");
    let args = ["--where", "proto:icmp"];
    let exported = run([&["export", &recording, "-f", "jsonl"][..], &args].concat())?;
    let replayed = run([&["replay", &recording, "-o", "json"][..], &args].concat())?;
    ensure!(exported.status.success(), "{}", exported.stderr);
    ensure!(exported.stdout == replayed.stdout);
    Ok(())
}
