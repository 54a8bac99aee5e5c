//! Flows that must or must not pass, compared with recordings and with live follows, with a drop
//! and without.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec,
    process::Finished,
    program::{self, LIMIT, Tracer, run},
    traffic::Flow,
};

use crate::{fixture, folder, names};

/// Replays a recording with expectations. Returns the output, and the report.
fn compared(recording: &str, expectations: &str) -> Result<(Finished, String)> {
    let folder = folder()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("flows.yaml"), expectations)?;
    let recording = fixture(recording);
    let mut args = vec!["replay", &recording, "-o", "json"];
    // The shown journeys do not matter for a comparison.
    args.extend(["--where", "id:1"]);
    let (flows, report) = (path("flows.yaml"), path("report.xml"));
    args.extend(["--expect-file", &flows, "--junit", &report]);
    let ended = run(args)?;
    ensure!(names(folder.path())? == ["flows.yaml", "report.xml"]);
    Ok((ended, fs::read_to_string(report)?))
}

#[test]
fn all_flows_as_expected_end_with_0() -> Result<()> {
    let (ended, report) = compared(
        "nft-forward-far-drop-4",
        "flows:\n\
         - from: shop/web\n\
         \x20 to: payments/\n\
         \x20 expect: dropped\n\
         \x20 cause: netfilter\n\
         \x20 at: node-b/flannel.1\n\
         - {name: not by TCP, from: payments/, to: payments/, proto: tcp, expect: none}\n",
    )?;
    ensure!(ended.status.success(), "{}", ended.stderr);
    ensure!(
        ended.stderr.contains("as expected: all of 2 flows"),
        "{}",
        ended.stderr
    );
    ensure!(ended.stdout.matches("tracer.journey/2").count() == 1);
    ensure!(
        report.contains("tests=\"2\" skipped=\"0\" errors=\"0\" failures=\"0\""),
        "{report}"
    );
    ensure!(
        report.contains("name=\"shop/web to payments/\""),
        "{report}"
    );
    ensure!(report.contains("name=\"not by TCP\""), "{report}");
    Ok(())
}

#[test]
fn a_flow_that_fares_otherwise_ends_with_3() -> Result<()> {
    for (fate, told) in [
        (
            "delivered",
            "shop/web to payments/: expected delivered, but ",
        ),
        ("none", "shop/web to payments/: expected no packet, but "),
        ("dropped, cause: ttl", "expected dropped (ttl), but "),
        ("dropped, at: node-a", "expected dropped at node-a, but "),
        (
            "dropped, at: node-b/eth0",
            "expected dropped at node-b/eth0, but ",
        ),
    ] {
        let flows = format!("flows:\n- {{from: shop/web, to: payments/, expect: {fate}}}\n");
        let (ended, report) = compared("nft-forward-far-drop-4", &flows)?;
        ensure!(ended.status.code() == Some(3), "{fate}: {}", ended.stderr);
        ensure!(ended.stderr.contains(told), "{fate}: {}", ended.stderr);
        ensure!(
            ended
                .stderr
                .contains(" have the verdict dropped (netfilter), for example #"),
            "{}",
            ended.stderr
        );
        ensure!(report.contains("failures=\"1\""), "{report}");
        ensure!(
            report.contains("<failure message=\"shop/web to payments/: expected"),
            "{report}"
        );
    }
    Ok(())
}

#[test]
fn a_flow_that_is_not_seen_ends_with_3() -> Result<()> {
    let flows = "flows:\n- {from: shop/web, to: =payments/nobody, expect: 'delivered,refused'}\n";
    let (ended, _) = compared("clean", flows)?;
    ensure!(ended.status.code() == Some(3), "{}", ended.stderr);
    let told = "expected delivered or refused, but no packet of it was seen";
    ensure!(ended.stderr.contains(told), "{}", ended.stderr);
    Ok(())
}

