//! The columns: all documented, and files of which some are not there.

use std::{fs, path::Path};

use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use tracer_core::input::{Batch, Report};

use super::{Files, batches_of, head, read, some_batches};
use crate::store::{
    Head, Rotation, TraceError, Writer,
    table::{self, SCHEMA},
};

/// The file without these columns, as a tracer that does not know them writes
/// it.
fn without(file: &[u8], columns: &[&str]) -> Vec<u8> {
    let mut batches = Vec::new();
    for batch in StreamReader::try_new(file, None).expect("a stream") {
        let batch = batch.expect("rows");
        let schema = batch.schema();
        let kept: Vec<usize> = (0..batch.num_columns())
            .filter(|index| !columns.contains(&schema.field(*index).name().as_str()))
            .collect();
        batches.push(batch.project(&kept).expect("columns that are there"));
    }
    let mut stream = StreamWriter::try_new(Vec::new(), &batches[0].schema()).expect("a schema");
    for batch in &batches {
        stream.write(batch).expect("memory");
    }
    stream.finish().expect("memory");
    stream.into_inner().expect("it is finished")
}

#[test]
fn a_column_that_is_not_there_has_no_values() {
    let files = Files::new();
    let path = files.record("a.arrows", head(), &some_batches());
    let file = fs::read(path).expect("a file");
    let older = without(
        &file,
        &[
            "tcp_tsval",
            "dns",
            "facts",
            "quote_src",
            "scope",
            "sctp_tag",
        ],
    );
    let (events, cut) = read(&older).expect("an older trace");
    assert!(!cut);
    assert_eq!(batches_of(events), some_batches());
    let Err(TraceError::Damaged { what, .. }) = read(&without(&file, &["stream"])) else {
        panic!("rows need that one");
    };
    assert!(what.contains("stream"), "{what}");
}

#[test]
fn a_head_of_an_older_version_has_defaults() {
    let mut json = serde_json::to_value(head()).expect("a head");
    let object = json.as_object_mut().expect("an object");
    for added in ["last", "anonymized"] {
        assert!(object.remove(added).is_some(), "{added}");
    }
    object.insert("later".to_owned(), true.into());
    assert_eq!(
        serde_json::from_value::<Head>(json).expect("a head"),
        head()
    );
    assert_eq!(SCHEMA, "tracer.trace/2");
}

#[test]
fn the_last_batch_has_a_time_that_can_be() {
    let files = Files::new();
    let last = Batch {
        watermark: u64::MAX,
        report: Some(Report {
            time: 77,
            ..Report::default()
        }),
        ..Batch::default()
    };
    let path = files.path("a.arrows");
    let mut writer = Writer::create(&path, Rotation::default()).expect("a new file");
    writer.begin(head()).expect("room");
    writer.batch(0, &last).expect("room");
    writer.end(9).expect("room");
    let file = fs::read(path).expect("a file");
    let rows = StreamReader::try_new(&*file, None)
        .expect("a stream")
        .next();
    let rows = rows.expect("a batch").expect("rows");
    let times = rows.column_by_name("time").expect("a time").to_data();
    let times: &[i64] = times.buffers()[0].typed_data();
    assert_eq!(times, [head().nodes[0].realtime_offset + 77, 9]);
    let (events, _) = read(&file).expect("a trace");
    assert_eq!(batches_of(events), [(0, last)]);
}

#[test]
fn every_column_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/trace.md");
    let text = fs::read_to_string(path).expect("it is in the repository");
    let documented = text.split("<!-- columns -->").nth(1).expect("a table");
    let documented: Vec<(&str, &str)> = documented
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter_map(|(name, rest)| Some((name, rest.split_once(" | ")?.1.strip_suffix(" |")?)))
        .collect();
    let columns = table::columns();
    let columns: Vec<_> = columns
        .iter()
        .map(|(name, _, meaning)| (*name, *meaning))
        .collect();
    assert_eq!(documented, columns);
}
