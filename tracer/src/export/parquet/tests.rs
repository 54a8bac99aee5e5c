//! Tests that files are by hour, and that docs/parquet.md has exactly the existing columns.
//! `UPDATE_EXPECT=1` in the environment rewrites its tables.

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::Path,
};

use expect_test::expect_file;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tracer_core::journal::View as _;

use super::{BY_TIME, Parquet, column::Column, owners, points};
use crate::{
    export::output::Output,
    view::fixtures::{all, started, summary},
};

const DOCUMENT: &str = "../docs/parquet.md";

fn table(name: &str, columns: &[Column]) -> String {
    let mut text =
        format!("<!-- table: {name} -->\n\n| column | type | meaning |\n|---|---|---|\n");
    for column in columns {
        let optional = if column.optional { ", or null" } else { "" };
        writeln!(
            text,
            "| `{}` | {}{optional} | {} |",
            column.name,
            column.shape.name(),
            column.meaning
        )
        .expect("memory takes what is written");
    }
    text
}

#[test]
fn every_column_is_documented() {
    let tables = BY_TIME.into_iter();
    let tables = tables.chain([("points", points::COLUMNS), ("owners", owners::COLUMNS)]);
    let mut document = fs::read_to_string(DOCUMENT).expect("the documentation");
    for (name, columns) in tables {
        let begin = document.find(&format!("<!-- table: {name} -->"));
        let begin = begin.unwrap_or_else(|| panic!("no table {name}"));
        let length = document[begin..].find("\n\n#").map(|end| end + 1);
        let end = length.map_or(document.len(), |length| begin + length);
        document.replace_range(begin..end, &table(name, columns));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    expect_file![path].assert_eq(&document);
}

/// Number of rows and of row groups in a file.
fn counted(path: &Path) -> (usize, usize) {
    let file = File::open(path).expect("a file");
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    let groups = builder.metadata().num_row_groups();
    let rows = builder.build().expect("readable").map(|batch| {
        let batch = batch.expect("a batch");
        batch.num_rows()
    });
    (rows.sum(), groups)
}

/// More rows than a batch takes, in any order, are in the files of their hours.
#[test]
fn rows_are_in_the_folders_of_their_hours() {
    const HOUR: i64 = 3_600_000_000_000;
    const MANY: i64 = 10_000;
    let case = all().into_iter().find(|case| case.name == "ping");
    let case = case.expect("a case of this name");
    let scene = &case.scene;
    let (journey, verdict, parts) = &case.journeys[0];
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tables");
    let mut output = Output::folder_at(&path).expect("a new folder");
    let mut view = Parquet::new(&output);
    view.started(scene, &started(scene)).expect("memory");
    let begin = journey.start().div_euclid(HOUR) * HOUR;
    for number in 0..MANY {
        let mut journey = journey.clone();
        // Each hour gets the same number of journeys, the later hours first.
        let hour = 2 - number % 3;
        let late = begin + hour * HOUR - journey.start() + (MANY - number);
        for step in &mut journey.steps {
            step.time += late;
        }
        view.journey(scene, &journey, verdict, parts).expect("room");
    }
    let sums = summary(scene, &case.journeys);
    view.summary(scene, &sums, None).expect("a disk with room");
    assert!(!path.exists(), "it is not complete");
    output.publish().expect("a name");

    for (table, each) in [("journeys", 1), ("hops", journey.steps.len())] {
        let mut folders: Vec<_> = fs::read_dir(path.join(table))
            .expect("a table")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        folders.sort();
        assert_eq!(folders.len(), 3, "{folders:?}");
        let rows = folders.iter().map(|hour| {
            let (rows, groups) = counted(&hour.join("part-0.parquet"));
            assert_eq!(groups, 1);
            rows / each
        });
        assert_eq!(rows.collect::<Vec<_>>(), [3333, 3333, 3334]);
    }
    let (points, _) = counted(&path.join("points/part-0.parquet"));
    let all = scene.nodes.iter().map(|hello| hello.points.len());
    assert_eq!(points, all.sum::<usize>());
}
