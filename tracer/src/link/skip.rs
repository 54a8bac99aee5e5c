//! Skips output before an agent's records, such as a login's greeting or a shell's error.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex},
};

use super::lock;

/// First bytes of every message of a recording. No text contains these bytes.
const BEGIN: [u8; 4] = [0xff; 4];

/// Limit of skipped output, bytes.
const MOST: usize = 1 << 16;

/// A stream, from its first record on.
pub(super) struct Skipping<R> {
    input: R,
    /// Bytes that were read at the beginning and not returned yet.
    ready: Vec<u8>,
    skipped: Arc<Mutex<Vec<u8>>>,
    begun: bool,
}

impl<R: Read> Skipping<R> {
    /// Creates the stream. The second value shows the skipped output.
    pub(super) fn new(input: R) -> (Self, Arc<Mutex<Vec<u8>>>) {
        let skipped = Arc::new(Mutex::new(Vec::new()));
        let skipping = Self {
            input,
            ready: Vec::new(),
            skipped: Arc::clone(&skipped),
            begun: false,
        };
        (skipping, skipped)
    }

    /// Reads up to the first record, or to the end.
    fn begin(&mut self) -> io::Result<()> {
        let mut window = Vec::new();
        let mut byte = [0];
        while window.len() < MOST && self.input.read(&mut byte)? > 0 {
            window.push(byte[0]);
            if window.ends_with(&BEGIN) {
                window.truncate(window.len() - BEGIN.len());
                self.ready = BEGIN.to_vec();
                break;
            }
        }
        *lock(&self.skipped) = window;
        self.begun = true;
        Ok(())
    }
}

impl<R: Read> Read for Skipping<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.begun {
            self.begin()?;
        }
        if self.ready.is_empty() {
            return self.input.read(buffer);
        }
        let count = self.ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.ready[..count]);
        self.ready.drain(..count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (mut skipping, skipped) = Skipping::new(bytes);
        let mut all = Vec::new();
        skipping.read_to_end(&mut all).expect("memory");
        let skipped = skipped.lock().expect("one thread").clone();
        (skipped, all)
    }

    #[test]
    fn what_is_before_the_first_record_is_skipped() {
        let records = [BEGIN.as_slice(), b"abc", &BEGIN].concat();
        let greeting = "Welcome to node-b\n";
        let bytes = [greeting.as_bytes(), &records].concat();
        assert_eq!(read(&bytes), (greeting.into(), records.clone()));
        assert_eq!(read(&records), (Vec::new(), records));
        let nothing = b"command not found";
        assert_eq!(read(nothing), (nothing.to_vec(), Vec::new()));
        let endless = vec![b'y'; MOST + 9];
        assert_eq!(read(&endless).0.len(), MOST);
    }
}
