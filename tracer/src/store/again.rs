//! Reads a trace again from the middle, for views that go back in time.
//!
//! An Arrow stream has no footer, and its rows refer to earlier dictionaries. So a place to
//! continue from has its position and these dictionaries. The file is opened once somebody
//! reads from there.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, BufReader, Read, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_schema::ArrowError;

use super::message::Kind;
use crate::stdio;

/// A file or a pipe. A clone of a file continues from the same place.
#[derive(Debug)]
pub struct Input {
    path: PathBuf,
    /// Device and inode, which tell another file of the same name apart. `None` for input that
    /// can be read only once.
    file: Option<(u64, u64)>,
    at: u64,
    /// The open file; `None` until a clone is read.
    open: Option<BufReader<File>>,
}

impl Input {
    /// Opens the input, and returns it with its name for errors.
    pub(super) fn open(path: &Path) -> io::Result<(&Path, Self)> {
        let (name, file) = stdio::open(path)?;
        let metadata = file.metadata()?;
        // Standard input may be a file, but another program may have read from it.
        let again = metadata.is_file() && !stdio::is_dash(path);
        let input = Self {
            path: path.to_owned(),
            file: again.then(|| (metadata.dev(), metadata.ino())),
            at: 0,
            open: Some(buffered(file)),
        };
        Ok((name, input))
    }

    pub(super) const fn is_file(&self) -> bool {
        self.file.is_some()
    }

    /// Opens a clone.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.opened().map(drop)
    }

    fn opened(&mut self) -> io::Result<&mut BufReader<File>> {
        if self.open.is_none() {
            let mut file = File::open(&self.path)?;
            let metadata = file.metadata()?;
            if self.file != Some((metadata.dev(), metadata.ino())) {
                let what = "another file has its name by now";
                return Err(io::Error::other(what));
            }
            file.seek(SeekFrom::Start(self.at))?;
            self.open = Some(buffered(file));
        }
        Ok(self.open.as_mut().expect("it was opened"))
    }
}

fn buffered(file: File) -> BufReader<File> {
    BufReader::with_capacity(1 << 16, file)
}

