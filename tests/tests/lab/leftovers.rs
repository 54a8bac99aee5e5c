//! Labs are removed when they are dropped, when their test panics, and by the next lab if their
//! process was killed.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::killpg;
use nix::unistd::Pid;
use tracer_tests::lab::sweep;
use tracer_tests::program::LIMIT;
use tracer_tests::{Lab, LabSpec, Netns, Process, process};

/// All namespaces of a lab.
fn namespaces(lab: &Lab) -> Vec<Netns> {
    let nodes = lab.nodes.iter().map(|node| &node.netns);
    let pods = lab.pods.iter().map(|pod| &pod.netns);
    [&lab.middle]
        .into_iter()
        .chain(nodes)
        .chain(pods)
        .cloned()
        .collect()
}

fn exist(namespaces: &[Netns]) -> usize {
    namespaces
        .iter()
        .filter(|netns| netns.path.exists())
        .count()
}

#[test]
fn labs_in_a_row_leave_nothing() -> Result<()> {
    let mut fastest = Duration::MAX;
    for _ in 0..10 {
        let start = Instant::now();
        let lab = Lab::new(&LabSpec::default())?;
        fastest = fastest.min(start.elapsed());
        let namespaces = namespaces(&lab);
        assert_eq!(exist(&namespaces), 5);
        drop(lab);
        assert_eq!(exist(&namespaces), 0);
    }
    assert!(
        fastest < Duration::from_secs(2),
        "{fastest:?} to make a lab"
    );
    Ok(())
}

#[test]
fn a_panic_takes_the_lab_down() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let namespaces = namespaces(&lab);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let lab = lab;
        lab.pods[0].netns.enter(|| panic!("on purpose"))
    }));
    let message = panic.expect_err("it panicked");
    assert_eq!(
        message.downcast_ref(),
        Some(&"on purpose"),
        "passed on as it was"
    );
    assert_eq!(exist(&namespaces), 0);
    Ok(())
}

#[test]
fn programs_end_with_their_lab_or_their_guard() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let netns = &lab.pods[0].netns;
    let guarded = Process::start(netns.command("sleep").arg("1000"), "")?;
    assert!(
        guarded.finish(Duration::from_millis(10)).is_err(),
        "it was still running"
    );
    let error = netns
        .run("ip link show dev nothing")
        .expect_err("there is no such device");
    assert!(format!("{error:#}").contains("does not exist"), "{error:#}");

    let mut stray = netns.command("sleep").arg("1000").spawn()?;
    drop(lab);
    assert!(!stray.wait()?.success(), "killed");
    Ok(())
}

/// A lab in a separate process, and the names of its namespaces.
fn lab_elsewhere() -> Result<(Child, Vec<Netns>)> {
    let mut child = process::command(env!("CARGO_BIN_EXE_lab"))
        .env("TRACER_LAB_SEED", "0x2a")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let stdout = child.stdout.take().context("a pipe was asked for")?;
    let lines = BufReader::new(stdout).lines();
    let description = lines.take(6).collect::<Result<Vec<_>, _>>()?;
    let names = description
        .iter()
        .take(5)
        .filter_map(|line| line.split(' ').next_back());
    let namespaces: Vec<_> = names.map(Netns::named).collect();
    assert_eq!(exist(&namespaces), 5, "{description:?}");
    Ok((child, namespaces))
}

#[test]
fn the_remains_of_the_killed_are_removed_and_the_living_left_alone() -> Result<()> {
    let (mut living, of_the_living) = lab_elsewhere()?;
    let (mut killed, of_the_killed) = lab_elsewhere()?;
    killed.kill()?;
    killed.wait()?;
    // Any other test that makes a lab meanwhile sweeps as well.
    sweep();
    assert_eq!(exist(&of_the_killed), 0);
    assert_eq!(exist(&of_the_living), 5);

    drop(living.stdin.take());
    assert!(living.wait()?.success());
    assert_eq!(exist(&of_the_living), 0);
    Ok(())
}

#[test]
fn a_lab_killed_while_it_is_made_leaves_nothing_for_long() -> Result<()> {
    for step in 0..8 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lab"))
            .process_group(0)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        // The process prints its seed just before it makes the lab.
        let mut stderr = child.stderr.take().context("a pipe was asked for")?;
        stderr.read_exact(&mut [0; 1])?;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(step * 5) {
            thread::yield_now();
        }
        child.kill()?;
        child.wait()?;
        // Its programs are killed with it, but end a little later.
        let group = Pid::from_raw(child.id().cast_signed());
        while killpg(group, None) != Err(Errno::ESRCH) {
            assert!(begun.elapsed() < LIMIT, "something lives on");
            thread::yield_now();
        }
        sweep();
        let mine = format!("trc-{}-", child.id());
        let names = std::fs::read_dir("/run/netns")?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        assert_eq!(
            names.filter(|name| name.starts_with(&mine)).count(),
            0,
            "step {step}"
        );
    }
    Ok(())
}
