//! The output of an export: a file, standard output, or a folder.
//!
//! The final name appears only once the output is complete. An older file of that name stays
//! until then.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use crate::{stdio, store::Target};

/// The files of an export.
pub(super) struct Output {
    place: Place,
    /// Folder on the same disk for temporary files.
    directory: PathBuf,
}

enum Place {
    File(Target),
    Folder {
        /// Path of the folder until it is complete.
        new: PathBuf,
        path: PathBuf,
        /// Whether the output has its final name.
        published: bool,
    },
}

impl Output {
    /// Creates an output of one file.
    ///
    /// # Errors
    /// If the file cannot be written.
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

    /// Creates an output folder, which must not exist yet, or must be empty.
    ///
    /// # Errors
    /// If the folder has files, or cannot be created.
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

    /// A folder on the same disk, for temporary files.
    pub(super) fn directory(&self) -> PathBuf {
        self.directory.clone()
    }

    /// The single file to write into, or a new file in the folder.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub(super) fn file(&mut self, name: &str) -> io::Result<BufWriter<File>> {
        let file = match &self.place {
            Place::File(target) => target.file.try_clone()?,
            Place::Folder { new, .. } => create(new, name)?,
        };
        Ok(BufWriter::with_capacity(1 << 17, file))
    }

    /// A new file at a path inside the folder.
    ///
    /// # Errors
    /// If the file cannot be created, or exists already.
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

    /// Gives the output its final name.
    ///
    /// # Errors
    /// If the folder around it does not allow that.
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

/// An output that never got its final name is removed, because nobody can use it.
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

/// The folder that contains a path.
pub(super) fn beside(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    parent.unwrap_or(Path::new(".")).to_owned()
}

/// Creates a new file in a folder. Names come from recordings, and may be equal.
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
