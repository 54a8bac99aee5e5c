//! Reading a trace again from the middle: who goes back in time reads what was read before.
//!
//! An Arrow stream has no footer, and its rows refer to dictionaries that came before them.
//! So whoever is to go on from a place keeps the place and these; the file is opened once
//! somebody reads on.

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

/// A file, or what comes through a pipe. A clone of a file goes on from the same place.
#[derive(Debug)]
pub struct Input {
    path: PathBuf,
    /// Device and inode: another file of this name is not the same. `None` of what can be read
    /// once only.
    file: Option<(u64, u64)>,
    at: u64,
    /// `None` until a clone is read.
    open: Option<BufReader<File>>,
}

impl Input {
    /// Opens it, and says what to call it.
    pub(super) fn open(path: &Path) -> io::Result<(&Path, Self)> {
        let (name, file) = stdio::open(path)?;
        let metadata = file.metadata()?;
        // Standard input may be a file, but somebody else has moved in it.
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

/// Unpacks messages. A clone knows the dictionaries that came before.
#[derive(Default)]
pub(super) struct Decoder {
    decoder: StreamDecoder,
    schema: Option<Buffer>,
    /// By column: the latest dictionary, and what was added to it.
    dictionaries: BTreeMap<i64, Vec<Buffer>>,
}

impl Decoder {
    /// Unpacks a message; only those with rows give any.
    pub(super) fn decode(
        &mut self,
        mut message: Buffer,
        kind: Kind,
    ) -> Result<Option<RecordBatch>, ArrowError> {
        self.keep(&message, kind);
        self.decoder.decode(&mut message)
    }

    /// Keeps a message that later ones rest on.
    fn keep(&mut self, message: &Buffer, kind: Kind) {
        match kind {
            Kind::Schema => self.schema = Some(message.clone()),
            Kind::Dictionary { id, is_delta } => {
                let known = self.dictionaries.entry(id).or_default();
                if !is_delta {
                    known.clear();
                }
                known.push(message.clone());
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
            let decoded = decoder.decode(&mut message.clone());
            decoded.expect("it was decoded before");
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
