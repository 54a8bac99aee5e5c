//! Sorts any number of records.
//!
//! Journeys come in the order of their verdicts, and programs that read exports expect the
//! order of time. So records are sorted, in bounded memory and a nameless file.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufWriter, Read, Write as _},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

/// The sort key. Records with equal keys keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// The first criterion.
    pub(super) group: u32,
    /// The second criterion: Unix time, ns.
    pub(super) time: i64,
}

/// Memory for records, bytes.
const ROOM: usize = 48 << 20;
/// Bytes that are read at once from each sorted piece of the file.
const WINDOW: usize = 32 << 10;

/// Sorts records that come in any order.
pub(super) struct Sorter {
    /// Folder of the file for records that do not fit into memory.
    directory: PathBuf,
    room: usize,
    bytes: Vec<u8>,
    held: Vec<(Key, Range<usize>)>,
    spilled: Option<Spilled>,
}

/// Sorted pieces in sequence, in a file that disappears with this process.
struct Spilled {
    file: File,
    pieces: Vec<Range<u64>>,
}

impl Sorter {
    pub(super) const fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            room: ROOM,
            bytes: Vec::new(),
            held: Vec::new(),
            spilled: None,
        }
    }

    /// Adds a record.
    ///
    /// # Errors
    /// Errors of the file, such as a full disk.
    pub(super) fn push(&mut self, key: Key, record: &[u8]) -> io::Result<()> {
        let entry = size_of::<(Key, Range<usize>)>();
        if self.bytes.len() + record.len() + self.held.len() * entry > self.room {
            self.spill()?;
        }
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(record);
        self.held.push((key, begin..self.bytes.len()));
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        if self.spilled.is_none() {
            self.spilled = Some(Spilled {
                file: tempfile::tempfile_in(&self.directory)?,
                pieces: Vec::new(),
            });
        }
        let Some(Spilled { file, pieces }) = &mut self.spilled else {
            return Ok(());
        };
        self.held.sort_by_key(|(key, _)| *key);
        let mut out = BufWriter::new(&*file);
        let begin = pieces.last().map_or(0, |piece| piece.end);
        let mut end = begin;
        for (key, range) in self.held.drain(..) {
            let record = &self.bytes[range];
            let length = u32::try_from(record.len()).map_err(io::Error::other)?;
            out.write_all(&key.group.to_le_bytes())?;
            out.write_all(&key.time.to_le_bytes())?;
            out.write_all(&length.to_le_bytes())?;
            out.write_all(record)?;
            end += HEAD as u64 + u64::from(length);
        }
        out.flush()?;
        pieces.push(begin..end);
        self.bytes.clear();
        Ok(())
    }

    /// Passes all records to `take`, in order.
    ///
    /// # Errors
    /// Errors of the file, and of `take`.
    pub(super) fn each(
        mut self,
        mut take: impl FnMut(Key, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.spilled.is_none() {
            self.held.sort_by_key(|(key, _)| *key);
            for (key, range) in self.held {
                take(key, &self.bytes[range])?;
            }
            return Ok(());
        }
        self.spill()?;
        let Some(Spilled { file, pieces }) = self.spilled else {
            return Ok(());
        };
        drop((self.bytes, self.held));
        let mut pieces: Vec<Piece> = pieces.into_iter().map(|at| Piece::new(&file, at)).collect();
        let mut next = BinaryHeap::new();
        for (number, piece) in pieces.iter_mut().enumerate() {
            next.extend(piece.advance()?.map(|key| Reverse((key, number))));
        }
        while let Some(Reverse((key, number))) = next.pop() {
            let piece = &mut pieces[number];
            take(key, &piece.record)?;
            next.extend(piece.advance()?.map(|key| Reverse((key, number))));
        }
        Ok(())
    }
}

/// Bytes before each record: its key and its length.
const HEAD: usize = 16;

/// A sorted piece with its read position.
struct Piece<'a> {
    reader: io::BufReader<Window<'a>>,
    record: Vec<u8>,
}

impl<'a> Piece<'a> {
    fn new(file: &'a File, at: Range<u64>) -> Self {
        Self {
            reader: io::BufReader::with_capacity(WINDOW, Window { file, at }),
            record: Vec::new(),
        }
    }

    /// Reads the next record, and returns its key, if there is one.
    fn advance(&mut self) -> io::Result<Option<Key>> {
        let mut head = [0; HEAD];
        match self.reader.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let [
            g0,
            g1,
            g2,
            g3,
            t0,
            t1,
            t2,
            t3,
            t4,
            t5,
            t6,
            t7,
            l0,
            l1,
            l2,
            l3,
        ] = head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        self.record.resize(length as usize, 0);
        self.reader.read_exact(&mut self.record)?;
        Ok(Some(Key {
            group: u32::from_le_bytes([g0, g1, g2, g3]),
            time: i64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
        }))
    }
}

/// A part of a file that has several readers.
struct Window<'a> {
    file: &'a File,
    at: Range<u64>,
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.at.end - self.at.start).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..wanted], self.at.start)?;
        self.at.start += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::{Key, Sorter};

    fn sorted(room: usize) -> Vec<(Key, Vec<u8>)> {
        let mut sorter = Sorter::new(env::temp_dir());
        sorter.room = room;
        for number in 0..1000_u32 {
            let key = Key {
                group: number % 3,
                time: i64::from(number.wrapping_mul(2_654_435_761) % 97) - 50,
            };
            let record = vec![number.to_le_bytes()[0]; number as usize % 40];
            sorter.push(key, &record).expect("room");
        }
        let mut all = Vec::new();
        let each = sorter.each(|key, record| {
            all.push((key, record.to_vec()));
            Ok(())
        });
        each.expect("a file that can be read");
        all
    }

    #[test]
    fn a_file_gives_the_same_order_as_memory() {
        let all = sorted(1 << 20);
        assert_eq!(all.len(), 1000);
        assert!(all.is_sorted_by_key(|(key, _)| *key));
        assert!(all[0].0.time < 0);
        for room in [0, 100, 5_000] {
            assert_eq!(sorted(room), all, "with room for {room} bytes");
        }
    }
}
