//! Makes images for the cluster's pods from files of this machine and the libraries that these
//! load.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use serde_json::json;

use super::place::Place;
use crate::{command, image};

/// An image: its name, its entrypoint, and its programs besides a shell.
struct Image {
    name: &'static str,
    entrypoint: &'static [&'static str],
    shell: bool,
    programs: Vec<(&'static str, PathBuf)>,
}

/// The images of all the cluster's pods.
fn all(place: &Place) -> [Image; 3] {
    let machine = |name: &'static str| (name, Path::new("/usr/bin").join(name));
    [
        Image {
            name: "pause",
            entrypoint: &["/bin/sleep", "2147483647"],
            shell: true,
            programs: Vec::new(),
        },
        Image {
            name: "tools",
            entrypoint: &["/bin/sh"],
            shell: true,
            programs: ["curl", "iperf3", "socat"].map(machine).into(),
        },
        Image {
            name: "coredns",
            entrypoint: &["/bin/coredns"],
            shell: false,
            programs: vec![("coredns", place.programs().join("coredns"))],
        },
    ]
}

/// The files of all images.
pub(super) fn files(place: &Place) -> Vec<PathBuf> {
    all(place).iter().map(|image| image.file(place)).collect()
}

/// Makes all images.
pub(super) fn make(place: &Place) -> Result<()> {
    for image in all(place) {
        let archive = image.file(place);
        let stage = image::stage(&archive)?;
        image.fill(stage.path(), place)?;
        let packed = image::Image {
            name: &format!("local.test/{}:1", image.name),
            entrypoint: image.entrypoint,
            labels: json!({}),
            made_by: "cargo xtask cluster build",
        };
        packed.pack(stage.path(), &archive)?;
    }
    Ok(())
}

impl Image {
    fn file(&self, place: &Place) -> PathBuf {
        place.images().join(self.name).with_extension("tar")
    }

    /// Lays out the image's files.
    fn fill(&self, root: &Path, place: &Place) -> Result<()> {
        for directory in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
            fs::create_dir_all(root.join(directory))?;
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n")?;
        fs::write(root.join("etc/nsswitch.conf"), "hosts: files dns\n")?;
        if self.shell {
            let busybox = place.debian().join("bin/busybox");
            fs::copy(&busybox, root.join("bin/busybox"))?;
            let applets = command::output(Command::new(&busybox).arg("--list"))?;
            for applet in applets.lines().filter(|applet| *applet != "busybox") {
                symlink("busybox", root.join("bin").join(applet))?;
            }
        }
        for (name, source) in &self.programs {
            add(root, &Path::new("bin").join(name), source)?;
            for library in libraries(source)? {
                add(root, &library, &Path::new("/").join(&library))?;
            }
        }
        Ok(())
    }
}

fn add(root: &Path, path: &Path, source: &Path) -> Result<()> {
    let to = root.join(path);
    fs::create_dir_all(to.parent().context("a file is in a directory")?)?;
    fs::copy(source, to).with_context(|| format!("cannot copy {}", source.display()))?;
    Ok(())
}

/// The libraries that a program loads, relative to the root; none for a static one.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let mut ldd = Command::new("ldd");
    let output = ldd.arg(program).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.lines().flat_map(str::split_whitespace);
    let paths = words.filter_map(|word| word.strip_prefix('/'));
    Ok(paths.map(PathBuf::from).collect())
}
