use anyhow::Result;
use nix::libc;
use serde_json::{Value, json};
use tracer_tests::program::{LIMIT, Tracer, run, tracer};
use tracer_tests::rights::{CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_SYSLOG, without};
use tracer_tests::{Lab, LabSpec, Names, Process};

use crate::rights::{follow_args, unprivileged};
use crate::{attached, full_name};

/// Runs `--dry-run` without a capability.
fn look_without(lab: &Lab, capability: libc::c_int, format: &str) -> Result<String> {
    let mut command = tracer(follow_args(lab)?)?;
    command.args(["--dry-run", "-o", format]);
    without(&mut command, capability);
    let ended = Process::start(&mut command, "")?.finish(LIMIT)?;
    assert_eq!(ended.stderr, "");
    assert_eq!(ended.status.code(), Some(0));
    Ok(ended.stdout)
}

/// Runs `--dry-run` without each capability that attaching needs, so it cannot have attached
/// anything.
fn look(lab: &Lab, format: &str) -> Result<String> {
    let mut said = Vec::new();
    for capability in [CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON] {
        said.push(look_without(lab, capability, format)?);
    }
    said.dedup();
    assert_eq!(said.len(), 1, "it said different things: {said:?}");
    assert_eq!(attached(lab)?, [""; 0]);
    Ok(said.remove(0))
}

#[test]
fn every_interface_on_the_way_is_planned() -> Result<()> {
    for names in [Names::Realistic, Names::Odd] {
        let lab = Lab::new(&LabSpec {
            names,
            ..LabSpec::default()
        })?;
        let plan: Value = serde_json::from_str(&look(&lab, "json")?)?;
        assert_eq!(plan["schema"], "tracer.plan/1");
        assert_eq!(plan["warnings"], json!([]));
        let text = look(&lab, "text")?;
        assert!(text.ends_with("\nnothing was attached\n"), "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "too wide: {line}");
        }
        for (index, (node, pod)) in lab.nodes.iter().zip(&lab.pods).enumerate() {
            let expected = [
                (&pod.veth, "veth", lab.pod_mtu),
                (&node.bridge, "bridge", lab.pod_mtu),
                (&node.overlay, "vxlan", lab.pod_mtu),
                (&node.uplink, "veth", lab.mtu),
            ];
            let planned = &plan["nodes"][index];
            assert_eq!(planned["node"], node.name);
            let interfaces = planned["interfaces"].as_array().expect("a list");
            let found: Vec<Value> = interfaces
                .iter()
                .map(|found| json!([found["interface"], found["kind"], found["mtu"], found["up"]]))
                .collect();
            let wanted = expected.map(|(name, kind, mtu)| json!([name, kind, mtu, true]));
            assert_eq!(found, wanted);
            for (name, kind, _) in expected {
                let line = text
                    .lines()
                    .find(|line| line.trim_start().starts_with(&format!("{name} ")));
                assert!(
                    line.is_some_and(|line| line.contains(kind)),
                    "{name} is missing in\n{text}"
                );
            }
        }
    }
    Ok(())
}

/// The plan shows where XDP would be, and what that would change.
#[test]
fn xdp_is_planned_where_it_was_asked_for() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let plan = |xdp: &str, format| -> Result<String> {
        let mut command = tracer(follow_args(&lab)?)?;
        command
            .args(["--dry-run", "-o", format])
            .args(xdp.split(' '));
        let ended = Process::start(&mut command, "")?.finish(LIMIT)?;
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        Ok(ended.stdout)
    };
    let planned: Value = serde_json::from_str(&plan("--xdp", "json")?)?;
    for (node, planned) in lab
        .nodes
        .iter()
        .zip(planned["nodes"].as_array().expect("a list"))
    {
        for found in planned["interfaces"].as_array().expect("a list") {
            let is_uplink = found["interface"] == *node.uplink;
            assert_eq!(
                found["xdp"],
                if is_uplink { json!("xdp") } else { Value::Null }
            );
        }
        let notes = planned["notes"].to_string();
        for change in [
            "turns off TSO of its veth peer",
            "puts a queue of 256 packets in front",
        ] {
            let change = format!("XDP at {} {change}", node.uplink);
            assert!(notes.contains(&change), "{notes}");
        }
    }
    let text = plan("--xdp", "text")?;
    assert_eq!(text.matches("xdp, in and out").count(), 2, "{text}");
    // In generic mode nothing changes.
    let generic = format!("--xdp={} --xdp-mode generic", lab.nodes[0].uplink);
    let text = plan(&generic, "text")?;
    assert!(text.contains("xdp-generic, in and out"), "{text}");
    assert!(!text.contains("TSO"), "{text}");
    assert!(plan("--xdp=nobody9", "text")?.contains("XDP at nobody9 is not observed"));
    // Between pods of one node, there is no uplink on the way.
    let same_node = Lab::new(&LabSpec {
        pods_per_node: 2,
        ..LabSpec::default()
    })?;
    let [from, to] = [0, 1].map(|pod| full_name(&same_node.pods[pod]));
    let mut command = tracer(["follow", "--dry-run", "-o", "text", "--xdp"])?;
    command.args(same_node.agent_args()?);
    command.args(["--src-pod", &from, "--dst-pod", &to]);
    let ended = Process::start(&mut command, "")?.finish(LIMIT)?;
    let text = ended
        .stdout
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert!(text.contains("the follow passes no uplink here"), "{text}");
    assert_eq!(attached(&lab)?, [""; 0]);
    Ok(())
}

