//! Other programs read a recording without tracer: pyarrow, and DuckDB with pyarrow.

use std::env;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use serde_json::Value;
use tracer_tests::process;
use tracer_tests::{Lab, LabSpec};

use crate::{Recorder, mixed_traffic, printed};

/// The variable that names a Python with pyarrow and DuckDB.
const PYTHON: &str = "TRACER_PYTHON";

/// The output of a Python program on a file.
fn python(program: &str, file: &str) -> Result<String> {
    let python = env::var(PYTHON).with_context(|| {
        format!("{PYTHON} names a Python with pyarrow and duckdb: `cargo xtask test` provides it")
    })?;
    let mut command = process::command(&python);
    command.args(["-c", program, file]);
    process::run(&mut command, "")
}

/// The whole content of a recording, as text.
pub(crate) fn dump(file: &str) -> Result<String> {
    python(
        "import sys, pyarrow as pa\n\
         stream = pa.ipc.open_stream(sys.argv[1])\n\
         print(stream.schema.metadata)\n\
         for batch in stream:\n    print(batch.drop_columns(['time']).to_pylist())\n",
        file,
    )
}

#[test]
fn pyarrow_and_duckdb_read_it() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let file = lab.directory()?.join("a.arrows").display().to_string();
    let recorder = Recorder::start(&lab, "a", &[0, 1], &["record", "-w", &file])?;
    mixed_traffic(&lab)?;
    recorder.end(Signal::SIGINT)?;
    let contents: Value = serde_json::from_str(&printed(&["show", "-o", "json", &file])?)?;
    let counted = python(
        "import sys, json, pyarrow as pa, duckdb\n\
         trace = pa.ipc.open_stream(sys.argv[1]).read_all()\n\
         assert trace.schema.metadata[b'tracer.schema'] == b'tracer.trace/2'\n\
         assert 'nodes' in json.loads(trace.schema.metadata[b'tracer.head'])\n\
         rows = duckdb.sql(\"select node, count(*) as hops, max(tcp_len) as longest \"\n\
             \"from trace where record = 'hop' group by node order by node\").fetchall()\n\
         print(json.dumps(rows))\n",
        &file,
    )?;
    let counted: Value = serde_json::from_str(&counted)?;
    for (row, node) in [
        (&counted[0], &contents["nodes"][0]),
        (&counted[1], &contents["nodes"][1]),
    ] {
        assert_eq!(row[0], node["node"]);
        assert_eq!(row[1], node["hops"]);
        assert!(row[2].as_u64() > Some(1000), "{row}");
    }
    Ok(())
}
