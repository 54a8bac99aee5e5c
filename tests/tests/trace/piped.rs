//! `-` is standard output for a recorder, and standard input for whatever reads recordings.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use tracer_tests::program::tracer;
use tracer_tests::{Lab, LabSpec, process};

use crate::{Recorder, command, full_name, mixed_traffic, printed};

/// `tracer record -w - | tee FILE | tracer replay -`
#[test]
fn a_replay_reads_what_a_recorder_writes() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let directory = lab.directory()?;
    let at = |name: &str| directory.join(name);
    let file = at("teed.arrows");
    File::create(&file)?;

    let args = ["record", "-w", "-", "--hold", "300ms"];
    let mut record = command([&lab.pods[0], &lab.pods[1]], &lab, &[0, 1], &args)?
        .stdout(Stdio::piped())
        .stderr(File::create(at("record.err"))?)
        .spawn()?;
    let recorded = record.stdout.take().context("a pipe")?;
    let recorder = Recorder {
        child: record,
        stdout: file.clone(),
        stderr: at("record.err"),
    };
    let mut tee = process::command("tee")
        .arg(&file)
        .stdin(recorded)
        .stdout(Stdio::piped())
        .spawn()?;
    let replay = tracer(["replay", "-o", "json", "-"])?
        .stdin(tee.stdout.take().context("a pipe")?)
        .stdout(File::create(at("replay.out"))?)
        .stderr(File::create(at("replay.err"))?)
        .spawn()?;
    let replay = Recorder {
        child: replay,
        stdout: at("replay.out"),
        stderr: at("replay.err"),
    };

    recorder.wait(|_, said| said.contains("Ctrl-C ends"))?;
    mixed_traffic(&lab)?;
    let recorder = recorder.end(Signal::SIGINT)?;
    assert_eq!(recorder.code, Some(0), "{}", recorder.stderr);
    let replay = replay.ended()?;
    assert_eq!(replay.code, Some(0), "{}", replay.stderr);
    assert!(tee.wait()?.success());
    let file = file.to_str().context("a path")?;
    ensure!(replay.stdout == printed(&["replay", "-o", "json", file])?);
    assert!(replay.stdout.contains("delivered"), "{}", replay.stdout);
    Ok(())
}

/// The output of `tracer` with a file in a pipe as its standard input.
fn piped(args: &[&str], file: &Path) -> Result<String> {
    let mut cat = process::command("cat")
        .arg(file)
        .stdout(Stdio::piped())
        .spawn()?;
    let from = cat.stdout.take().context("a pipe")?;
    let output = tracer(args)?.stdin(from).output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.success() && cat.wait()?.success(), "{said}");
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn commands_that_read_recordings_read_standard_input() -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/clean.arrows");
    let name = file.to_str().context("a path")?;
    for command in ["replay", "show", "stats"] {
        let read = piped(&[command, "-"], &file)?;
        ensure!(read == printed(&[command, name])?, "{command}: {read}");
    }
    Ok(())
}

/// `tracer follow --inventory - < OBJECTS`
#[test]
fn objects_come_from_standard_input() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let [from, to] = [0, 1].map(|pod| full_name(&lab.pods[pod]));
    let objects = lab.write_objects()?;
    let mut args = vec!["follow", "--dry-run", "--src-pod", &from, "--dst-pod", &to];
    let agents = lab.nodes.iter().map(|node| {
        let netns = &node.netns.name;
        format!("--agent={}=netns:/run/netns/{netns}", node.name)
    });
    let agents: Vec<String> = agents.collect();
    args.extend(agents.iter().map(String::as_str));
    args.push("--inventory");
    let by_name = objects.to_str().context("a path")?;
    let read = piped(&[&args[..], &["-"]].concat(), &objects)?;
    ensure!(
        read == printed(&[&args[..], &[by_name]].concat())?,
        "{read}"
    );
    assert!(read.contains(&lab.pods[1].veth), "{read}");
    Ok(())
}
