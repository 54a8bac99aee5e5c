//! `tracer extcap install`: makes a link to this program where Wireshark looks for interfaces.

use std::{
    env, fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::LINK;
use crate::cli::error::Failure;

/// Programs that list Wireshark's folders.
const ASKED: [&str; 2] = ["tshark", "wireshark"];
/// The personal folder of Wireshark 4.2 and later, within a user's home.
const PERSONAL: &str = ".local/lib/wireshark/extcap";

/// Makes the link, and returns the next steps for the user.
///
/// # Errors
/// If there is no folder for the link, or another file has its name.
pub(super) fn run(dir: Option<&Path>) -> Result<String, Failure> {
    let dir = match dir {
        Some(dir) => dir.to_owned(),
        None => personal()?,
    };
    let program = env::current_exe()
        .map_err(|error| Failure::new(format!("the path of this program is not known: {error}")))?;
    let link = dir.join(LINK);
    place(&program, &link)?;
    Ok(format!(
        "{} leads to {}\n\
         Next: in Wireshark, Capture > Refresh Interfaces (F5), then the gear of the interface\n\
         `tracer: packet path`. `tshark -D` lists it, too.\n",
        link.display(),
        program.display()
    ))
}

/// Makes the link. Replaces a link to another `tracer`, which this command has made as well.
fn place(program: &Path, link: &Path) -> Result<(), Failure> {
    let failed =
        |error: io::Error| Failure::new(format!("cannot make {}: {error}", link.display()));
    if let Some(folder) = link.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    match link.symlink_metadata() {
        Ok(_) => {
            let to = fs::read_link(link).ok();
            if to.is_none_or(|to| to.file_name() != program.file_name()) {
                return Err(Failure::new(format!(
                    "{} is no link to tracer, and stays: remove it, or give another folder with \
                     --dir",
                    link.display()
                )));
            }
            fs::remove_file(link).map_err(failed)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    symlink(program, link).map_err(failed)
}

/// The personal folder of the installed Wireshark.
fn personal() -> Result<PathBuf, Failure> {
    let asked = ASKED.iter().find_map(|program| {
        let mut command = Command::new(program);
        command.args(["-G", "folders"]).stdin(Stdio::null());
        let output = command.output().ok().filter(|ran| ran.status.success())?;
        String::from_utf8(output.stdout).ok()
    });
    let Some(folders) = asked else {
        return env::home_dir()
            .map(|home| home.join(PERSONAL))
            .ok_or_else(|| {
                Failure::new("your home directory is not known: name a folder with --dir")
            });
    };
    let folder = |name: &str| {
        let line = folders.lines().find_map(|line| line.strip_prefix(name));
        line.map(|line| PathBuf::from(line.trim()))
    };
    folder("Personal Extcap path:").ok_or_else(|| {
        let of_all = folder("Extcap path:").unwrap_or_else(|| "DIR".into());
        Failure::new(format!(
            "this Wireshark has no extcap folder for one user, as versions before 4.2: `sudo tracer \
             extcap install --dir {}` is for all users, and `--dir DIR` for one who sets \
             WIRESHARK_EXTCAP_DIR=DIR",
            of_all.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_link_to_tracer_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let link = folder.path().join("new").join(LINK);
        place(Path::new("/old/tracer"), &link).expect("a new folder");
        place(Path::new("/new/tracer"), &link).expect("an old link");
        assert_eq!(
            fs::read_link(&link).expect("a link"),
            Path::new("/new/tracer")
        );

        for make in [
            (|link| symlink("/bin/sh", link)) as fn(&Path) -> io::Result<()>,
            |link| fs::write(link, "#!/bin/sh"),
            |link| fs::create_dir(link),
        ] {
            fs::remove_file(&link).expect("it is there");
            make(&link).expect("room");
            let refused = place(Path::new("/new/tracer"), &link);
            assert!(matches!(refused, Err(Failure::Other(_))), "{refused:?}");
            assert!(link.symlink_metadata().is_ok());
        }
    }
}
