//! Extracts the recording inside an export, unchanged.

use std::{io::Write as _, path::Path};

use super::{
    ImportError,
    capture::{Captured, Input, Item},
    survey::Survey,
};
use crate::{
    stdio,
    store::{RecordError, Target, piece_path},
};

/// Writes all complete recordings inside an export, and prints their names.
pub(super) fn restore(
    input: &Input,
    survey: &Survey,
    out: &Path,
) -> Result<Vec<String>, ImportError> {
    if survey.carried > 1 && stdio::is_dash(out) {
        return Err(ImportError::Several {
            file: survey.name.clone(),
            count: survey.carried as usize,
        });
    }
    let mut targets = Vec::new();
    for recording in 0..survey.carried {
        let path = piece_path(out, recording);
        if recording > 0 && path.symlink_metadata().is_ok() {
            return Err(ImportError::Taken(path));
        }
        let target = Target::create(&path).map_err(|source| RecordError::Create {
            path: path.clone(),
            source,
        })?;
        targets.push((path, target, 0));
    }
    let mut capture = input.capture()?;
    let mut packet = Captured::default();
    while let Some(item) = capture.next(&mut packet) {
        let Item::Piece(piece) = item else {
            continue;
        };
        let Some((path, target, written)) = targets.get_mut(piece.recording as usize) else {
            continue;
        };
        if piece.at != *written {
            return Err(ImportError::Pieces(survey.name.clone()));
        }
        let failed = |source| RecordError::Write {
            path: path.clone(),
            source,
            kept: "nothing".to_owned(),
        };
        target.file.write_all(&piece.bytes).map_err(failed)?;
        *written += piece.bytes.len() as u64;
    }
    let mut names = Vec::new();
    for (path, mut target, _) in targets {
        let published = target.publish();
        published.map_err(|source| RecordError::Create {
            path: path.clone(),
            source,
        })?;
        names.push(stdio::output(&path));
    }
    Ok(names)
}
