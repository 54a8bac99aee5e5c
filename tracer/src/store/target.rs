//! The file into which a trace is written.
//!
//! An older trace with the same name may be the only one of a fault. So it stays until the new
//! one can be read. A new file is written beside it, and takes its name once the head is
//! written. A fifo or a device is written directly: it keeps nothing, and cannot be replaced by
//! renaming.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use crate::stdio;

/// A file that has its final name, or will get it.
pub(crate) struct Target {
    pub(crate) file: File,
    /// The file's present name and its final one; `None` once they are equal.
    beside: Option<(PathBuf, PathBuf)>,
}

impl Target {
    /// Creates a file for `path`, and keeps an existing file of that name.
    ///
    /// # Errors
    /// If the path or its folder cannot be written.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        if stdio::is_dash(path) {
            let file = io::stdout().as_fd().try_clone_to_owned()?;
            return Ok(Self::direct(file.into()));
        }
        // The old file is opened for writing only to check that: a file without write
        // permission must not be replaced either.
        let permissions = match OpenOptions::new().write(true).open(path) {
            Ok(file) => {
                let there = file.metadata()?;
                if !there.is_file() || is_open_elsewhere(path) {
                    return Ok(Self::direct(file));
                }
                Some(there.permissions())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        // A symbolic link stays; its target is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut name = path.file_name().map(OsString::from).unwrap_or_default();
        name.push(format!(".{:016x}.new", crate::random()));
        let new = path.with_file_name(name);
        let target = Self {
            file: OpenOptions::new().write(true).create_new(true).open(&new)?,
            beside: Some((new, path)),
        };
        if let Some(permissions) = permissions {
            target.file.set_permissions(permissions)?;
        }
        Ok(target)
    }

    const fn direct(file: File) -> Self {
        Self { file, beside: None }
    }

    /// Gives the file its final name, and replaces an existing file.
    ///
    /// # Errors
    /// If the folder does not allow that.
    pub(crate) fn publish(&mut self) -> io::Result<()> {
        if let Some((new, path)) = &self.beside {
            fs::rename(new, path)?;
            self.beside = None;
        }
        Ok(())
    }
}

/// Whether the path is that of an open file, as `/dev/stdout` is. Whoever has it open would not
/// see a replacement.
fn is_open_elsewhere(path: &Path) -> bool {
    let special = |path: &Path| path.starts_with("/dev") || path.starts_with("/proc");
    special(path) && fs::canonicalize(path).is_ok_and(|target| !special(&target))
}

/// A file that never got its final name is removed, because nobody can use it.
impl Drop for Target {
    fn drop(&mut self) {
        if let Some((new, _)) = &self.beside {
            let _: io::Result<()> = fs::remove_file(new);
        }
    }
}
