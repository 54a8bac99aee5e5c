//! The Wireshark profile beside a capture, read by tshark.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use tracer_tests::process;

use crate::{export, fixture, folder, journeys, names};

/// What Wireshark makes of one packet at several points.
const MARKS: &str = "tcp.analysis.retransmission or tcp.analysis.spurious_retransmission \
                     or tcp.analysis.fast_retransmission or tcp.analysis.duplicate_ack \
                     or tcp.analysis.out_of_order";

/// The output of tshark for a capture. `config` is the folder of its user's settings.
fn tshark(config: &Path, capture: &Path, args: &[&str]) -> Result<String> {
    let mut command = process::command("tshark");
    command.env("WIRESHARK_CONFIG_DIR", config);
    command.arg("-r").arg(capture).args(args);
    process::run(&mut command, "").context("tshark reads a capture")
}

#[test]
fn one_packet_at_several_points_is_no_retransmission() -> Result<()> {
    let (folder, none) = (folder()?, folder()?);
    let capture = export(&folder, &fixture("clean"), &["-f", "pcapng", "--profile"])?;
    ensure!(names(folder.path())? == ["out", "out.profile"]);
    let profile = folder.path().join("out.profile");
    let marked = |config: &Path| tshark(config, &capture, &["-Y", MARKS]);
    ensure!(!marked(none.path())?.is_empty(), "the profile is needed");
    ensure!(marked(&profile)?.is_empty(), "{}", marked(&profile)?);

    // A user may also put the folder among the profiles, and choose that profile by its name.
    let profiles = none.path().join("profiles");
    fs::create_dir(&profiles)?;
    fs::rename(&profile, profiles.join("tracer"))?;
    let args = ["-C", "tracer", "-Y", MARKS];
    ensure!(tshark(none.path(), &capture, &args)?.is_empty());
    Ok(())
}

/// tshark prints preferences that differ from its own defaults as they are in a profile.
#[test]
fn tshark_knows_each_preference() -> Result<()> {
    let folder = folder()?;
    export(&folder, &fixture("clean"), &["-f", "pcapng", "--profile"])?;
    let profile = folder.path().join("out.profile");
    let mut command = process::command("tshark");
    command.env("WIRESHARK_CONFIG_DIR", &profile);
    let current = process::run(command.args(["-G", "currentprefs"]), "")?;
    let current: Vec<&str> = current.lines().map(str::trim_end).collect();
    let given = fs::read_to_string(profile.join("preferences"))?;
    let given = given.lines().filter(|line| !line.starts_with('#'));
    for line in given.filter(|line| !line.is_empty()) {
        ensure!(current.contains(&line), "{line}");
    }
    Ok(())
}

#[test]
fn columns_have_the_point_and_the_journey() -> Result<()> {
    let folder = folder()?;
    let capture = export(&folder, &fixture("clean"), &["-f", "pcapng", "--profile"])?;
    let profile = folder.path().join("out.profile");
    let fields = ["frame.interface_name", "frame.comment"];
    let fields = fields.iter().flat_map(|field| ["-e", *field]);
    // Of the comments, only the first.
    let args = ["-T", "fields", "-E", "occurrence=f"].into_iter();
    let args: Vec<&str> = args.chain(fields).collect();
    let told = tshark(&profile, &capture, &args)?;
    let shown = tshark(&profile, &capture, &["-T", "tabs"])?;
    ensure!(shown.lines().count() == told.lines().count());
    let mut names = 0;
    for (row, told) in shown.lines().zip(told.lines()) {
        let (point, comment) = told.split_once('\t').context("two fields")?;
        let columns: Vec<&str> = row.split('\t').map(str::trim).collect();
        ensure!(columns.get(2) == Some(&point), "{row}");
        ensure!(columns.last() == Some(&comment), "{row}");
        names += columns.iter().filter(|column| column.contains('/')).count();
    }
    // Addresses are shown by the pods' names, besides those in the points.
    ensure!(names > told.lines().count(), "{shown}");
    Ok(())
}

#[test]
fn packets_have_the_colour_of_their_verdict() -> Result<()> {
    let (mut kinds, mut drops) = (Vec::new(), 0);
    for name in ["clean", "nft-forward-far-drop-4", "udp-no-listener-4"] {
        let folder = folder()?;
        let recording = fixture(name);
        let capture = export(&folder, &recording, &["-f", "pcapng", "--profile"])?;
        let profile = folder.path().join("out.profile");
        let journeys = journeys(&recording)?;
        let fields = [
            "--color",
            "-T",
            "fields",
            "-E",
            "occurrence=f",
            "-e",
            "frame.coloring_rule.name",
            "-e",
            "frame.interface_name",
            "-e",
            "frame.comment",
        ];
        for line in tshark(&profile, &capture, &fields)?.lines() {
            let mut parts = line.splitn(3, '\t');
            let [rule, point, comment] = [(); 3].map(|()| parts.next().unwrap_or_default());
            let (id, _) = comment.split_once(' ').context("a comment")?;
            let journey = journeys
                .iter()
                .find(|journey| format!("#{}", journey["id"]) == id);
            let kind = journey.context("a journey")?["verdict"]["kind"].as_str();
            let kind = kind.context("a verdict")?.to_owned();
            if point.ends_with("/drop") {
                ensure!(rule == "the drop", "{line}");
                drops += 1;
            } else {
                ensure!(rule == kind, "{line}");
            }
            kinds.push(kind);
        }
    }
    ensure!(drops > 0, "no packet is a drop");
    for kind in ["delivered", "dropped", "refused"] {
        ensure!(kinds.iter().any(|seen| seen == kind), "no packet is {kind}");
    }
    Ok(())
}
