//! Bundles, unpacked by tar and read with ordinary programs.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tracer_tests::{
    Process, process,
    program::{LIMIT, binary, run},
};

use crate::{fixture, folder, journeys, names, printed, python};

/// The files in a bundle of one recording.
const INSIDE: [&str; 6] = [
    "README.txt",
    "contents.txt",
    "nodes.json",
    "recordings",
    "summary.txt",
    "trace.html",
];

/// Makes a bundle of recordings, unpacks it, and returns its folder.
fn unpacked(folder: &TempDir, recordings: &[&str], args: &[&str]) -> Result<PathBuf> {
    let out = folder.path().join("ticket.tar.zst").display().to_string();
    let ended = run([&["bundle"], recordings, &["-o", &out], args].concat())?;
    ensure!(ended.status.success(), "{recordings:?}: {}", ended.stderr);
    ensure!(ended.stderr.is_empty(), "{}", ended.stderr);
    ensure!(names(folder.path())? == ["ticket.tar.zst"]);
    let mut tar = process::command("tar");
    tar.args(["--zstd", "-xf", &out]).current_dir(folder.path());
    let unpacked = Process::start(&mut tar, "")?.finish(LIMIT)?;
    ensure!(unpacked.status.success(), "{}", unpacked.stderr);
    // tar would warn of a file from 1970, for example.
    ensure!(unpacked.stderr.is_empty(), "{}", unpacked.stderr);
    Ok(folder.path().join("ticket"))
}

#[test]
fn a_bundle_has_all_that_was_recorded_and_what_it_shows() -> Result<()> {
    for recordings in [
        &["nft-forward-far-drop-4"][..],
        &["clean-first-node", "clean-second-node"],
    ] {
        let folder = folder()?;
        let originals: Vec<String> = recordings.iter().map(|name| fixture(name)).collect();
        let originals: Vec<&str> = originals.iter().map(String::as_str).collect();
        let inside = unpacked(&folder, &originals, &[])?;
        ensure!(names(&inside)? == INSIDE, "{:?}", names(&inside)?);
        let readme = fs::read_to_string(inside.join("README.txt"))?;
        for name in INSIDE {
            ensure!(name == "README.txt" || readme.contains(name), "{readme}");
        }
        ensure!(readme.lines().all(|line| line.chars().count() < 120));

        let mut copies = Vec::new();
        for (number, original) in (1..).zip(&originals) {
            let name = format!("recordings/{number}.arrows");
            let was = Path::new(original).file_name().context("a name")?;
            let was = format!("{name} (was {})", was.display());
            ensure!(readme.contains(&was), "{readme}");
            let copy = inside.join(&name);
            ensure!(fs::read(&copy)? == fs::read(original)?);
            copies.push(copy.display().to_string());
        }
        let copies: Vec<&str> = copies.iter().map(String::as_str).collect();
        let replay = |files: &[&str]| printed(&[&["replay", "-o", "json"], files].concat());
        ensure!(replay(&copies)? == replay(&originals)?);

        let page = folder.path().join("page.html").display().to_string();
        printed(&[&["export", "-f", "html", "-o", &page], &originals[..]].concat())?;
        ensure!(fs::read(inside.join("trace.html"))? == fs::read(page)?);

        // The summary is the end of a replay's output.
        let sums = fs::read_to_string(inside.join("summary.txt"))?;
        let text = printed(&[&["replay", "-o", "text", "--utc"], &originals[..]].concat())?;
        let end = sums.lines().last().context("a line")?;
        ensure!(text.trim_end().ends_with(end), "{sums}");
        ensure!(!sums.contains("#1 "), "{sums}");

        let contents = fs::read_to_string(inside.join("contents.txt"))?;
        let nodes: Value = serde_json::from_str(&fs::read_to_string(inside.join("nodes.json"))?)?;
        for (number, original) in (1..).zip(&originals) {
            let shown: Value = serde_json::from_str(&printed(&["show", "-o", "json", original])?)?;
            let name = format!("recordings/{number}.arrows");
            ensure!(contents.contains(&name), "{contents}");
            for node in shown["nodes"].as_array().context("nodes")? {
                let said = nodes[&name].as_array().context("a recording's nodes")?;
                ensure!(
                    said.iter().any(|hello| hello["node"] == node["node"]),
                    "{nodes}"
                );
                ensure!(contents.contains(node["node"].as_str().context("a name")?));
            }
        }
    }
    Ok(())
}