impl Clone for Input {
    fn clone(&self) -> Self {
        Self {
            path: self.path.clone(),
            file: self.file,
            at: self.at,
            open: None,
        }
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.opened()?.read(into)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Decodes messages. A clone knows the earlier dictionaries.
#[derive(Default)]
pub(super) struct Decoder {
    decoder: StreamDecoder,
    schema: Option<Buffer>,
    /// By column: the latest dictionary, and the additions to it.
    dictionaries: BTreeMap<i64, Vec<Buffer>>,
}

impl Decoder {
    /// Decodes a message. Returns rows if the message has any.
    pub(super) fn decode(
        &mut self,
        mut message: Buffer,
        kind: Kind,
    ) -> Result<Option<RecordBatch>, ArrowError> {
        let whole = message.clone();
        let rows = self.decoder.decode(&mut message)?;
        self.keep(whole, kind);
        Ok(rows)
    }

    /// Keeps a message on which later messages depend.
    fn keep(&mut self, message: Buffer, kind: Kind) {
        match kind {
            Kind::Schema => self.schema = Some(message),
            Kind::Dictionary { id, is_delta } => {
                let known = self.dictionaries.entry(id).or_default();
                if !is_delta {
                    known.clear();
                }
                known.push(message);
            }
            Kind::Rows => {}
        }
    }
}

impl Clone for Decoder {
    fn clone(&self) -> Self {
        let mut decoder = StreamDecoder::new();
        let dictionaries = self.dictionaries.values().flatten();
        for message in self.schema.iter().chain(dictionaries) {
            // A message without a body is decoded with the one after it. If that fails, the
            // next message fails here as it does for the original.
            if decoder.decode(&mut message.clone()).is_err() {
                break;
            }
        }
        Self {
            decoder,
            schema: self.schema.clone(),
            dictionaries: self.dictionaries.clone(),
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{DictionaryArray, types::Int32Type};
    use arrow_ipc::{root_as_message, writer::StreamWriter};

    use super::*;
    use crate::store::message::{self, Layout, Next};

    /// A stream with two text columns: schema, dictionaries and rows.
    fn messages() -> Vec<(Vec<u8>, Kind)> {
        let column = |text: &str| -> Arc<DictionaryArray<Int32Type>> {
            Arc::new([text, text].into_iter().collect())
        };
        let rows = RecordBatch::try_from_iter([
            ("node", column("node-a") as _),
            ("point", column("eth0") as _),
        ]);
        let rows = rows.expect("two columns");
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, &rows.schema()).expect("a writer");
        writer.write(&rows).expect("room");
        let layout = Layout::of(&rows.schema()).expect("types of a trace");
        let mut input = bytes.as_slice();
        let mut found = Vec::new();
        while let Ok(Next::Message(message, kind)) = message::read(&mut input, &layout) {
            found.push((message.to_vec(), kind));
        }
        assert_eq!(found.len(), 4);
        found
    }

    fn decode(
        decoder: &mut Decoder,
        (bytes, kind): &(Vec<u8>, Kind),
    ) -> Result<Option<RecordBatch>, ArrowError> {
        decoder.decode(Buffer::from(bytes.as_slice()), *kind)
    }

    #[test]
    fn a_clone_knows_the_dictionaries() {
        let [before @ .., rows] = &messages()[..] else {
            panic!("no rows");
        };
        let mut decoder = Decoder::default();
        for message in before {
            assert!(decode(&mut decoder, message).is_ok_and(|rows| rows.is_none()));
        }
        let mut other = decoder.clone();
        let [one, same] = [&mut decoder, &mut other].map(|one| decode(one, rows));
        assert_eq!(one.expect("rows"), same.expect("the same rows"));
    }

    /// A refused message is not kept, because a clone would depend on it.
    #[test]
    fn a_damaged_dictionary_is_not_kept() {
        let mut messages = messages();
        let (dictionary, _) = &mut messages[1];
        // The damage makes an offset of text negative.
        let text = dictionary.windows(6).rposition(|part| part == b"node-a");
        let text = text.expect("the text");
        let damaged: Vec<usize> = (8..text).rev().take(64).collect();
        let first = damaged.into_iter().find(|at| dictionary[*at] == 6);
        dictionary[first.expect("where the text ends") + 3] = 0xff;
        let mut decoder = Decoder::default();
        assert!(decode(&mut decoder, &messages[0]).is_ok());
        assert!(decode(&mut decoder, &messages[1]).is_err());
        let mut other = decoder.clone();
        assert!(decode(&mut other, &messages[2]).is_ok());
    }

    /// The decoder looks at a message without a body only when the next one comes, and so after
    /// it was kept.
    #[test]
    fn a_damaged_dictionary_without_a_body_fails_in_a_clone_as_well() {
        let mut messages = messages();
        let (dictionary, _) = &mut messages[1];
        let (at, body) = {
            let message = root_as_message(&dictionary[8..]).expect("a message");
            let rows = message
                .header_as_dictionary_batch()
                .and_then(|one| one.data());
            let buffers = rows
                .and_then(|rows| rows.buffers())
                .expect("buffers")
                .bytes();
            let begin = buffers.as_ptr().addr() - dictionary.as_ptr().addr();
            (begin..begin + buffers.len(), message.bodyLength())
        };
        dictionary[at].fill(0);
        dictionary.truncate(dictionary.len() - usize::try_from(body).expect("a length"));
        let length = dictionary
            .windows(8)
            .position(|word| word == body.to_le_bytes());
        let length = length.expect("the body's length");
        dictionary[length..length + 8].fill(0);
        let read = message::read(&mut dictionary.as_slice(), &Layout::default());
        assert!(
            matches!(read, Ok(Next::Message(..))),
            "it seems to be sound"
        );

        let mut decoder = Decoder::default();
        for message in &messages[..2] {
            assert!(decode(&mut decoder, message).is_ok());
        }
        // The other column's dictionary comes before and after.
        let mut late = Decoder::default();
        for message in [&messages[0], &messages[2], &messages[1]] {
            assert!(decode(&mut late, message).is_ok());
        }
        for one in [&mut decoder, &mut late] {
            let mut other = one.clone();
            assert!(decode(one, &messages[3]).is_err());
            assert!(decode(&mut other, &messages[3]).is_err());
        }
    }
}
