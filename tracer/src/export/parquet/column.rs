//! Kinds of columns, and the encoding of their values. A value is first written as bytes of a
//! row. Rows can be sorted, and may be in a file meanwhile. From rows, values are read into
//! Arrow arrays.

use std::{
    fmt::Display,
    io::{self, Write as _},
    sync::Arc,
};

use arrow_array::{
    ArrayRef,
    builder::{
        BooleanBuilder, Int64Builder, ListBuilder, StringBuilder, TimestampNanosecondBuilder,
    },
};
use arrow_schema::{DataType, Field, TimeUnit};

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    /// Whether a row may have no value.
    pub(super) optional: bool,
    /// Meaning of the column, for docs/parquet.md.
    #[cfg(test)]
    pub(super) meaning: &'static str,
}

impl Column {
    pub(super) fn field(&self) -> Field {
        Field::new(self.name, self.shape.data_type(), self.optional)
    }
}

/// Type of a column's values. All numbers are signed, with 64 bits, so that no query subtracts
/// below zero or overflows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Integer,
    Time,
    Text,
    Flag,
    Texts,
}

/// Time zone of times.
const ZONE: &str = "UTC";

impl Shape {
    fn data_type(self) -> DataType {
        match self {
            Self::Integer => DataType::Int64,
            Self::Time => DataType::Timestamp(TimeUnit::Nanosecond, Some(ZONE.into())),
            Self::Text => DataType::Utf8,
            Self::Flag => DataType::Boolean,
            Self::Texts => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
        }
    }

    /// The type's name in the documentation.
    #[cfg(test)]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Time => "time",
            Self::Text => "text",
            Self::Flag => "yes or no",
            Self::Texts => "list of texts",
        }
    }
}

/// A kind of column, as a type.
pub(super) trait Kind {
    const SHAPE: Shape;
    const OPTIONAL: bool = false;
}

/// A kind of column that takes values of the type `V`.
pub(super) trait Takes<V>: Kind {
    /// Appends a value to a row.
    fn put(value: V, row: &mut Vec<u8>);
}

/// A whole number.
pub(super) struct Integer;
/// Unix time, ns.
pub(super) struct Time;
/// Text.
pub(super) struct Text;
/// Yes or no.
pub(super) struct Flag;
/// Any number of texts.
pub(super) struct Texts;

impl Kind for Integer {
    const SHAPE: Shape = Shape::Integer;
}

impl Kind for Time {
    const SHAPE: Shape = Shape::Time;
}

impl Kind for Text {
    const SHAPE: Shape = Shape::Text;
}

impl Kind for Flag {
    const SHAPE: Shape = Shape::Flag;
}

impl Kind for Texts {
    const SHAPE: Shape = Shape::Texts;
}

impl<K: Kind> Kind for Option<K> {
    const SHAPE: Shape = K::SHAPE;
    const OPTIONAL: bool = true;
}

macro_rules! integers {
    ($($smaller:ty)+; $($larger:ty)+) => {
        $(impl Takes<$smaller> for Integer {
            fn put(value: $smaller, row: &mut Vec<u8>) {
                row.extend(i64::from(value).to_le_bytes());
            }
        })+
        $(impl Takes<$larger> for Integer {
            fn put(value: $larger, row: &mut Vec<u8>) {
                let value = i64::try_from(value).unwrap_or(i64::MAX);
                row.extend(value.to_le_bytes());
            }
        })+
    };
}

integers!(u8 u16 u32 i64; u64 usize);

impl Takes<i64> for Time {
    fn put(value: i64, row: &mut Vec<u8>) {
        row.extend(value.to_le_bytes());
    }
}

impl<V: Display> Takes<V> for Text {
    fn put(value: V, row: &mut Vec<u8>) {
        let length = row.len();
        row.extend([0; 4]);
        let begin = row.len();
        write!(row, "{value}").expect("memory takes what is written");
        let written = u32::try_from(row.len() - begin).expect("names and sentences are short");
        row[length..begin].copy_from_slice(&written.to_le_bytes());
    }
}

impl Takes<bool> for Flag {
    fn put(value: bool, row: &mut Vec<u8>) {
        row.push(value.into());
    }
}

