//! Flows that must or must not pass, compared with recordings with a drop and without.

use std::fs;

use anyhow::{Result, ensure};
use tracer_tests::{process::Finished, program::run};

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
