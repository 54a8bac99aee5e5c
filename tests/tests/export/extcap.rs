//! tshark uses `tracer extcap` as a capture interface. Captures need root.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use tracer_tests::{
    Lab, LabSpec, process,
    program::{LIMIT, run},
};

use crate::{
    folder,
    live::{PINGS, Reader, check, fields, pod},
    printed,
};

/// The folder in which tshark finds the interfaces for all users.
fn extcap_folder() -> Result<PathBuf> {
    let mut command = process::command("tshark");
    let folders = process::run(command.args(["-G", "folders"]), "")?;
    let mut lines = folders.lines().filter_map(|line| line.split_once(':'));
    // It is `Extcap path`, and since 4.2 `Global Extcap path`, besides the user's folder.
    let is_of_all =
        |(name, _): &(&str, &str)| name.ends_with("xtcap path") && !name.starts_with("Personal");
    let (_, folder) = lines.find(is_of_all).context("a folder for extcap")?;
    Ok(folder.trim().into())
}

/// tshark with another folder of interfaces. An environment variable would not do, because tshark
/// ignores it for root.
fn tshark_with(extcap: &Path) -> Result<Command> {
    let mut command = process::command("unshare");
    let script = "mount --bind \"$0\" \"$1\" && shift && exec tshark \"$@\"";
    command.args(["--mount", "sh", "-c", script]);
    command.arg(extcap).arg(extcap_folder()?);
    Ok(command)
}

/// Starts tshark at the interface, for pings between the lab's first two pods, which are also
/// recorded.
fn capture(lab: &Lab, extcap: &Path, file: &str, filter: &str, more: &[&str]) -> Result<Reader> {
    let [from, to] = [0, 1].map(|number| pod(&lab.pods[number]));
    let mut options = lab.agent_args()?;
    options.extend(["-w", file].map(str::to_owned));
    options.extend(more.iter().map(|word| (*word).to_owned()));
    let options = shlex::try_join(options.iter().map(String::as_str))?;
    let mut command = tshark_with(extcap)?;
    command.args(["-i", "tracer", "-f", filter]);
    for (field, value) in [
        ("src", &*from),
        ("dst", &to),
        ("proto", "icmp"),
        ("options", &options),
    ] {
        command.args(["-o", &format!("extcap.tracer.{field}:{value}")]);
    }
    Reader::start(fields(&mut command))
}

#[test]
fn tshark_captures_at_the_interface() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let folder = folder()?;
    let file = folder.path().join("trace.arrows").display().to_string();
    let extcap = folder.path().join("extcap");
    let dir = extcap.display().to_string();
    let told = printed(&["extcap", "install", "--dir", &dir])?;
    ensure!(told.contains("tracer: packet path"), "{told}");

    let listed = process::run(tshark_with(&extcap)?.arg("-D"), "")?;
    ensure!(listed.contains(" tracer (tracer: packet path)"), "{listed}");

    // The follow ends by itself. The capture has all hops of each request and reply that arrived.
    let count = (2 * PINGS).to_string();
    let mut reader = capture(
        &lab,
        &extcap,
        &file,
        "verdict:delivered",
        &["--count", &count],
    )?;
    reader.ping_to_the_end(&lab)?;
    let read = reader.finish()?;
    let mut left = BTreeMap::new();
    for packet in &read {
        let comment = packet.split('\t').next_back().context("a comment")?;
        let words: Vec<&str> = comment.split(' ').collect();
        let [id, "hop", _, "of", hops, ..] = words[..] else {
            bail!("no hop: {comment}");
        };
        *left.entry(id).or_insert(hops.parse::<i64>()?) -= 1;
    }
    assert_eq!(left.len(), 2 * PINGS, "{left:?}");
    assert!(left.values().all(|left| *left == 0), "{left:?}");
    check(&folder, &file, &read, false)?;

    // tshark is stopped, and does not wait for packets without a verdict.
    let mut reader = capture(&lab, &extcap, &file, "proto:icmp", &[])?;
    reader.read_pings(&lab)?;
    reader.signal(Signal::SIGINT)?;
    check(&folder, &file, &reader.finish()?, false)
}

/// Wireshark shows the interface's message once the pipe was opened and closed again.
#[test]
fn what_is_wrong_with_options_is_said() -> Result<()> {
    let folder = folder()?;
    let extcap = folder.path().join("extcap");
    printed(&["extcap", "install", "--dir", &extcap.display().to_string()])?;
    for (field, told) in [
        ("src:web", "neither an address nor an object"),
        ("src:pod/web", "required arguments were not provided"),
        ("options:--agent 'a", "quotes are not closed in --options"),
    ] {
        let mut command = tshark_with(&extcap)?;
        command.args(["-i", "tracer", "-o", &format!("extcap.tracer.{field}")]);
        let ended = process::Process::start(&mut command, "")?.finish(LIMIT)?;
        ensure!(ended.stderr.contains(told), "{field}: {}", ended.stderr);
    }
    Ok(())
}

#[test]
fn a_filter_is_checked_before_it_is_used() -> Result<()> {
    let check = |filter: &str| {
        let args = ["--extcap-interface", "tracer", "--extcap-capture-filter"];
        printed(&[&["extcap"], &args[..], &[filter]].concat())
    };
    assert_eq!(check("verdict:dropped port:80")?, "");
    ensure!(check("tcp")?.contains("did you mean proto:tcp?"));
    Ok(())
}

#[test]
fn an_interface_that_is_not_there_is_refused() -> Result<()> {
    for (args, told) in [
        (
            &["--extcap-interface", "eth0", "--extcap-dlts"][..],
            "there is no interface eth0",
        ),
        (&[], "`tracer extcap install` puts it"),
        (&["--capture"], "--fifo"),
    ] {
        let ended = run([&["extcap"], args].concat())?;
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        ensure!(ended.stderr.contains(told), "{}", ended.stderr);
    }
    // An existing file with the link's name stays.
    let folder = folder()?;
    let link = folder.path().join("tracer-extcap");
    fs::write(&link, "#!/bin/sh\n")?;
    let ended = run([
        "extcap",
        "install",
        "--dir",
        &folder.path().display().to_string(),
    ])?;
    assert_eq!(ended.status.code(), Some(1));
    ensure!(
        ended.stderr.contains("is no link to tracer, and stays"),
        "{}",
        ended.stderr
    );
    assert_eq!(fs::read_to_string(&link)?, "#!/bin/sh\n");
    Ok(())
}
