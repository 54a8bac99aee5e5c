//! The files of a table: a folder for each hour, with a file of row groups of bounded size.

use std::{
    fs::File,
    io::{self, BufWriter},
    path::PathBuf,
    sync::Arc,
};

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, Encoding, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::{KeyValue, SortingColumn},
        properties::WriterProperties,
    },
};

use super::column::{Builder, Column, Shape};
use crate::{export::output::Output, view::Moment};

/// Number of rows that are made into arrays at once.
const BATCH: usize = 4096;
/// Limit of a row group, encoded bytes. The writer holds a row group in memory.
const GROUP: usize = 16 << 20;
/// Limit of a row group, rows.
const GROUP_ROWS: usize = 1 << 17;
const HOUR: i64 = 3_600_000_000_000;

/// Writes a table into files; rows must come in the order of the table.
pub(super) struct Table<'a> {
    output: &'a Output,
    name: &'static str,
    columns: &'static [Column],
    schema: SchemaRef,
    properties: WriterProperties,
    builders: Vec<Builder>,
    /// Number of rows in the builders.
    rows: usize,
    open: Option<(Option<i64>, ArrowWriter<BufWriter<File>>)>,
}

impl<'a> Table<'a> {
    /// Creates a table of this name. Its files have the follow's line in their metadata.
    pub(super) fn new(
        output: &'a Output,
        name: &'static str,
        columns: &'static [Column],
        follow: &str,
    ) -> Self {
        let fields: Vec<_> = columns.iter().map(Column::field).collect();
        let builders = columns.iter().map(|column| Builder::of(column.shape));
        Self {
            output,
            name,
            columns,
            schema: Arc::new(Schema::new(fields)),
            properties: properties(name, columns, follow),
            builders: builders.collect(),
            rows: 0,
            open: None,
        }
    }

    /// Adds a row to the partition of its time, Unix time, ns; `None` for tables without times,
    /// which have one partition.
    ///
    /// # Errors
    /// Errors of the file.
    pub(super) fn push(&mut self, time: Option<i64>, mut row: &[u8]) -> io::Result<()> {
        let hour = time.map(|time| time.div_euclid(HOUR));
        if self.open.as_ref().is_none_or(|(open, _)| *open != hour) {
            self.close()?;
            self.open(hour)?;
        }
        for (builder, column) in self.builders.iter_mut().zip(self.columns) {
            builder.take(column.optional, &mut row)?;
        }
        self.rows += 1;
        if self.rows == BATCH {
            self.flush()?;
        }
        Ok(())
    }

    /// Ends the table. A table without rows gets a file, too, so that readers find its columns.
    ///
    /// # Errors
    /// Errors of the file.
    pub(super) fn end(mut self, time: Option<i64>) -> io::Result<()> {
        if self.open.is_none() {
            let hour = time.map(|time| time.div_euclid(HOUR));
            self.open(hour)?;
        }
        self.close()
    }

    fn open(&mut self, hour: Option<i64>) -> io::Result<()> {
        let mut path = PathBuf::from(self.name);
        if let Some(hour) = hour {
            path.push(partition(hour));
        }
        let file = self.output.file_inside(&path.join("part-0.parquet"))?;
        let properties = Some(self.properties.clone());
        let writer = ArrowWriter::try_new(file, Arc::clone(&self.schema), properties);
        self.open = Some((hour, writer.map_err(failed)?));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some((_, writer)) = &mut self.open else {
            return Ok(());
        };
        if self.rows > 0 {
            self.rows = 0;
            let arrays = self.builders.iter_mut().map(Builder::finish).collect();
            let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays);
            let batch = batch.map_err(io::Error::other)?;
            writer.write(&batch).map_err(failed)?;
        }
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        self.flush()?;
        match self.open.take() {
            Some((_, writer)) => {
                let file = writer.into_inner().map_err(failed)?;
                file.into_inner().map_err(io::IntoInnerError::into_error)?;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// Name of an hour's folder: `hour=2026-11-29T10`, in UTC.
fn partition(hour: i64) -> String {
    let time = Moment(hour.saturating_mul(HOUR)).to_string();
    format!("hour={}", time.get(..13).unwrap_or(&time))
}

fn properties(name: &str, columns: &[Column], follow: &str) -> WriterProperties {
    let told = |key: &str, value: &str| KeyValue {
        key: key.to_owned(),
        value: Some(value.to_owned()),
    };
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("tracer ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_max_row_group_bytes(Some(GROUP))
        .set_key_value_metadata(Some(vec![
            told("tracer.schema", &format!("tracer.{name}/1")),
            told("tracer.follow", follow),
        ]));
    let time = columns
        .iter()
        .position(|column| column.name == "time" && column.shape == Shape::Time);
    if let Some(time) = time {
        properties = properties
            // All times differ, and each differs little from the one before.
            .set_column_dictionary_enabled("time".into(), false)
            .set_column_encoding("time".into(), Encoding::DELTA_BINARY_PACKED)
            .set_sorting_columns(i32::try_from(time).ok().map(|column_idx| {
                vec![SortingColumn {
                    column_idx,
                    descending: false,
                    nulls_first: false,
                }]
            }));
    }
    properties.build()
}

/// The file's own error, without the layers around it.
fn failed(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(inner) => io::Error::other(inner),
        },
        error => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{HOUR, partition};

    #[test]
    fn partitions_are_hours_of_any_time() {
        let of = |time: i64| partition(time.div_euclid(HOUR));
        assert_eq!(of(0), "hour=1970-01-01T00");
        assert_eq!(of(-1), "hour=1969-12-31T23");
        assert_eq!(of(1_767_225_599_999_999_999), "hour=2025-12-31T23");
        assert_eq!(of(1_767_225_600_000_000_000), "hour=2026-01-01T00");
        for extreme in [i64::MIN, i64::MAX] {
            assert_eq!(of(extreme).len(), "hour=2026-01-01T00".len());
        }
    }
}
