//! Kinds of columns in a trace, and how their values are written and read.
//!
//! A row has values in about a third of the columns: a hop of UDP has no TCP window, for
//! example. So a builder is not called for every row. Rows without a value become null, and are
//! padded in one go.

mod octets;
mod words;

use std::{marker::PhantomData, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeBinaryArray, PrimitiveArray,
    builder::{BooleanBuilder, FixedSizeBinaryBuilder, PrimitiveBuilder},
    types::{ArrowPrimitiveType, TimestampNanosecondType},
};
use arrow_schema::{DataType, TimeUnit};

pub(super) use octets::Octets;
pub(super) use words::{Text, Texts, Word, Words, text, texts};

/// A kind of column: its Arrow type, its builder and its reader.
pub(super) trait Kind {
    type Builder: Builder;
    type Reader: Reader;

    fn data_type() -> DataType;
}

/// Takes values row by row.
pub(super) trait Builder: Default {
    /// Returns an array of `rows` rows, and begins anew.
    fn finish(&mut self, rows: usize) -> ArrayRef;
}

/// Gives values by row.
pub(super) trait Reader: Sized {
    /// Reads an array; `None` if it has another type, or an invalid value.
    fn of(array: &ArrayRef) -> Option<Self>;
}

/// A number of Arrow type `T`.
pub(super) struct Number<T>(PhantomData<T>);

impl<T: ArrowPrimitiveType> Kind for Number<T> {
    type Builder = NumberBuilder<T>;
    type Reader = PrimitiveArray<T>;

    fn data_type() -> DataType {
        T::DATA_TYPE
    }
}

pub(super) struct NumberBuilder<T: ArrowPrimitiveType>(PrimitiveBuilder<T>);

impl<T: ArrowPrimitiveType> Default for NumberBuilder<T> {
    fn default() -> Self {
        Self(PrimitiveBuilder::new())
    }
}

impl<T: ArrowPrimitiveType> NumberBuilder<T> {
    pub(super) fn set(&mut self, row: usize, value: T::Native) {
        self.0.append_nulls(row - self.0.values_slice().len());
        self.0.append_value(value);
    }

    pub(super) fn set_some(&mut self, row: usize, value: Option<T::Native>) {
        if let Some(value) = value {
            self.set(row, value);
        }
    }
}

impl<T: ArrowPrimitiveType> Builder for NumberBuilder<T> {
    fn finish(&mut self, rows: usize) -> ArrayRef {
        self.0.append_nulls(rows - self.0.values_slice().len());
        Arc::new(self.0.finish())
    }
}

impl<T: ArrowPrimitiveType> Reader for PrimitiveArray<T> {
    fn of(array: &ArrayRef) -> Option<Self> {
        array.as_any().downcast_ref::<Self>().cloned()
    }
}

/// The value in a row; `None` for null.
pub(super) fn number<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    row: usize,
) -> Option<T::Native> {
    array.is_valid(row).then(|| array.value(row))
}

/// Unix time, ns.
pub(super) struct Time;

/// Time zone of times.
const ZONE: &str = "UTC";

impl Kind for Time {
    type Builder = TimeBuilder;
    type Reader = PrimitiveArray<TimestampNanosecondType>;

    fn data_type() -> DataType {
        DataType::Timestamp(TimeUnit::Nanosecond, Some(ZONE.into()))
    }
}

#[derive(Default)]
pub(super) struct TimeBuilder(NumberBuilder<TimestampNanosecondType>);

impl TimeBuilder {
    pub(super) fn set(&mut self, row: usize, time: i64) {
        self.0.set(row, time);
    }
}

impl Builder for TimeBuilder {
    fn finish(&mut self, rows: usize) -> ArrayRef {
        let builder = &mut self.0.0;
        builder.append_nulls(rows - builder.values_slice().len());
        Arc::new(builder.finish().with_timezone(ZONE))
    }
}

/// Yes or no.
pub(super) struct Flag;

impl Kind for Flag {
    type Builder = FlagBuilder;
    type Reader = BooleanArray;

    fn data_type() -> DataType {
        DataType::Boolean
    }
}

#[derive(Default)]
pub(super) struct FlagBuilder {
    values: BooleanBuilder,
    rows: usize,
}

impl FlagBuilder {
    pub(super) fn set(&mut self, row: usize, value: bool) {
        self.values.append_nulls(row - self.rows);
        self.values.append_value(value);
        self.rows = row + 1;
    }
}

