//! Exports that `tracer import` reads back.

use std::fs;

use anyhow::{Result, ensure};
use tracer_tests::program::run;

use crate::{export, fixture, folder, journeys, printed};

/// Recordings with drops and their facts, other tunnels, points that come and go, and
/// translations.
const RECORDINGS: &[&str] = &[
    "clean",
    "middle-loses-large-4",
    "nft-forward-far-drop-4",
    "pod-restarts",
    "udp-no-listener-6",
    "wiring-calicodualstack-clean",
    "wiring-geneve-clean",
    "wiring-service-nftables-clean",
];

#[test]
fn an_export_becomes_the_recording_that_it_was_made_of() -> Result<()> {
    for name in RECORDINGS {
        let recording = fixture(name);
        let folder = folder()?;
        let capture = export(&folder, &recording, &["--format", "pcapng"])?;
        let capture = capture.display().to_string();
        let again = folder.path().join("again.arrows").display().to_string();
        printed(&["import", &capture, "-o", &again])?;
        let replayed = |file: &str| printed(&["replay", "-o", "json", file]);
        ensure!(replayed(&recording)? == replayed(&again)?, "{name}");
        ensure!(fs::read(&recording)? == fs::read(&again)?, "{name}");
        let piped = run(["import", &capture])?;
        ensure!(piped.status.success(), "{}", piped.stderr);
    }
    Ok(())
}

#[test]
fn an_export_of_several_recordings_becomes_as_many() -> Result<()> {
    let folder = folder()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let recordings = ["clean-first-node", "clean-second-node"].map(fixture);
    let [one, other] = &recordings;
    let capture = path("both.pcapng");
    printed(&["export", one, other, "-f", "pcapng", "-o", &capture])?;
    printed(&["import", &capture, "-o", &path("again.arrows")])?;
    let again = [path("again.arrows"), path("again.1.arrows")];
    for (one, other) in recordings.iter().zip(&again) {
        ensure!(fs::read(one)? == fs::read(other)?, "{other}");
    }
    let refused = run(["import", &capture, "-o", &again[0]])?;
    ensure!(refused.status.code() == Some(1));
    ensure!(
        refused.stderr.contains("again.1.arrows is there already"),
        "{}",
        refused.stderr
    );
    let refused = run(["import", &capture])?;
    ensure!(
        refused.stderr.contains("carries 2 recordings"),
        "{}",
        refused.stderr
    );
    Ok(())
}

/// An export of a part has packets only, which are imported like any capture.
#[test]
fn of_a_selection_packets_are_imported_as_those_of_any_capture() -> Result<()> {
    let folder = folder()?;
    let recording = fixture("clean");
    let args = ["--format", "pcapng", "--where", "proto:icmp"];
    let capture = export(&folder, &recording, &args)?;
    let again = folder.path().join("again.arrows").display().to_string();
    printed(&["import", &capture.display().to_string(), "-o", &again])?;
    let ways = |file: &str| -> Result<Vec<String>> {
        let journeys = journeys(file)?.into_iter();
        let of = journeys.filter(|journey| journey["packet"]["proto"] == "icmp");
        let way = of.map(|journey| {
            let hops = journey["hops"].as_array().into_iter().flatten();
            let points = hops.map(|hop| {
                format!(
                    "{} {} {} {}",
                    hop["node"], hop["interface"], hop["direction"], hop["time"]
                )
            });
            points.collect::<Vec<_>>().join(", ")
        });
        let mut ways: Vec<_> = way.collect();
        ways.sort();
        Ok(ways)
    };
    let (before, after) = (ways(&recording)?, ways(&again)?);
    ensure!(
        !before.is_empty() && before == after,
        "{before:#?}\n{after:#?}"
    );
    Ok(())
}

#[test]
fn what_was_cut_off_with_the_recording_is_a_capture_like_others() -> Result<()> {
    let folder = folder()?;
    let capture = export(&folder, &fixture("clean"), &["--format", "pcapng"])?;
    let bytes = fs::read(&capture)?;
    fs::write(&capture, &bytes[..bytes.len() - 100])?;
    let again = folder.path().join("again.arrows").display().to_string();
    let ended = run(["import", &capture.display().to_string(), "-o", &again])?;
    ensure!(ended.status.success(), "{}", ended.stderr);
    ensure!(
        ended.stderr.contains("ends in the middle"),
        "{}",
        ended.stderr
    );
    ensure!(!journeys(&again)?.is_empty());
    Ok(())
}
