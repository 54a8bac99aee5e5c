//! The names of Services, which are no pods and on no node.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tracer_tests::{
    process,
    program::{binary, run},
};

use crate::{export, fixture, folder, journeys, python};

/// Recordings of packets through a Service: to its virtual address, and translated back from it.
const RECORDINGS: [&str; 3] = [
    "service-stale-entry-6",
    "wiring-dns-service",
    "wiring-service-nftables-clean",
];

/// The virtual address of a Service, and its name.
fn service(recording: &str) -> Result<(String, String)> {
    let journeys = journeys(recording)?;
    let found = journeys.iter().find_map(|journey| {
        let of = |end: &str| {
            let name = journey[format!("{end}_service")].as_str()?;
            Some((journey["packet"][end].as_str()?.to_owned(), name.to_owned()))
        };
        of("dst").or_else(|| of("src"))
    });
    found.context("a journey to or from a Service")
}

#[test]
fn captures_have_the_names_of_services() -> Result<()> {
    for name in RECORDINGS {
        let recording = fixture(name);
        let (address, service) = service(&recording)?;
        let folder = folder()?;
        let file = export(&folder, &recording, &["--format", "pcapng"])?;
        let stream = folder.path().join("stream.pcapng");
        let mut command = process::command(&binary()?.display().to_string());
        command.args(["replay", &recording, "-o", "pcapng"]);
        let ended = command.stdout(fs::File::create(&stream)?).status()?;
        ensure!(ended.success());
        for capture in [file, stream] {
            let mut command = process::command("tshark");
            command.arg("-r").arg(&capture).args(["-q", "-z", "hosts"]);
            let hosts = process::run(&mut command, "")?;
            let line = format!("{address}\t{service}");
            ensure!(hosts.lines().any(|host| host == line), "{line} in {hosts}");
        }
    }
    Ok(())
}

#[test]
fn pages_have_the_names_of_services() -> Result<()> {
    for name in RECORDINGS {
        let recording = fixture(name);
        let (address, service) = service(&recording)?;
        let folder = folder()?;
        let page = fs::read_to_string(export(&folder, &recording, &["-f", "html"])?)?;
        // The list of names, and the ends of the journeys.
        for text in [
            format!("\"{address}  {service}\""),
            format!("\"Service {service} ({address})\""),
        ] {
            ensure!(page.contains(&text), "{name}: {text}");
        }
    }
    Ok(())
}

#[test]
fn tables_have_the_names_of_services() -> Result<()> {
    const PROGRAM: &str = "
import duckdb, json, sys
print(json.dumps(duckdb.sql(\"\"\"
    select address, name, kind from 'out/owners/*.parquet'\"\"\").fetchall()))";

    for name in RECORDINGS {
        let recording = fixture(name);
        let (address, service) = service(&recording)?;
        let folder = folder()?;
        export(&folder, &recording, &["-f", "parquet"])?;
        let owners: Value = serde_json::from_str(&python(PROGRAM, &[], folder.path())?)?;
        let owners = owners.as_array().context("rows")?;
        let is_it = |row: &&Value| row[0] == address && row[1] == service;
        let kind = &owners.iter().find(is_it).context("the Service")?[2];
        ensure!(
            kind == "service" || kind == "unserved" || kind == "empty",
            "{kind}"
        );
    }
    Ok(())
}

/// The lines of an export are those of a replay, which name each journey's Services.
#[test]
fn lines_have_the_names_of_services() -> Result<()> {
    for name in RECORDINGS {
        let recording = fixture(name);
        let (_, service) = service(&recording)?;
        let ended = run(["export", &recording, "-f", "jsonl"])?;
        ensure!(ended.status.success(), "{}", ended.stderr);
        let named = ["src", "dst"].map(|end| format!("\"{end}_service\":\"{service}\""));
        ensure!(
            named.iter().any(|text| ended.stdout.contains(text)),
            "{name}"
        );
    }
    Ok(())
}
