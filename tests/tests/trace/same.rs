//! A replay prints, byte for byte, the output of the live follow.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tracer_tests::faults::{Sender, Stage, all};
use tracer_tests::traffic::Flow;
use tracer_tests::{Lab, LabSpec, Wiring};

use crate::{Recorder, keep, mixed_traffic, printed};

fn path(lab: &Lab, name: &str) -> Result<String> {
    Ok(lab.directory()?.join(name).display().to_string())
}

#[test]
fn clean_traffic_as_json_and_text() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    for output in ["json", "text"] {
        let file = path(&lab, &format!("{output}.arrows"))?;
        let args = ["follow", "-o", output, "-w", &file, "--hold", "300ms"];
        let recorder = Recorder::start(&lab, output, &[0, 1], &args)?;
        mixed_traffic(&lab)?;
        let live = recorder.end(Signal::SIGINT)?;
        assert_eq!(live.code, Some(0), "{}", live.stderr);
        assert!(live.stderr.contains("wrote "), "{}", live.stderr);
        let replayed = printed(&["replay", "-o", output, &file])?;
        ensure!(live.stdout == replayed, "{}\n---\n{replayed}", live.stdout);
        assert!(live.stdout.contains("delivered"));
        keep(&file, "clean.arrows")?;
    }
    Ok(())
}

#[test]
fn faults_rotated_into_many_files() -> Result<()> {
    for name in [
        "nft-forward-far-drop",
        "middle-loses-all",
        "udp-no-listener",
    ] {
        let mut faults = all().into_iter();
        let fault = faults.find(|fault| fault.name == name).expect("it is one");
        let stage: Stage = fault.stage(Wiring::Flannel, false)?;
        let file = path(&stage.lab, "fault.arrows")?;
        let args = [
            "follow",
            "-o",
            "json",
            "-w",
            &file,
            "--hold",
            "1s",
            "--rotate-size",
            "1KiB",
        ];
        let recorder = Recorder::between([stage.a(), stage.b()], &stage.lab, name, &[0, 1], &args)?;
        // Without any packet, there is no proof that the far uplink's programs work.
        let beside = Flow::new(stage.a2(), stage.b2());
        ensure!(beside.ping(1, Duration::from_millis(2))?.is_complete());
        fault.make(&stage)?;
        Sender::new(&stage, fault.traffic)?.send()?;
        let kind = fault_kind(name);
        recorder.wait(|out, _| out.contains(kind))?;
        let directory = stage.lab.directory()?;
        recorder.wait(|_, _| recordings(&directory).is_ok_and(|files| files.len() > 1))?;
        let live = recorder.end(Signal::SIGINT)?;
        let files = recordings(&directory)?;
        let words = ["replay", "-o", "json"].into_iter();
        let args: Vec<&str> = words.chain(files.iter().map(String::as_str)).collect();
        let replayed = printed(&args)?;
        ensure!(
            live.stdout == replayed,
            "{name}: {}\n---\n{replayed}",
            live.stdout
        );
    }
    Ok(())
}

