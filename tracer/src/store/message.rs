//! Reads the messages of an Arrow IPC stream, each whole and checked
//! (<https://arrow.apache.org/docs/format/Columnar.html>, "Encapsulated message format").
//!
//! A truncated file is normal: its recorder was killed. A changed file is an accident or an
//! attack. The first gives everything before its end. Of the second, no unchecked byte decides
//! how much memory is allocated, or where it is read.
//!
//! Invariant 2 (ARCHITECTURE.md): any file is read, or refused with a reason.

use std::io::{self, Read};

use arrow_buffer::Buffer;
use arrow_ipc::{Message, MessageHeader, RecordBatch, root_as_message};
use arrow_schema::{DataType, Schema};

/// Marker before each message's length.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Limit of a message's metadata, bytes. The first message has all of the cluster's objects in
/// its metadata.
const MAX_METADATA: u32 = 1 << 28;
/// Limit of a message's rows, bytes, both compressed and uncompressed.
const MAX_BODY: i64 = 1 << 30;
/// Bytes before each compressed buffer: its uncompressed length, little endian.
const PREFIX: usize = 8;
/// Alignment of each part of a message, bytes. Code that reads numbers in place relies on it.
pub(super) const ALIGNMENT: usize = 8;
/// In place of the length: the buffer is not compressed.
const NOT_PACKED: i64 = -1;

/// The next item of a stream.
pub(super) enum Next {
    /// A message as the stream has it, and its kind.
    Message(Buffer, Kind),
    /// The end that a writer marks.
    End,
    /// The stream ends in the middle.
    Cut,
    /// The stream is damaged; the text says how.
    Damage(String),
}

/// Kinds of messages.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Schema,
    Dictionary {
        /// Number of the column's dictionary.
        id: i64,
        /// Whether the dictionary adds to the one before.
        is_delta: bool,
    },
    Rows,
}

/// Width of the values in each buffer of a table, bytes; 1 for bits and text.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout(Vec<usize>);

/// Layout of a dictionary's strings.
const STRINGS: [usize; 3] = [1, OFFSET, 1];
/// Width of an offset of a string or list, bytes.
const OFFSET: usize = size_of::<i32>();

impl Layout {
    /// The layout of a schema's rows; `None` if the schema has types that no trace has.
    pub(super) fn of(schema: &Schema) -> Option<Self> {
        let mut widths = Vec::new();
        for field in schema.fields() {
            add(field.data_type(), &mut widths)?;
        }
        Some(Self(widths))
    }
}

/// Adds the widths of a column's buffers: validity and values.
fn add(kind: &DataType, widths: &mut Vec<usize>) -> Option<()> {
    match kind {
        DataType::Utf8 => widths.extend(STRINGS),
        DataType::Boolean | DataType::FixedSizeBinary(_) => widths.extend([1, 1]),
        DataType::Dictionary(keys, values) if **values == DataType::Utf8 => {
            widths.extend([1, keys.primitive_width()?]);
        }
        DataType::List(item) => {
            widths.extend([1, OFFSET]);
            add(item.data_type(), widths)?;
        }
        other => widths.extend([1, other.primitive_width()?]),
    }
    Some(())
}

/// Reads the next message of a stream whose rows have this layout.
///
/// # Errors
/// Errors of reading.
pub(super) fn read(input: &mut impl Read, layout: &Layout) -> io::Result<Next> {
    let mut bytes = Vec::new();
    if !fill(input, &mut bytes, 8)? {
        return Ok(Next::Cut);
    }
    let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    if word(0) != CONTINUATION {
        return Ok(Next::Damage("no message begins there".to_owned()));
    }
    let metadata = u32::from_le_bytes(word(4));
    if metadata == 0 {
        return Ok(Next::End);
    }
    if metadata > MAX_METADATA || !(metadata as usize).is_multiple_of(ALIGNMENT) {
        return Ok(Next::Damage(
            "the length of a message is invalid".to_owned(),
        ));
    }
    if !fill(input, &mut bytes, u64::from(metadata))? {
        return Ok(Next::Cut);
    }
    let body = match root_as_message(&bytes[8..]) {
        Ok(message) => message.bodyLength(),
        Err(_) => {
            return Ok(Next::Damage(
                "the header of a message is invalid".to_owned(),
            ));
        }
    };
    let Some(body) = u64::try_from(body).ok().filter(|_| body <= MAX_BODY) else {
        return Ok(Next::Damage("a message is too long".to_owned()));
    };
    let begin = bytes.len();
    if !fill(input, &mut bytes, body)? {
        return Ok(Next::Cut);
    }
    let (metadata, body) = bytes.split_at(begin);
    let message = root_as_message(&metadata[8..]).ok();
    let Some(kind) = message.and_then(|message| sound(&message, body, layout)) else {
        return Ok(Next::Damage(
            "the buffers of a message are out of bounds".to_owned(),
        ));
    };
    Ok(Next::Message(Buffer::from_vec(bytes), kind))
}

/// Reads `count` bytes into `bytes`, and returns whether the input had that many. It allocates
/// no more than the input has.
fn fill(input: &mut impl Read, bytes: &mut Vec<u8>, count: u64) -> io::Result<bool> {
    Ok(input.take(count).read_to_end(bytes)? as u64 == count)
}

/// The kind of a message. `None` unless each buffer of rows is inside of the body, holds whole
/// values, and uncompressed is within the limit.
fn sound(message: &Message<'_>, body: &[u8], layout: &Layout) -> Option<Kind> {
    let (rows, widths, kind) = match message.header_type() {
        MessageHeader::RecordBatch => (message.header_as_record_batch()?, &*layout.0, Kind::Rows),
        MessageHeader::DictionaryBatch => {
            let dictionary = message.header_as_dictionary_batch()?;
            let kind = Kind::Dictionary {
                id: dictionary.id(),
                is_delta: dictionary.isDelta(),
            };
            (dictionary.data()?, STRINGS.as_slice(), kind)
        }
        MessageHeader::Schema => return Some(Kind::Schema),
        _ => return None,
    };
    let bytes = unpacked(&rows, body, widths)?;
    (bytes <= MAX_BODY).then_some(kind)
}

/// Uncompressed length of all buffers, bytes.
fn unpacked(rows: &RecordBatch<'_>, body: &[u8], widths: &[usize]) -> Option<i64> {
    if !(0..=MAX_BODY).contains(&rows.length()) {
        return None;
    }
    let packed = rows.compression().is_some();
    let buffers = rows.buffers()?;
    if buffers.len() != widths.len() {
        return None;
    }
    let mut sum = 0_i64;
    for (buffer, width) in buffers.iter().zip(widths) {
        let offset = usize::try_from(buffer.offset()).ok()?;
        let len = usize::try_from(buffer.length()).ok()?;
        if !offset.is_multiple_of(ALIGNMENT) {
            return None;
        }
        let bytes = body.get(offset..offset.checked_add(len)?)?;
        let unpacked = match bytes.first_chunk::<PREFIX>() {
            Some(prefix) if packed => match i64::from_le_bytes(*prefix) {
                NOT_PACKED => buffer.length() - PREFIX as i64,
                len => len,
            },
            _ if packed && len > 0 => return None,
            _ => buffer.length(),
        };
        if !usize::try_from(unpacked).ok()?.is_multiple_of(*width) {
            return None;
        }
        sum = sum.checked_add(unpacked)?;
    }
    Some(sum)
}
