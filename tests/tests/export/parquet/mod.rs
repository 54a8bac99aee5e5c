//! Tables, read by pyarrow and DuckDB.

// The expected rows.
mod expected;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tracer_tests::{
    Process, process,
    program::{LIMIT, binary, run},
};

use self::expected::{agree, drop, ends, hop, judged, ns, objects, same};
use crate::{export, fixture, folder, journeys, names, printed, python};

/// Recordings of each kind of header and tunnel, of drops, and of translations.
const RECORDINGS: &[&str] = &[
    "clean",
    "nft-forward-far-drop-4",
    "pod-restarts",
    "service-hairpin-off-4",
    "service-snat-clash-6",
    "ttl-far-6",
    "udp-no-listener-4",
    "wiring-calicodualstack-clean",
    "wiring-ipinv6-clean",
    "wiring-uplinks-vlan-clean",
];

/// Prints each row of the tables as JSON, with times as nanoseconds of Unix time.
const ROWS: &str = r#"
import json, sys
import pyarrow as pa, pyarrow.dataset as ds
for table in ["hops", "journeys", "drops", "points", "owners"]:
    data = ds.dataset(f"{sys.argv[1]}/{table}", partitioning="hive").to_table()
    for at, field in enumerate(data.schema):
        if pa.types.is_timestamp(field.type):
            assert field.type == pa.timestamp("ns", "UTC"), field
            data = data.set_column(at, field.name, data[field.name].cast(pa.int64()))
    for row in data.to_pylist():
        print(json.dumps([table, row]))
"#;

type Rows = BTreeMap<String, Vec<Value>>;

/// The rows of each table, as pyarrow reads them.
fn rows(tables: &Path) -> Result<Rows> {
    let mut rows = Rows::new();
    let printed = python(ROWS, &[tables.to_str().context("text")?], tables)?;
    for line in printed.lines() {
        let (table, row): (String, Value) = serde_json::from_str(line)?;
        rows.entry(table).or_default().push(row);
    }
    Ok(rows)
}

#[test]
fn each_row_is_what_a_replay_shows_and_none_is_missing() -> Result<()> {
    let (mut drops, mut translations) = (0, 0);
    for name in RECORDINGS {
        let recording = fixture(name);
        let folder = folder()?;
        let tables = export(&folder, &recording, &["-f", "parquet"])?;
        let mut read = rows(&tables)?;
        let mut table = |name: &str| read.remove(name).unwrap_or_default();
        let all: BTreeMap<u64, Value> = journeys(&recording)?
            .into_iter()
            .map(|journey| (journey["id"].as_u64().unwrap_or_default(), journey))
            .collect();
        let of = |row: &Value| row["journey"].as_u64().and_then(|id| all.get(&id));

        let rows = table("journeys");
        ensure!(rows.len() == all.len(), "{name}: {} journeys", rows.len());
        for row in &rows {
            let journey = of(row).context("a journey")?;
            agree(row, &judged(journey)?).with_context(|| format!("{name} {journey}"))?;
            objects(&row["evidence"], &journey["verdict"]["evidence"])?;
            let decided = row["drop"].as_u64().map(|number| number - 1);
            let decided = decided.and_then(|at| journey["drops"].get(usize::try_from(at).ok()?));
            ensure!(decided.unwrap_or(&Value::Null) == &journey["verdict"]["drop"]);
        }

        let points = table("points");
        let number = |row: &Value, key: &str| {
            let number = row[key].as_u64().context("a number")?;
            usize::try_from(number - 1).context("a small one")
        };
        for (index, point) in points.iter().enumerate() {
            ensure!(number(point, "point")? == index);
        }
        let started = printed(&["replay", "-o", "json", &recording])?;
        let started: Value = serde_json::from_str(started.lines().next().context("a line")?)?;
        for point in started["points"].as_array().context("points")? {
            let keys = [
                "node",
                "netns",
                "interface",
                "direction",
                "role",
                "kind",
                "addresses",
            ];
            let expected = Value::Object(same(point, &keys.map(|key| (key, key))));
            ensure!(
                points.iter().any(|row| agree(row, &expected).is_ok()),
                "{point}"
            );
        }

        let rows = table("hops");
        let hops = all
            .values()
            .map(|journey| journey["hops"].as_array().map_or(0, Vec::len));
        ensure!(
            rows.len() == hops.sum::<usize>(),
            "{name}: {} hops",
            rows.len()
        );
        ensure!(rows.is_sorted_by_key(|row| row["time"].as_i64()), "{name}");
        for row in &rows {
            let journey = of(row).context("a journey")?;
            let at = number(row, "hop")?;
            let expected = hop(journey, at, &ends(journey)?[at])?;
            agree(row, &expected).with_context(|| format!("{name} {journey}"))?;
            let point = &points[number(row, "point")?];
            let place = ["node", "netns", "interface", "direction", "role"];
            agree(
                row,
                &Value::Object(same(point, &place.map(|key| (key, key)))),
            )?;
            let changes = row["translations"].as_array().context("a list")?.len();
            let told = journey["hops"][at]["translations"]
                .as_array()
                .map_or(0, Vec::len);
            ensure!(changes == told, "{row}");
            translations += changes;
        }

        let rows = table("drops");
        let told = all
            .values()
            .map(|journey| journey["drops"].as_array().map_or(0, Vec::len));
        ensure!(
            rows.len() == told.sum::<usize>(),
            "{name}: {} drops",
            rows.len()
        );
        ensure!(rows.is_sorted_by_key(|row| row["time"].as_i64()), "{name}");
        for row in &rows {
            let journey = of(row).context("a journey")?;
            let at = number(row, "drop")?;
            let expected = drop(&journey["drops"][at])?;
            agree(row, &expected).with_context(|| format!("{name} {journey}"))?;
            objects(&row["facts"], &journey["drops"][at]["facts"])?;
            let verdict = &journey["verdict"]["drop"];
            ensure!(
                row["decided"] != true || *verdict == journey["drops"][at],
                "{row}"
            );
        }
        drops += rows.len();

        let owners = table("owners");
        for journey in all.values() {
            for end in ["src", "dst"] {
                let pod = &journey[format!("{end}_pod")];
                let held =
                    |row: &Value| row["name"] == *pod && row["address"] == journey["packet"][end];
                ensure!(pod.is_null() || owners.iter().any(held), "{name}: {pod}");
            }
        }
        ensure!(!owners.is_empty(), "{name}");

        let summary: Value =
            serde_json::from_str(&fs::read_to_string(tables.join("summary.json"))?)?;
        let replayed = printed(&["replay", "-o", "json", &recording])?;
        let replayed: Value = serde_json::from_str(replayed.lines().last().context("a line")?)?;
        ensure!(summary == replayed, "{name}");
    }
    ensure!(
        drops > 0 && translations > 0,
        "{drops} drops, {translations} translations"
    );
    Ok(())
}