/// Keys of JSON whose values are names or addresses.
const NAMING: &[&str] = &[
    "address",
    "addresses",
    "dst",
    "dst_mac",
    "dst_pod",
    "dst_service",
    "from",
    "gateway",
    "interface",
    "name",
    "netns",
    "node",
    "outer_dst",
    "outer_src",
    "sender_mac",
    "src",
    "src_mac",
    "src_pod",
    "src_service",
    "target",
    "target_mac",
    "to",
    "follow",
];

/// The names and addresses in tracer's output on a recording.
fn originals(value: &Value, key: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if NAMING.contains(&key) => {
            found.insert(text.clone());
            // The name in `namespace/name`.
            if let Some((_, name)) = text.split_once('/')
                && name.contains('-')
            {
                found.insert(name.to_owned());
            }
        }
        Value::Array(all) => all.iter().for_each(|value| originals(value, key, found)),
        Value::Object(all) => all
            .iter()
            .for_each(|(key, value)| originals(value, key, found)),
        _ => {}
    }
}

/// Whether a text belongs to nobody in particular, so that anonymizing keeps it.
fn is_nobodys(text: &str) -> bool {
    let mac = text.len() == 17 && text.split(':').all(|byte| byte.len() == 2);
    let group = |text: &str| u8::from_str_radix(text.get(..2).unwrap_or(""), 16);
    ["host", "lo", "::", "0.0.0.0", "", "-"].contains(&text)
        || (mac && group(text).is_ok_and(|first| first & 1 == 1))
        || text == "00:00:00:00:00:00"
}

/// Prints the whole content of a recording as text.
const DUMP: &str = "
import sys, pyarrow as pa
stream = pa.ipc.open_stream(sys.argv[1])
print(stream.schema.metadata)
for batch in stream:
    print(batch.drop_columns(['time']).to_pylist())
";

#[test]
fn of_an_anonymized_one_no_file_names_anybody() -> Result<()> {
    for name in [
        "nft-forward-far-drop-4",
        "service-stale-entry-6",
        "wiring-calicodualstack-clean",
    ] {
        let recording = fixture(name);
        let mut known = BTreeSet::new();
        for args in [["replay", "-o", "json"], ["show", "-o", "json"]] {
            for line in printed(&[&args[..], &[&recording]].concat())?.lines() {
                originals(&serde_json::from_str(line)?, "", &mut known);
            }
        }
        known.retain(|name| !is_nobodys(name));
        ensure!(known.len() > 20, "{known:?}");

        let folder = folder()?;
        let inside = unpacked(&folder, &[&recording], &["--anonymize"])?;
        ensure!(names(&inside)? == INSIDE);
        let copy = inside.join("recordings/1.arrows").display().to_string();
        let mut texts = vec![
            printed(&["replay", "-o", "json", &copy])?,
            printed(&["show", &copy])?,
            python(DUMP, &[&copy], Path::new("."))?,
        ];
        for file in INSIDE.iter().filter(|file| **file != "recordings") {
            texts.push(fs::read_to_string(inside.join(file))?);
        }
        // Neither the recording nor the list tells the original name of the file.
        known.insert(format!("{name}.arrows"));
        for text in &texts {
            for name in &known {
                let at = text.find(name.as_str());
                let around = at.map(|at| &text[at.saturating_sub(60)..(at + 60).min(text.len())]);
                ensure!(at.is_none(), "{recording}: {name} in {around:?}");
            }
        }

        let of = |recording: &str| -> Result<Vec<[Value; 4]>> {
            let journeys = journeys(recording)?.into_iter();
            let told = journeys.map(|journey| {
                let verdict = &journey["verdict"];
                let hops = journey["hops"].as_array().map_or(0, Vec::len);
                [
                    journey["id"].clone(),
                    journey["time"].clone(),
                    verdict["kind"].clone(),
                    hops.into(),
                ]
            });
            Ok(told.collect())
        };
        ensure!(of(&copy)? == of(&recording)?, "{name}");
    }
    Ok(())
}