/// Another tracer's program at XDP occupies the hook, and hides no packets.
#[test]
fn another_tracer_at_xdp_is_no_stranger() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let [from, to] = [0, 1].map(|pod| full_name(&lab.pods[pod]));
    let mut other = Tracer::follow(&lab, ["--src-pod", &from, "--dst-pod", &to, "--xdp"])?;
    other.wait_started(LIMIT)?;
    let uplink = &lab.nodes[0].uplink;
    for (xdp, takes) in [(None, false), (Some("--xdp"), true)] {
        let look = |format: &str| -> Result<String> {
            let mut command = tracer(follow_args(&lab)?)?;
            command.args(["--dry-run", "-o", format]).args(xdp);
            let ended = Process::start(&mut command, "")?.finish(LIMIT)?;
            assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
            Ok(ended.stdout)
        };
        let plan: Value = serde_json::from_str(&look("json")?)?;
        let node = &plan["nodes"][0];
        for interface in node["interfaces"].as_array().expect("a list") {
            assert_eq!(interface["foreign_xdp"], Value::Null, "{plan:#}");
            assert_eq!(interface["xdp"], Value::Null, "{plan:#}");
        }
        let taken = format!(
            "XDP at {uplink} is not observed: another tracer is attached there, and an interface \
             has room for one program"
        );
        assert_eq!(
            node["notes"].to_string().contains(&taken),
            takes,
            "{plan:#}"
        );
        let text = look("text")?;
        assert!(!text.contains("runs before tracer"), "{text}");
    }
    other.stop()?;
    Ok(())
}

/// Missing rights are no reason to leave a fact out silently.
#[test]
fn what_it_may_not_know_is_said() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let plan: Value = serde_json::from_str(&look_without(&lab, CAP_SYSLOG, "json")?)?;
    for node in plan["nodes"].as_array().expect("a list") {
        let notes = node["notes"].as_array().expect("a list");
        assert_eq!(notes.len(), 1, "{notes:?}");
        let note = notes[0].as_str().unwrap_or_default();
        assert!(note.contains("tracer needs CAP_SYSLOG"), "{note}");
    }
    Ok(())
}

/// A dry run in the own namespace takes no rights at all.
#[test]
fn anybody_may_look_around_at_home() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let node = &lab.nodes[0];
    let objects = lab.write_objects()?.display().to_string();
    let mut command = unprivileged(&lab, &node.netns)?;
    command.args(["follow", "--dry-run", "--inventory", &objects]);
    command.args(["--agent", &format!("{}=local", node.name)]);
    let [from, to] = [0, 1].map(|pod| lab.pods[pod].v4.to_string());
    command.args(["--src-ip", &from, "--dst-ip", &to]);
    let ended = Process::start(&mut command, "")?.finish(LIMIT)?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    for name in [&lab.pods[0].veth, &node.bridge, &node.overlay, &node.uplink] {
        assert!(
            ended.stdout.contains(&format!("  {name} ")),
            "{name}: {}",
            ended.stdout
        );
    }
    // The output also says what stays unknown.
    let words: Vec<&str> = ended.stdout.split_whitespace().collect();
    for capability in ["CAP_NET_ADMIN", "CAP_SYSLOG"] {
        let needs = format!("tracer needs {capability}");
        assert!(words.join(" ").contains(&needs), "{}", ended.stdout);
    }
    assert_eq!(attached(&lab)?, [""; 0]);
    Ok(())
}

#[test]
fn what_is_wrong_is_wrong_in_a_dry_run_too() -> Result<()> {
    let ended = run([
        "follow",
        "--src-pod",
        "web",
        "--dst-ip",
        "10.0.0.1",
        "--dry-run",
        "--kubeconfig",
        "/nonexistent/config",
    ])?;
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.stdout, "");
    let sentence = "tracer: the kubeconfig /nonexistent/config cannot be read (No such file or \
                    directory (os error 2)): name another with --kubeconfig FILE\n";
    assert_eq!(ended.stderr, sentence);
    Ok(())
}