/// The code blocks of a language in docs/parquet.md.
fn documented(language: &str) -> Result<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/parquet.md");
    let document = fs::read_to_string(path)?;
    let fence = format!("```{language}\n");
    let mut blocks = document.split(&fence);
    blocks.next();
    let blocks = blocks.map(|block| block.split("```").next().unwrap_or_default().to_owned());
    Ok(blocks.collect())
}

/// Runs queries, and prints the rows of each as JSON.
const QUERIES: &str = r"
import duckdb, json, sys
print(json.dumps([duckdb.sql(query).fetchall() for query in sys.argv[1:]], default=str))
";

#[test]
fn the_documented_queries_are_answered() -> Result<()> {
    let queries = documented("sql")?;
    ensure!(queries.len() > 5, "{queries:?}");
    let mut empty: BTreeSet<&str> = queries.iter().map(String::as_str).collect();
    for name in ["udp-no-listener-4", "nft-forward-far-drop-4"] {
        let folder = folder()?;
        let recording = fixture(name);
        let out = folder.path().join("trace").display().to_string();
        let ended = run(["export", &recording, "-f", "parquet", "-o", &out])?;
        ensure!(ended.status.success(), "{}", ended.stderr);
        let journeys = journeys(&recording)?;
        let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
        let answers = python(QUERIES, &queries, folder.path())?;
        let answers: Vec<Vec<Value>> = serde_json::from_str(&answers)?;
        for (query, answer) in queries.into_iter().zip(&answers) {
            if !answer.is_empty() {
                empty.remove(query);
            }
        }
        // The first query counts journeys by verdict and cause.
        for row in &answers[0] {
            let same = |journey: &&Value| {
                let verdict = &journey["verdict"];
                row[0] == verdict["kind"] && row[1] == verdict["cause"]
            };
            ensure!(row[2] == journeys.iter().filter(same).count(), "{row}");
        }
        // The second query counts journeys that a drop decided, by place and reason.
        let decided = journeys.iter();
        let decided = decided.filter(|journey| !journey["verdict"]["drop"].is_null());
        let counted = answers[1].iter();
        let counted = counted.map(|row| row[5].as_u64().unwrap_or_default());
        ensure!(counted.sum::<u64>() == decided.count() as u64);
        // The fourth query names journeys that did not arrive.
        let lost = journeys.iter();
        let lost = lost.filter(|journey| journey["verdict"]["kind"] != "delivered");
        ensure!(answers[3].len() == lost.count(), "{:?}", answers[3]);
    }
    ensure!(empty.is_empty(), "no rows: {empty:?}");
    Ok(())
}