#[test]
fn what_will_not_do_is_told_and_leaves_nothing() -> Result<()> {
    let folder = folder()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut damaged = fs::read(fixture("pod-restarts"))?;
    let middle = damaged.len() * 3 / 4;
    damaged[middle..middle + 64].fill(0xff);
    fs::write(path("bad.arrows"), damaged)?;
    fs::write(path("out"), "yesterday's")?;
    let (out, bad) = (path("out"), path("bad.arrows"));
    let attach = format!("{bad} is damaged");
    let (one, other) = (fixture("clean-first-node"), fixture("clean-second-node"));
    for (args, code, told) in [
        (&[&*one][..], 2, "--output <OUT>"),
        (&["-o", &out], 2, "<FILE>"),
        (&[&bad, "-o", &out], 1, &attach),
        (
            &[&bad, "--anonymize", "-o", &out],
            1,
            "attach the file itself",
        ),
        (
            &["/dev/null", "-o", &out],
            1,
            "/dev/null is empty: nothing was recorded",
        ),
        (&[&*one, "/nowhere", "-o", &out], 1, "cannot read /nowhere"),
        (
            &[&*one, &*other, "--anonymize", "-o", &out],
            1,
            "make a bundle of each, or leave out --anonymize",
        ),
        (
            &[&*one, "-o", "/nowhere/at/all"],
            1,
            "cannot write /nowhere/at/all",
        ),
    ] {
        let ended = run([&["bundle"], args].concat())?;
        ensure!(
            ended.status.code() == Some(code),
            "{args:?}: {}",
            ended.stderr
        );
        ensure!(ended.stderr.contains(told), "{args:?}: {}", ended.stderr);
        ensure!(ended.stderr.lines().count() == 1, "{}", ended.stderr);
        ensure!(ended.stdout.is_empty(), "{args:?}");
        ensure!(fs::read_to_string(&out)? == "yesterday's", "{args:?}");
        ensure!(names(folder.path())? == ["bad.arrows", "out"], "{args:?}");
    }

    // A limit on the size of files imitates a full disk.
    for args in [&["--anonymize"][..], &[]] {
        let mut command = process::command("bash");
        let script = "trap '' XFSZ; ulimit -f 16; exec \"$@\"";
        command.args(["-c", script, "bash"]).arg(binary()?);
        command
            .args(["bundle", &fixture("clean"), "-o", &out])
            .args(args);
        let ended = Process::start(&mut command, "")?.finish(LIMIT)?;
        ensure!(ended.status.code() == Some(1), "{}", ended.stderr);
        let told = format!("tracer: cannot write {out}: File too large");
        ensure!(ended.stderr.starts_with(&told), "{}", ended.stderr);
        ensure!(fs::read_to_string(&out)? == "yesterday's");
        ensure!(names(folder.path())? == ["bad.arrows", "out"]);
    }
    Ok(())
}

#[test]
fn a_recording_that_was_cut_off_stays_so() -> Result<()> {
    let recording = fs::read(fixture("pod-restarts"))?;
    for args in [&[][..], &["--anonymize"]] {
        let folder = folder()?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("cut.arrows"), &recording[..recording.len() * 2 / 3])?;
        let (cut, out) = (path("cut.arrows"), path("t.tar.zst"));
        let ended = run([&["bundle", &cut, "-o", &out], args].concat())?;
        ensure!(ended.status.success(), "{}", ended.stderr);
        ensure!(
            ended.stderr.contains("ends in the middle"),
            "{}",
            ended.stderr
        );
        let mut tar = process::command("tar");
        tar.args(["--zstd", "-xf", &out]).current_dir(folder.path());
        process::run(&mut tar, "")?;
        let contents = fs::read_to_string(folder.path().join("t/contents.txt"))?;
        ensure!(contents.contains("incomplete: the recorder"), "{contents}");
    }
    Ok(())
}