impl<V: Display, I: IntoIterator<Item = V>> Takes<I> for Texts {
    fn put(values: I, row: &mut Vec<u8>) {
        for value in values {
            row.push(1);
            Text::put(value, row);
        }
        row.push(0);
    }
}

impl<K: Takes<V>, V> Takes<Option<V>> for Option<K> {
    fn put(value: Option<V>, row: &mut Vec<u8>) {
        row.push(value.is_some().into());
        if let Some(value) = value {
            K::put(value, row);
        }
    }
}

/// Collects a column's values from rows.
pub(super) enum Builder {
    Integer(Int64Builder),
    Time(TimestampNanosecondBuilder),
    Text(StringBuilder),
    Flag(BooleanBuilder),
    Texts(ListBuilder<StringBuilder>),
}

impl Builder {
    pub(super) fn of(shape: Shape) -> Self {
        match shape {
            Shape::Integer => Self::Integer(Int64Builder::new()),
            Shape::Time => {
                Self::Time(TimestampNanosecondBuilder::new().with_data_type(shape.data_type()))
            }
            Shape::Text => Self::Text(StringBuilder::new()),
            Shape::Flag => Self::Flag(BooleanBuilder::new()),
            Shape::Texts => Self::Texts(ListBuilder::new(StringBuilder::new())),
        }
    }

    /// Takes a value from the beginning of the rest of a row.
    pub(super) fn take(&mut self, optional: bool, row: &mut &[u8]) -> io::Result<()> {
        let there = !optional || flag(row)?;
        match self {
            Self::Integer(builder) => builder.append_option(value(there, row, integer)?),
            Self::Time(builder) => builder.append_option(value(there, row, integer)?),
            Self::Text(builder) => builder.append_option(value(there, row, text)?),
            Self::Flag(builder) => builder.append_option(value(there, row, flag)?),
            Self::Texts(builder) => {
                while flag(row)? {
                    builder.values().append_value(text(row)?);
                }
                builder.append(true);
            }
        }
        Ok(())
    }

    /// Returns the collected values as an array, and begins anew.
    pub(super) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Integer(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Flag(builder) => Arc::new(builder.finish()),
            Self::Texts(builder) => Arc::new(builder.finish()),
        }
    }
}

fn value<'a, T>(
    there: bool,
    row: &mut &'a [u8],
    read: impl FnOnce(&mut &'a [u8]) -> io::Result<T>,
) -> io::Result<Option<T>> {
    there.then(|| read(row)).transpose()
}

/// Cuts `N` bytes off the beginning of a row.
fn bytes<'a, const N: usize>(row: &mut &'a [u8]) -> io::Result<&'a [u8; N]> {
    let (bytes, rest) = row.split_first_chunk().ok_or(io::ErrorKind::InvalidData)?;
    *row = rest;
    Ok(bytes)
}

fn flag(row: &mut &[u8]) -> io::Result<bool> {
    bytes::<1>(row).map(|[byte]| *byte != 0)
}

fn integer(row: &mut &[u8]) -> io::Result<i64> {
    bytes(row).map(|bytes| i64::from_le_bytes(*bytes))
}

fn text<'a>(row: &mut &'a [u8]) -> io::Result<&'a str> {
    let length = u32::from_le_bytes(*bytes(row)?) as usize;
    let (text, rest) = row
        .split_at_checked(length)
        .ok_or(io::ErrorKind::InvalidData)?;
    *row = rest;
    str::from_utf8(text).map_err(io::Error::other)
}

/// Defines a table: its columns, and how their values come from `$from`.
macro_rules! table {
    ($what:literal, $from:ident: $type:ty; $($name:ident: $kind:ty = $value:expr, $meaning:literal;)+) => {
        #[doc = $what]
        pub(super) const COLUMNS: &[Column] = &[$(Column {
            name: stringify!($name),
            shape: <$kind as Kind>::SHAPE,
            optional: <$kind as Kind>::OPTIONAL,
            #[cfg(test)]
            meaning: $meaning,
        },)+];

        /// Appends a row.
        pub(super) fn put($from: &$type, row: &mut Vec<u8>) {
            $(<$kind as Takes<_>>::put($value, row);)+
        }
    };
}
pub(super) use table;
