//! Where an export goes: into a file, into standard output, or into a folder.
//!
//! Nothing is there under its final name before it is complete. What has that name
//! stays until then.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use crate::{stdio, store::Target};

/// Files that are being written.
pub(super) struct Output {
    place: Place,
    /// A place on the same disk for what is only needed meanwhile.
    directory: PathBuf,
}

enum Place {
    File(Target),
    Folder {
        /// Where the folder is until it is complete.
        new: PathBuf,
        path: PathBuf,
        /// Whether it has its name.
        published: bool,
    },
}

impl Output {
    /// One file.
    ///
    /// # Errors
    /// If nothing can be written there.
    pub(super) fn file_at(path: &Path) -> io::Result<Self> {
        let directory = if stdio::is_dash(path) {
            env::temp_dir()
        } else {
            beside(path)
        };
        Ok(Self {
            place: Place::File(Target::create(path)?),
            directory,
        })
    }

    /// A folder, which must not be there yet, or be empty.
    ///
    /// # Errors
    /// If it is not, or cannot be made.
    pub(super) fn folder_at(path: &Path) -> io::Result<Self> {
        match fs::read_dir(path) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(io::Error::other(
                        "it is a folder with something in it: name a new one",
                    ));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(io::Error::other("it is no folder: name a new one"));
            }
            Err(error) => return Err(error),
        }
        let mut name = path.file_name().map(OsString::from).unwrap_or_default();
        name.push(format!(".{:016x}.new", crate::random()));
        let new = path.with_file_name(name);
        fs::create_dir(&new)?;
        Ok(Self {
            place: Place::Folder {
                new,
                path: path.to_owned(),
                published: false,
            },
            directory: beside(path),
        })
    }

    /// A folder on the same disk.
    pub(super) fn directory(&self) -> PathBuf {
        self.directory.clone()
    }

    /// A file to write into: the one, or another of the folder.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(super) fn file(&mut self, name: &str) -> io::Result<BufWriter<File>> {
        let file = match &self.place {
            Place::File(target) => target.file.try_clone()?,
            Place::Folder { new, .. } => create(new, name)?,
        };
        Ok(BufWriter::with_capacity(1 << 17, file))
    }

    /// A file inside the folder, in folders of its own.
    ///
    /// # Errors
    /// If it cannot be made, or is there already.
    pub(super) fn file_inside(&self, path: &Path) -> io::Result<BufWriter<File>> {
        let Place::Folder { new, .. } = &self.place else {
            return Err(io::ErrorKind::NotADirectory.into());
        };
        let path = new.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = File::create_new(path)?;
        Ok(BufWriter::with_capacity(1 << 17, file))
    }

    /// Gives what was written its name.
    ///
    /// # Errors
    /// If the folder that it is in does not allow that.
    pub(super) fn publish(&mut self) -> io::Result<()> {
        match &mut self.place {
            Place::File(target) => target.publish(),
            Place::Folder {
                new,
                path,
                published,
            } => {
                fs::rename(new, path)?;
                *published = true;
                Ok(())
            }
        }
    }
}

/// What never got its name is of no use to anybody.
impl Drop for Output {
    fn drop(&mut self) {
        if let Place::Folder {
            new,
            published: false,
            ..
        } = &self.place
        {
            let _: io::Result<()> = fs::remove_dir_all(new);
        }
    }
}

/// The folder that a path is in.
pub(super) fn beside(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    parent.unwrap_or(Path::new(".")).to_owned()
}

/// Makes a file in a folder: names are of strangers, and may be alike.
fn create(folder: &Path, name: &str) -> io::Result<File> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let name: String = name
        .chars()
        .map(|c| if allowed(c) { c } else { '_' })
        .collect();
    let (stem, suffix) = name.rsplit_once('.').unwrap_or((&name, ""));
    let stem = &stem[..stem.len().min(200)];
    let mut names = (1_u32..).map(|number| match number {
        1 => format!("{stem}.{suffix}"),
        _ => format!("{stem}-{number}.{suffix}"),
    });
    loop {
        let name = names.next().unwrap_or_default();
        match File::create_new(folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made,
        }
    }
}