#[test]
fn files_that_hold_no_expectations_are_refused_before_anything_is_shown() -> Result<()> {
    let folder = folder()?;
    let flows = folder.path().join("flows.yaml").display().to_string();
    fs::write(&flows, "flows:\n- {from: a, to: b, expect: droped}\n")?;
    for (file, told) in [
        (
            &*flows,
            "flow 1: expect `droped` is not a verdict: did you mean dropped?",
        ),
        ("/nowhere.yaml", "cannot read /nowhere.yaml: No such file"),
        (&fixture("clean"), "cannot read "),
    ] {
        let ended = run(["replay", &fixture("clean"), "--expect-file", file])?;
        ensure!(ended.status.code() == Some(1), "{}", ended.stderr);
        ensure!(ended.stderr.contains(told), "{}", ended.stderr);
        ensure!(ended.stderr.lines().count() == 1, "{}", ended.stderr);
        ensure!(ended.stdout.is_empty());
    }
    let ended = run(["replay", &fixture("clean"), "--junit", "report.xml"])?;
    ensure!(ended.status.code() == Some(2), "{}", ended.stderr);
    ensure!(ended.stderr.contains("--expect-file"), "{}", ended.stderr);
    Ok(())
}

/// Follows one ping until a journey has this direction and verdict. Returns how the follow ended,
/// and the report.
fn followed(lab: &Lab, direction: &str, verdict: &str) -> Result<(program::Finished, String)> {
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let [from, to] = [a, b].map(|pod| format!("{}/{}", pod.namespace, pod.name));
    let folder = folder()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (flows, report) = (path("flows.yaml"), path("report.xml"));
    let expectations = format!(
        "flows:
- {{name: asked, from: ={from}, to: ={to}, proto: icmp, expect: delivered}}
- {{name: answered, from: ={to}, to: ={from}, proto: icmp, expect: delivered}}
- {{name: not by TCP, from: ={from}, to: ={to}, proto: tcp, expect: none}}
"
    );
    fs::write(&flows, expectations)?;
    let ends = ["--src-pod", &from, "--dst-pod", &to, "--proto", "icmp"];
    let expected = ["--expect-file", &flows, "--junit", &report];
    let mut tracer = Tracer::follow(lab, [&ends[..], &expected].concat())?;
    tracer.wait_started(LIMIT)?;
    Flow::new(a, b).ping(1, Duration::from_millis(2))?;
    let is_it =
        |value: &Value| value["direction"] == direction && value["verdict"]["kind"] == verdict;
    tracer.wait_for(is_it, LIMIT)?;
    Ok((tracer.stop()?, fs::read_to_string(report)?))
}

#[test]
fn live_flows_are_compared_when_the_follow_ends() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let (met, report) = followed(&lab, "reply", "delivered")?;
    ensure!(met.status.success(), "{}", met.stderr);
    let told = "tracer: as expected: all of 3 flows\n";
    ensure!(met.stderr.contains(told), "{}", met.stderr);
    ensure!(
        report.contains("tests=\"3\" skipped=\"0\" errors=\"0\" failures=\"0\""),
        "{report}"
    );

    let far = &lab.nodes[lab.pods[1].node];
    let rule = "table inet t { chain c { type filter hook forward priority 0; icmp type echo-request drop; }; }";
    far.netns.batch("nft -f -", rule)?;
    let (missed, report) = followed(&lab, "request", "dropped")?;
    ensure!(missed.status.code() == Some(3), "{}", missed.stderr);
    for told in [
        "tracer: asked: expected delivered, but 1 of 1 packet has the verdict dropped (netfilter), for example #1: dropped at ",
        "tracer: answered: expected delivered, but no packet of it was seen",
    ] {
        ensure!(missed.stderr.contains(told), "{told} in {}", missed.stderr);
    }
    ensure!(!missed.stderr.contains("not by TCP"), "{}", missed.stderr);
    ensure!(
        report.contains("tests=\"3\" skipped=\"0\" errors=\"0\" failures=\"2\""),
        "{report}"
    );
    Ok(())
}
