//! Columns of bytes of any length.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, ListArray, UInt8Array,
    builder::{ListBuilder, PrimitiveBuilder},
    new_null_array,
    types::UInt8Type,
};
use arrow_schema::{DataType, Field};

use super::{Builder, Kind, Reader};

/// Bytes as on the wire. The type is a list of numbers, not Arrow's own type for bytes. Readers
/// of earlier versions refuse a type that they do not know, even if every row is null.
pub(in crate::store) struct Octets;

impl Kind for Octets {
    type Builder = OctetsBuilder;
    type Reader = OctetsReader;

    fn data_type() -> DataType {
        DataType::List(Arc::new(Field::new_list_field(DataType::UInt8, true)))
    }
}

pub(in crate::store) struct OctetsBuilder {
    values: ListBuilder<PrimitiveBuilder<UInt8Type>>,
    rows: usize,
}

impl Default for OctetsBuilder {
    fn default() -> Self {
        Self {
            values: ListBuilder::new(PrimitiveBuilder::new()),
            rows: 0,
        }
    }
}

impl OctetsBuilder {
    pub(in crate::store) fn set(&mut self, row: usize, bytes: &[u8]) {
        self.values.append_nulls(row - self.rows);
        self.values.values().append_slice(bytes);
        self.values.append(true);
        self.rows = row + 1;
    }
}

impl Builder for OctetsBuilder {
    fn finish(&mut self, rows: usize) -> ArrayRef {
        // Nearly all recordings have no captured bytes.
        if self.rows == 0 {
            return new_null_array(&Octets::data_type(), rows);
        }
        self.values.append_nulls(rows - self.rows);
        self.rows = 0;
        Arc::new(self.values.finish())
    }
}

pub(in crate::store) struct OctetsReader(ListArray);

impl OctetsReader {
    /// The bytes in a row; `None` for null.
    pub(in crate::store) fn get(&self, row: usize) -> Option<Arc<[u8]>> {
        if self.0.is_null(row) {
            return None;
        }
        let values = self.0.value(row);
        let values: &UInt8Array = values.as_any().downcast_ref()?;
        Some(Arc::from(&**values.values()))
    }
}

impl Reader for OctetsReader {
    fn of(array: &ArrayRef) -> Option<Self> {
        let array: &ListArray = array.as_any().downcast_ref()?;
        (array.value_type() == DataType::UInt8).then(|| Self(array.clone()))
    }
}