impl Builder for FlagBuilder {
    fn finish(&mut self, rows: usize) -> ArrayRef {
        self.values.append_nulls(rows - self.rows);
        self.rows = 0;
        Arc::new(self.values.finish())
    }
}

impl Reader for BooleanArray {
    fn of(array: &ArrayRef) -> Option<Self> {
        array.as_any().downcast_ref::<Self>().cloned()
    }
}

/// The value in a row; `false` for null.
pub(super) fn flag(array: &BooleanArray, row: usize) -> bool {
    array.is_valid(row) && array.value(row)
}

/// `N` bytes, network byte order.
pub(super) struct Bytes<const N: usize>;

impl<const N: usize> Kind for Bytes<N> {
    type Builder = BytesBuilder<N>;
    type Reader = BytesReader<N>;

    fn data_type() -> DataType {
        DataType::FixedSizeBinary(width::<N>())
    }
}

fn width<const N: usize>() -> i32 {
    i32::try_from(N).expect("a few bytes")
}

pub(super) struct BytesBuilder<const N: usize> {
    values: FixedSizeBinaryBuilder,
    rows: usize,
}

impl<const N: usize> Default for BytesBuilder<N> {
    fn default() -> Self {
        Self {
            values: FixedSizeBinaryBuilder::new(width::<N>()),
            rows: 0,
        }
    }
}

impl<const N: usize> BytesBuilder<N> {
    pub(super) fn set(&mut self, row: usize, value: [u8; N]) {
        self.values.append_nulls(row - self.rows);
        self.values
            .append_value(value)
            .expect("as many bytes as the column has");
        self.rows = row + 1;
    }
}

impl<const N: usize> Builder for BytesBuilder<N> {
    fn finish(&mut self, rows: usize) -> ArrayRef {
        self.values.append_nulls(rows - self.rows);
        self.rows = 0;
        Arc::new(self.values.finish())
    }
}

pub(super) struct BytesReader<const N: usize>(FixedSizeBinaryArray);

impl<const N: usize> BytesReader<N> {
    pub(super) fn get(&self, row: usize) -> Option<[u8; N]> {
        let valid = self.0.is_valid(row);
        valid.then(|| self.0.value(row).try_into().ok()).flatten()
    }
}

impl<const N: usize> Reader for BytesReader<N> {
    fn of(array: &ArrayRef) -> Option<Self> {
        array.as_any().downcast_ref().cloned().map(Self)
    }
}

/// Defines a trace's columns: their builders, readers and meanings.
macro_rules! columns {
    ($($name:ident: $kind:ty, $meaning:literal;)+) => {
        /// Rows as they are written.
        #[derive(Default)]
        pub(super) struct Builders {
            /// Number of complete rows.
            pub(super) rows: usize,
            $(pub(super) $name: <$kind as Kind>::Builder,)+
        }

        impl Builders {
            /// Returns all rows so far, and begins anew.
            pub(super) fn finish(&mut self) -> Vec<ArrayRef> {
                let rows = std::mem::take(&mut self.rows);
                vec![$(self.$name.finish(rows),)+]
            }
        }

        /// Rows as they are read.
        pub(super) struct Table {
            pub(super) rows: usize,
            $(pub(super) $name: <$kind as Kind>::Reader,)+
        }

        impl Table {
            /// Finds the columns of a batch by name. A missing column is null in every row,
            /// because the writer did not know it. The error is the name of a column with
            /// another type.
            pub(super) fn of(batch: &RecordBatch) -> Result<Self, &'static str> {
                fn column<K: Kind>(
                    batch: &RecordBatch,
                    name: &'static str,
                ) -> Result<K::Reader, &'static str> {
                    let reader = match batch.column_by_name(name) {
                        Some(array) => K::Reader::of(array),
                        None => {
                            K::Reader::of(&new_null_array(&K::data_type(), batch.num_rows()))
                        }
                    };
                    reader.ok_or(name)
                }
                Ok(Self {
                    rows: batch.num_rows(),
                    $($name: column::<$kind>(batch, stringify!($name))?,)+
                })
            }
        }

        /// Names, types and meanings of all columns, in order.
        pub(super) fn columns() -> Vec<(&'static str, DataType, &'static str)> {
            vec![$((stringify!($name), <$kind as Kind>::data_type(), $meaning),)+]
        }
    };
}
pub(super) use columns;
