//! Columns of text: words with a meaning, as dictionaries, and free text.

use std::{collections::HashMap, hash::Hash, marker::PhantomData, net::IpAddr, sync::Arc};

use arrow_array::{
    Array, ArrayRef, DictionaryArray, ListArray, PrimitiveArray, StringArray,
    builder::{ListBuilder, StringBuilder},
    types::Int32Type,
};
use arrow_schema::{DataType, Field};
use tracer_core::model::{Direction, EncapKind, Mac, Proto};

use super::{Builder, Kind, NumberBuilder, Reader, number};

/// A value that is written as a word, and can be read back from the word.
pub(in crate::store) trait Word: Clone + Eq + Hash {
    fn write(&self) -> String;
    fn read(text: &str) -> Option<Self>;
}

impl Word for Arc<str> {
    fn write(&self) -> String {
        (**self).to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        Some(Self::from(text))
    }
}

impl Word for IpAddr {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Word for Mac {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Word for Proto {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Word for EncapKind {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Word for Direction {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        match text {
            "ingress" => Some(Self::Ingress),
            "egress" => Some(Self::Egress),
            _ => None,
        }
    }
}

/// Words of a small set, as a dictionary of strings.
pub(in crate::store) struct Words<W>(PhantomData<W>);

impl<W: Word> Kind for Words<W> {
    type Builder = WordsBuilder<W>;
    type Reader = WordsReader<W>;

    fn data_type() -> DataType {
        DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
    }
}

pub(in crate::store) struct WordsBuilder<W> {
    keys: NumberBuilder<Int32Type>,
    known: HashMap<W, i32>,
    values: StringBuilder,
}

impl<W> Default for WordsBuilder<W> {
    fn default() -> Self {
        Self {
            keys: NumberBuilder::default(),
            known: HashMap::new(),
            values: StringBuilder::new(),
        }
    }
}

impl<W: Word> WordsBuilder<W> {
    pub(in crate::store) fn set(&mut self, row: usize, word: &W) {
        let key = match self.known.get(word) {
            Some(key) => *key,
            None => {
                let key = i32::try_from(self.known.len()).expect("fewer words than rows");
                self.known.insert(word.clone(), key);
                self.values.append_value(word.write());
                key
            }
        };
        self.keys.set(row, key);
    }
}

impl<W: Word> Builder for WordsBuilder<W> {
    fn finish(&mut self, rows: usize) -> ArrayRef {
        self.known.clear();
        let keys = self.keys.0.values_slice().len();
        self.keys.0.append_nulls(rows - keys);
        let keys = self.keys.0.finish();
        Arc::new(DictionaryArray::new(keys, Arc::new(self.values.finish())))
    }
}

pub(in crate::store) struct WordsReader<W> {
    keys: PrimitiveArray<Int32Type>,
    values: Vec<W>,
}

impl<W: Word> WordsReader<W> {
    /// All words.
    pub(in crate::store) fn words(&self) -> &[W] {
        &self.values
    }

    /// Index of a row's word in the dictionary; `None` for null.
    pub(in crate::store) fn key(&self, row: usize) -> Option<usize> {
        usize::try_from(number(&self.keys, row)?).ok()
    }

    pub(in crate::store) fn get(&self, row: usize) -> Option<&W> {
        self.values.get(self.key(row)?)
    }
}

impl<W: Word> Reader for WordsReader<W> {
    fn of(array: &ArrayRef) -> Option<Self> {
        let array: &DictionaryArray<Int32Type> = array.as_any().downcast_ref()?;
        let values: &StringArray = array.values().as_any().downcast_ref()?;
        let words = values.iter().map(|word| W::read(word?));
        Some(Self {
            values: words.collect::<Option<_>>()?,
            keys: array.keys().clone(),
        })
    }
}

/// Free text.
pub(in crate::store) struct Text;

impl Kind for Text {
    type Builder = TextBuilder;
    type Reader = StringArray;

    fn data_type() -> DataType {
        DataType::Utf8
    }
}

#[derive(Default)]
pub(in crate::store) struct TextBuilder {
    values: StringBuilder,
    rows: usize,
}

impl TextBuilder {
    pub(in crate::store) fn set(&mut self, row: usize, text: &str) {
        self.values.append_nulls(row - self.rows);
        self.values.append_value(text);
        self.rows = row + 1;
    }
}

impl Builder for TextBuilder {
    fn finish(&mut self, rows: usize) -> ArrayRef {
        self.values.append_nulls(rows - self.rows);
        self.rows = 0;
        Arc::new(self.values.finish())
    }
}

impl Reader for StringArray {
    fn of(array: &ArrayRef) -> Option<Self> {
        array.as_any().downcast_ref::<Self>().cloned()
    }
}

/// The text in a row; `None` for null.
pub(in crate::store) fn text(array: &StringArray, row: usize) -> Option<&str> {
    array.is_valid(row).then(|| array.value(row))
}

/// Lists of JSON objects.
pub(in crate::store) struct Texts;

impl Kind for Texts {
    type Builder = TextsBuilder;
    type Reader = ListArray;

    fn data_type() -> DataType {
        DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)))
    }
}

pub(in crate::store) struct TextsBuilder {
    values: ListBuilder<StringBuilder>,
    rows: usize,
}

impl Default for TextsBuilder {
    fn default() -> Self {
        Self {
            values: ListBuilder::new(StringBuilder::new()),
            rows: 0,
        }
    }
}

impl TextsBuilder {
    pub(in crate::store) fn set(&mut self, row: usize, texts: &[String]) {
        self.pad(row);
        for text in texts {
            self.values.values().append_value(text);
        }
        self.values.append(true);
        self.rows = row + 1;
    }

    fn pad(&mut self, rows: usize) {
        for _ in self.rows..rows {
            self.values.append_null();
        }
    }
}

impl Builder for TextsBuilder {
    fn finish(&mut self, rows: usize) -> ArrayRef {
        self.pad(rows);
        self.rows = 0;
        Arc::new(self.values.finish())
    }
}

impl Reader for ListArray {
    fn of(array: &ArrayRef) -> Option<Self> {
        let array = array.as_any().downcast_ref::<Self>()?;
        (array.value_type() == DataType::Utf8).then(|| array.clone())
    }
}

/// The objects in a row; empty for null.
pub(in crate::store) fn texts(array: &ListArray, row: usize) -> Arc<[String]> {
    if array.is_null(row) {
        return Arc::new([]);
    }
    let values = array.value(row);
    let values: Option<&StringArray> = values.as_any().downcast_ref();
    let values = values.into_iter().flatten().flatten();
    values.map(str::to_owned).collect()
}