#[test]
fn the_documented_programs_run() -> Result<()> {
    let folder = folder()?;
    let recording = fixture("udp-no-listener-4");
    let out = folder.path().join("trace").display().to_string();
    let ended = run(["export", &recording, "-f", "parquet", "-o", &out])?;
    ensure!(ended.status.success(), "{}", ended.stderr);
    let programs = documented("python")?;
    let mut printed = Vec::new();
    for program in &programs {
        printed.push(python(program, &[], folder.path())?);
    }
    let journeys = journeys(&recording)?;
    let lost = journeys
        .iter()
        .filter(|journey| journey["verdict"]["kind"] != "delivered");
    ensure!(printed[0].lines().count() == lost.count(), "{}", printed[0]);
    let mut times = Vec::new();
    for journey in &journeys {
        for hop in journey["hops"].as_array().context("hops")? {
            times.push(ns(&hop["time"])?);
        }
    }
    times.sort_unstable();
    ensure!(serde_json::from_str::<Value>(&printed[1])? == json!(times));
    Ok(())
}

/// Readers need statistics and compression to be fast.
#[test]
fn files_are_compressed_and_have_statistics() -> Result<()> {
    const LOOK: &str = r#"
import glob, sys
import pyarrow.parquet as pq
for path in glob.glob("*/**/*.parquet", recursive=True):
    file = pq.ParquetFile(path)
    table = path.split("/")[0]
    assert file.metadata.metadata[b"tracer.schema"] == f"tracer.{table}/1".encode(), path
    assert b"tracer.follow" in file.metadata.metadata, path
    assert file.metadata.created_by.startswith("tracer "), path
    for group in range(file.metadata.num_row_groups):
        for column in range(file.metadata.num_columns):
            chunk = file.metadata.row_group(group).column(column)
            assert chunk.compression == "ZSTD", (path, chunk)
            assert chunk.statistics is not None, (path, chunk)
            assert chunk.has_column_index, (path, chunk)
        if table in ("hops", "journeys", "drops"):
            assert file.metadata.row_group(group).sorting_columns, path
    print(path, file.metadata.num_rows)
"#;
    let folder = folder()?;
    let tables = export(
        &folder,
        &fixture("service-stale-entry-4"),
        &["-f", "parquet"],
    )?;
    let printed = python(LOOK, &[], &tables)?;
    ensure!(printed.lines().count() == 5, "{printed}");
    // Without drops, the table still has its columns.
    let drops = printed.lines().find(|line| line.starts_with("drops/hour="));
    ensure!(drops.is_some_and(|line| line.ends_with(" 0")), "{printed}");
    Ok(())
}

#[test]
fn a_query_leaves_out_journeys_with_their_hops() -> Result<()> {
    let folder = folder()?;
    let recording = fixture("ttl-far-6");
    let tables = export(
        &folder,
        &recording,
        &["-f", "parquet", "--where", "verdict:dropped"],
    )?;
    let rows = rows(&tables)?;
    let journeys = journeys(&recording)?;
    let dropped = journeys
        .iter()
        .filter(|journey| journey["verdict"]["kind"] == "dropped");
    let dropped: Vec<&Value> = dropped.collect();
    ensure!(!dropped.is_empty() && dropped.len() < journeys.len());
    ensure!(rows["journeys"].len() == dropped.len());
    let hops = dropped
        .iter()
        .map(|journey| journey["hops"].as_array().map_or(0, Vec::len));
    ensure!(rows["hops"].len() == hops.sum::<usize>());
    Ok(())
}

#[test]
fn nothing_half_written_has_the_final_name() -> Result<()> {
    let folder = folder()?;
    let out = folder.path().join("out").display().to_string();
    let mut damaged = fs::read(fixture("pod-restarts"))?;
    let middle = damaged.len() * 3 / 4;
    damaged[middle..middle + 64].fill(0xff);
    let recording = folder.path().join("bad.arrows").display().to_string();
    fs::write(&recording, damaged)?;
    let ended = run(["export", &recording, "-f", "parquet", "-o", &out])?;
    ensure!(ended.status.code() == Some(1), "{}", ended.stderr);
    ensure!(
        ended.stderr.contains("is damaged at byte"),
        "{}",
        ended.stderr
    );
    let told = "out was not written: -f jsonl writes what comes before";
    ensure!(ended.stderr.contains(told), "{}", ended.stderr);
    ensure!(names(folder.path())? == ["bad.arrows"]);

    // A limit on the size of files imitates a full disk.
    let mut command = process::command("bash");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$@\"", "bash"])
        .arg(binary()?);
    command.args(["export", &fixture("clean"), "-f", "parquet", "-o", &out]);
    let ended = Process::start(&mut command, "")?.finish(LIMIT)?;
    ensure!(ended.status.code() == Some(1), "{}", ended.stderr);
    let told = format!("tracer: cannot write {out}: File too large");
    ensure!(ended.stderr.starts_with(&told), "{}", ended.stderr);
    ensure!(names(folder.path())? == ["bad.arrows"]);
    Ok(())
}
