//! Writes archives that the kernel unpacks into its memory at boot: `cpio` in the format "newc"
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::{
    collections::HashSet,
    io::{self, Write},
    path::{Path, PathBuf},
};

const FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const LINK: u32 = 0o120_000;

/// An archive that is being written.
pub(super) struct Archive<W> {
    to: W,
    entries: u32,
    there: HashSet<PathBuf>,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(to: W) -> Self {
        Self {
            to,
            entries: 0,
            there: HashSet::new(),
        }
    }

    /// Adds a directory, and the directories above it.
    pub(super) fn directory(&mut self, path: &str) -> io::Result<()> {
        let path = Path::new(path.trim_start_matches('/'));
        let ancestors: Vec<_> = path
            .ancestors()
            .filter(|path| path.parent().is_some())
            .collect();
        for path in ancestors.into_iter().rev() {
            self.entry(path, DIRECTORY | 0o755, &[])?;
        }
        Ok(())
    }

    /// Adds a file that everybody may read and run, and the directories above it.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.leaf(path, FILE | 0o755, content)
    }

    /// Adds a symbolic link, and the directories above it.
    pub(super) fn link(&mut self, path: &str, to: &str) -> io::Result<()> {
        self.leaf(path, LINK | 0o777, to.as_bytes())
    }

    /// Writes the archive's end.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.entry(Path::new("TRAILER!!!"), 0, &[])?;
        self.to.flush()
    }

    fn leaf(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let path = path.trim_start_matches('/');
        if let Some((directory, _)) = path.rsplit_once('/') {
            self.directory(directory)?;
        }
        self.entry(Path::new(path), mode, content)
    }

    /// Adds an entry, if its path is not there already.
    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
        if !self.there.insert(path.to_owned()) {
            return Ok(());
        }
        let name = path.as_os_str().as_encoded_bytes();
        let too_large = |_| io::Error::other(format!("{} is too large", path.display()));
        let size = u32::try_from(content.len()).map_err(too_large)?;
        let name_size = u32::try_from(name.len() + 1).map_err(too_large)?;
        self.entries += 1;
        write!(self.to, "070701")?;
        // Inode, mode, owner, group, links, time, size, the numbers of two devices, the size of the
        // name, checksum.
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            0,
            0,
            name_size,
            0,
        ];
        for field in fields {
            write!(self.to, "{field:08x}")?;
        }
        self.to.write_all(name)?;
        self.to.write_all(b"\0")?;
        self.pad(110 + name.len() + 1)?;
        self.to.write_all(content)?;
        self.pad(content.len())
    }

    /// Fills up to a multiple of four bytes, at which names and contents must begin.
    fn pad(&mut self, written: usize) -> io::Result<()> {
        let zeros = [0; 3];
        self.to
            .write_all(&zeros[..written.next_multiple_of(4) - written])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_come_after_their_directories() {
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes);
        archive.file("/usr/bin/ip", b"five!").expect("memory");
        archive.link("/usr/sbin/ip", "../bin/ip").expect("memory");
        archive.finish().expect("memory");
        let mut names = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            assert_eq!(&rest[..6], b"070701");
            let field = |index: usize| {
                let hex = std::str::from_utf8(&rest[6 + index * 8..][..8]).expect("hex");
                usize::from_str_radix(hex, 16).expect("hex")
            };
            let (size, name_size) = (field(6), field(11));
            let name = std::str::from_utf8(&rest[110..110 + name_size - 1]).expect("a name");
            names.push(name.to_owned());
            let content = (110 + name_size).next_multiple_of(4);
            if name == "usr/bin/ip" {
                assert_eq!(&rest[content..content + size], b"five!");
            }
            rest = &rest[(content + size).next_multiple_of(4)..];
        }
        let expected = [
            "usr",
            "usr/bin",
            "usr/bin/ip",
            "usr/sbin",
            "usr/sbin/ip",
            "TRAILER!!!",
        ];
        assert_eq!(names, expected);
    }
}
