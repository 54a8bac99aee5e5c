//! The file that a trace is written into.
//!
//! Yesterday's trace under the same name may be the only one of a fault. So it
//! stays until today's can be read: a new file grows beside it, and takes its
//! name once the head is written. A fifo or a device has nothing to keep and
//! cannot be renamed over; it is written as it is.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use crate::stdio;

/// A file on its way to its name, or there.
pub(crate) struct Target {
    pub(crate) file: File,
    /// The name that the file has, and the one that it is to have.
    beside: Option<(PathBuf, PathBuf)>,
}

impl Target {
    /// Makes a file for `path`, and leaves alone what has that name.
    ///
    /// # Errors
    /// If nothing can be written there, or beside it.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        if stdio::is_dash(path) {
            let file = io::stdout().as_fd().try_clone_to_owned()?;
            return Ok(Self::direct(file.into()));
        }
        // Opened for writing, though it is not written: a file that may not be
        // written is not to be replaced either.
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
        // A link stays one: what it leads to is replaced.
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

    /// Gives the file its name; what had it before is gone.
    ///
    /// # Errors
    /// If the directory does not allow that.
    pub(crate) fn publish(&mut self) -> io::Result<()> {
        if let Some((new, path)) = &self.beside {
            fs::rename(new, path)?;
            self.beside = None;
        }
        Ok(())
    }
}

/// Whether the path is that of a file which somebody has open, as
/// `/dev/stdout`: to replace it would be no good to them.
fn is_open_elsewhere(path: &Path) -> bool {
    let special = |path: &Path| path.starts_with("/dev") || path.starts_with("/proc");
    special(path) && fs::canonicalize(path).is_ok_and(|target| !special(&target))
}

/// What never got its name is of no use to anybody.
impl Drop for Target {
    fn drop(&mut self) {
        if let Some((new, _)) = &self.beside {
            let _: io::Result<()> = fs::remove_file(new);
        }
    }
}
