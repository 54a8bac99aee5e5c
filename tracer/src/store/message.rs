//! The messages that an Arrow IPC stream consists of, each whole and checked,
//! or not there (<https://arrow.apache.org/docs/format/Columnar.html>,
//! "Encapsulated message format").
//!
//! A file that was cut is the usual end of a recorder that was killed; one that
//! was changed is an accident or an attack. The first gives what came before;
//! of the second, no byte may get further than here that says how much memory
//! to allocate, or where to look in it.

use std::io::{self, Read};

use arrow_buffer::Buffer;
use arrow_ipc::{Message, MessageHeader, RecordBatch, root_as_message};

/// Before each message's length.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// The most that a message's own description has; the first has all of the
/// cluster's objects in it.
const MAX_METADATA: u32 = 1 << 28;
/// The most that the rows of a message have, as they are and unpacked.
const MAX_BODY: i64 = 1 << 30;
/// Before each packed buffer: how long it is unpacked, little endian.
const PREFIX: usize = 8;
/// Says that a buffer is not packed.
const NOT_PACKED: i64 = -1;

/// What comes next.
pub(super) enum Next {
    /// A message, as the stream has it.
    Message(Buffer),
    /// The end that a writer makes.
    End,
    /// An end in the middle.
    Cut,
    /// What cannot be.
    Damage(String),
}

/// Reads a message.
///
/// # Errors
/// Those of reading.
pub(super) fn read(input: &mut impl Read) -> io::Result<Next> {
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
    if metadata > MAX_METADATA {
        return Ok(Next::Damage("a message is too long".to_owned()));
    }
    if !fill(input, &mut bytes, u64::from(metadata))? {
        return Ok(Next::Cut);
    }
    let body = match root_as_message(&bytes[8..]) {
        Ok(message) => message.bodyLength(),
        Err(_) => return Ok(Next::Damage("a message is not what it says".to_owned())),
    };
    let Some(body) = u64::try_from(body).ok().filter(|_| body <= MAX_BODY) else {
        return Ok(Next::Damage("a message is too long".to_owned()));
    };
    let begin = bytes.len();
    if !fill(input, &mut bytes, body)? {
        return Ok(Next::Cut);
    }
    let (metadata, body) = bytes.split_at(begin);
    let message = root_as_message(&metadata[8..]);
    if !message.is_ok_and(|message| is_sound(&message, body)) {
        return Ok(Next::Damage("rows are not where they should be".to_owned()));
    }
    Ok(Next::Message(Buffer::from_vec(bytes)))
}

/// Adds `count` bytes; whether there were as many. What is not there is not
/// allocated.
fn fill(input: &mut impl Read, bytes: &mut Vec<u8>, count: u64) -> io::Result<bool> {
    Ok(input.take(count).read_to_end(bytes)? as u64 == count)
}

/// Whether each buffer of rows is inside of the body, and unpacks to what
/// memory takes.
fn is_sound(message: &Message<'_>, body: &[u8]) -> bool {
    let rows = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        MessageHeader::DictionaryBatch => message
            .header_as_dictionary_batch()
            .and_then(|dictionary| dictionary.data()),
        MessageHeader::Schema => return true,
        _ => None,
    };
    rows.is_some_and(|rows| unpacked(&rows, body).is_some_and(|bytes| bytes <= MAX_BODY))
}

/// How many bytes all buffers have, unpacked.
fn unpacked(rows: &RecordBatch<'_>, body: &[u8]) -> Option<i64> {
    if !(0..=MAX_BODY).contains(&rows.length()) {
        return None;
    }
    let packed = rows.compression().is_some();
    let mut sum = 0_i64;
    for buffer in rows.buffers()? {
        let offset = usize::try_from(buffer.offset()).ok()?;
        let len = usize::try_from(buffer.length()).ok()?;
        let bytes = body.get(offset..offset.checked_add(len)?)?;
        let unpacked = match bytes.first_chunk::<PREFIX>() {
            Some(prefix) if packed => match i64::from_le_bytes(*prefix) {
                NOT_PACKED => buffer.length(),
                len => len,
            },
            _ if packed && len > 0 => return None,
            _ => buffer.length(),
        };
        sum = sum.checked_add(u64::try_from(unpacked).ok()?.cast_signed())?;
    }
    Some(sum)
}
