//! Why text has no objects, before the file's name is known.

use std::{fmt, io, path::Path};

use super::InventoryError;

/// Why objects cannot be read; the caller adds the file's name.
#[derive(Debug)]
pub(super) enum Error {
    /// The text is not YAML; with the cause.
    NotYaml(String),
    /// The text begins like JSON, but is not JSON; with the cause.
    NotJson(String),
    /// The text is valid, but has no Kubernetes objects; with what is wrong.
    NotObjects(String),
    /// The file cannot be read.
    Read(io::Error),
    /// The receiver of an object refused it.
    Taken(InventoryError),
}

/// Parsers keep only the text of an error.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYaml(why) | Self::NotJson(why) | Self::NotObjects(why) => f.write_str(why),
            Self::Read(error) => error.fmt(f),
            Self::Taken(error) => error.fmt(f),
        }
    }
}

impl Error {
    pub(super) fn of(self, path: &Path) -> InventoryError {
        let path = path.to_owned();
        match self {
            Self::NotYaml(why) => InventoryError::NotYaml {
                path,
                why: brief(&why),
            },
            Self::NotJson(why) => InventoryError::NotJson {
                path,
                why: brief(&why),
            },
            Self::NotObjects(why) => InventoryError::NotObjects {
                path,
                why: brief(&why),
            },
            Self::Read(source) => InventoryError::Read { path, source },
            Self::Taken(error) => error,
        }
    }
}

/// The beginning of a text, for a sentence, because errors may quote a whole file.
fn brief(text: &str) -> String {
    const ROOM: usize = 120;
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(ROOM) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
