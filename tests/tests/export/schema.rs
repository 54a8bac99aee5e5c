//! The output of `tracer schema`, checked against lines and documents of recordings.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tracer_tests::program::run;

use crate::{fixture, printed};

#[test]
fn lines_of_recordings_are_as_their_schemas_say() -> Result<()> {
    let schema: Value = serde_json::from_str(&printed(&["schema"])?)?;
    let of_any = jsonschema::validator_for(&schema)?;
    let schema: Value = serde_json::from_str(&printed(&["schema", "tracer.journey/2"])?)?;
    let of_journeys = jsonschema::validator_for(&schema)?;
    for name in [
        "accept-backlog-full-4",
        "clean",
        "fdb-other-node-4",
        "iptables-policy-forward-far-drop-4",
        "middle-loses-large-6",
        "nft-forward-far-drop-4",
        "pod-restarts",
        "udp-receive-buffer-full-4",
        "wiring-redirect-peer-clean",
    ] {
        let mut journeys = 0;
        for line in printed(&["replay", "-o", "json", &fixture(name)])?.lines() {
            let line: Value = serde_json::from_str(line)?;
            let kind = line["schema"].as_str().context("a name")?;
            if let Some(wrong) = of_any.iter_errors(&line).next() {
                anyhow::bail!("{name}: {wrong:?}");
            }
            let is_journey = kind == "tracer.journey/2";
            ensure!(of_journeys.is_valid(&line) == is_journey, "{line}");
            journeys += u32::from(is_journey);
        }
        ensure!(journeys > 0, "{name}");
    }
    Ok(())
}

#[test]
fn documents_of_recordings_are_as_their_schemas_say() -> Result<()> {
    let recordings = ["clean", "nft-forward-far-drop-4", "udp-no-listener-4"];
    for (kind, args) in [
        ("tracer.stats/1", &["stats"][..]),
        ("tracer.stats/1", &["stats", "--group-by", "pod,leg,reason"]),
        ("tracer.stats/1", &["stats", "--where", "verdict:dropped"]),
        ("tracer.contents/1", &["show"]),
    ] {
        let schema: Value = serde_json::from_str(&printed(&["schema", kind])?)?;
        let validator = jsonschema::validator_for(&schema)?;
        for name in recordings {
            let recording = fixture(name);
            let args = [args, &["-o", "json", &recording]].concat();
            let document: Value = serde_json::from_str(&printed(&args)?)?;
            if let Some(wrong) = validator.iter_errors(&document).next() {
                anyhow::bail!("{args:?}: {wrong:?}");
            }
            ensure!(document["schema"] == kind, "{document}");
        }
    }
    Ok(())
}

#[test]
fn a_kind_of_lines_that_there_is_not_is_refused() -> Result<()> {
    let ended = run(["schema", "tracer.journey/1"])?;
    ensure!(ended.status.code() == Some(2), "{}", ended.stderr);
    ensure!(
        ended.stderr.contains("tracer.journey/2"),
        "{}",
        ended.stderr
    );
    ensure!(ended.stderr.lines().count() == 1, "{}", ended.stderr);
    Ok(())
}
