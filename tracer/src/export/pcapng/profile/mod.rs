//! A Wireshark profile for captures.
//!
//! By default, Wireshark takes one packet at several points for retransmissions, and shows neither
//! the point nor the verdict. A profile is a folder of settings. Wireshark reads that folder where
//! it is, if `WIRESHARK_CONFIG_DIR` names it, and can import it.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::store::Target;

/// The files of the profile, by the names that Wireshark gives them.
const FILES: [(&str, &str); 3] = [
    ("preferences", include_str!("preferences")),
    ("colorfilters", include_str!("colorfilters")),
    ("decode_as_entries", include_str!("decode_as_entries")),
];

/// The folder of the profile beside a capture: `trace.pcapng.profile`.
pub(in crate::export) fn beside(capture: &Path) -> PathBuf {
    let mut path = OsString::from(capture);
    path.push(".profile");
    path.into()
}

/// Writes the profile into a folder. Files of an earlier profile are replaced, and files that
/// Wireshark has added stay.
///
/// # Errors
/// If the folder cannot be created, or a file cannot be written.
pub(in crate::export) fn write(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, text) in FILES {
        let mut target = Target::create(&folder.join(name))?;
        target.file.write_all(text.as_bytes())?;
        target.publish()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tracer_core::verdict::Kind;

    use super::*;

    #[test]
    fn each_verdict_has_a_colour() {
        let (_, rules) = FILES[1];
        for kind in Kind::ALL {
            let name = kind.name();
            let rule = format!("@{name}@frame.comment contains \"| {name}\"@");
            assert!(rules.contains(&rule), "{name}");
        }
    }

    #[test]
    fn an_earlier_profile_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let profile = beside(&folder.path().join("trace.pcapng"));
        assert!(profile.ends_with("trace.pcapng.profile"));
        write(&profile).expect("a new folder");
        for name in ["preferences", "recent"] {
            fs::write(profile.join(name), "the user's").expect("room");
        }
        write(&profile).expect("an earlier profile");
        let read = |name| fs::read_to_string(profile.join(name)).expect("it is there");
        assert_eq!(read("preferences"), FILES[0].1);
        assert_eq!(read("recent"), "the user's");
    }
}