/// A pod restarts during the recording, also with rotated files, each of which begins with the
/// earlier changes.
#[test]
fn a_pod_that_restarts() -> Result<()> {
    let rotated = ["--rotate-size", "1KiB"];
    for (output, more) in [("json", &[][..]), ("text", &[]), ("json", &rotated)] {
        let mut lab = Lab::new(&LabSpec::default())?;
        let file = path(&lab, "restart.arrows")?;
        let args = [
            &["follow", "-o", output, "-w", &file, "--hold", "300ms"],
            more,
        ];
        let recorder = Recorder::start(&lab, output, &[0, 1], &args.concat())?;
        mixed_traffic(&lab)?;
        let pinging = Flow::new(&lab.pods[0], &lab.pods[1]).keep_pinging();
        let old = lab.pods[1].veth.clone();
        let told = |told: &str, veth: &str| {
            recorder.wait(|out, _| {
                let mut lines = out.lines();
                lines.any(|line| match output {
                    "json" => {
                        let among = |list: &serde_json::Value| {
                            let mut all = list.as_array().into_iter().flatten();
                            all.any(|point| point["interface"] == *veth)
                        };
                        let value: serde_json::Value =
                            serde_json::from_str(line).unwrap_or_default();
                        let key = if told == "is gone" { "gone" } else { "points" };
                        value["schema"] == "tracer.points/1" && among(&value[key])
                    }
                    _ => line.contains(told) && line.contains(veth),
                })
            })
        };
        lab.end_pod(1)?;
        told("is gone", &old)?;
        lab.rename_pod(1);
        lab.begin_pod(1)?;
        told("now also observing", &lab.pods[1].veth)?;
        pinging.stop()?;
        lab.ready()?;
        mixed_traffic(&lab)?;
        let live = recorder.end(Signal::SIGINT)?;
        assert_eq!(live.code, Some(0), "{}", live.stderr);
        let files = recordings(&lab.directory()?)?;
        assert_eq!(files.len() > 1, !more.is_empty(), "{files:?}");
        let words = ["replay", "-o", output].into_iter();
        let args: Vec<&str> = words.chain(files.iter().map(String::as_str)).collect();
        let replayed = printed(&args)?;
        ensure!(live.stdout == replayed, "{}\n---\n{replayed}", live.stdout);
        if more.is_empty() {
            keep(&file, "pod-restarts.arrows")?;
        }
    }
    Ok(())
}

/// The recordings in a directory.
fn recordings(directory: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "arrows") {
            files.push(path.display().to_string());
        }
    }
    Ok(files)
}

/// A verdict that must occur for a fault.
fn fault_kind(name: &str) -> &'static str {
    match name {
        "middle-loses-all" => "\"kind\":\"lost\"",
        "udp-no-listener" => "\"kind\":\"refused\"",
        _ => "\"kind\":\"dropped\"",
    }
}

#[test]
fn two_nodes_recorded_apart_are_joined() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let files = ["a.arrows", "b.arrows"].map(|name| path(&lab, name));
    let [a, b] = files;
    let (a, b) = (&*a?, &*b?);
    let record = |file, node| {
        let args = ["record", "-w", file, "--key", "secret", "--hold", "300ms"];
        Recorder::start(&lab, &format!("node{node}"), &[node], &args)
    };
    let recorders = [record(a, 0)?, record(b, 1)?];
    mixed_traffic(&lab)?;
    for recorder in recorders {
        let ended = recorder.end(Signal::SIGINT)?;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        for line in ended.stderr.lines() {
            let times = ended.stderr.lines().filter(|other| *other == line);
            assert_eq!(times.count(), 1, "{}", ended.stderr);
        }
    }
    keep(a, "clean-first-node.arrows")?;
    keep(b, "clean-second-node.arrows")?;
    let joined = printed(&["replay", "-o", "json", a, b])?;
    let mut delivered = 0;
    for line in joined.lines() {
        let value: serde_json::Value = serde_json::from_str(line)?;
        if value["schema"] != "tracer.journey/2" || value["packet"]["proto"] == "arp" {
            continue;
        }
        // Recorders do not start and end at the same time.
        let cause = &value["verdict"]["cause"];
        if cause == "before-start" || cause == "still-open" {
            continue;
        }
        assert_eq!(value["verdict"]["kind"], "delivered", "{value:#}");
        let nodes = value["hops"].as_array().map_or(0, Vec::len);
        assert_eq!(nodes, 8, "{value:#}");
        delivered += 1;
    }
    assert!(delivered > 20, "{delivered}");
    // One recording alone has half of each way.
    let alone = printed(&["stats", "-o", "json", a])?;
    let alone: serde_json::Value = serde_json::from_str(&alone)?;
    assert_eq!(alone["schema"], "tracer.stats/1");
    assert!(alone["journeys"].to_string().contains("left"), "{alone}");
    let contents: serde_json::Value = serde_json::from_str(&printed(&["show", "-o", "json", b])?)?;
    assert_eq!(contents["nodes"][0]["node"], *lab.nodes[1].name);
    assert!(contents["nodes"][0]["hops"].as_u64() > Some(50));
    Ok(())
}
