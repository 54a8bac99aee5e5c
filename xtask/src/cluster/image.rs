//! Container images without a registry and without an engine: archives as `docker save`
//! writes them, of files of this machine and the libraries that these load.

use std::{
    fs::{self, File},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::place::{Place, quiet};
use crate::command;

/// An image: what it is called, what it runs, and which programs it has besides a shell.
struct Image {
    name: &'static str,
    entrypoint: &'static [&'static str],
    shell: bool,
    programs: Vec<(&'static str, PathBuf)>,
}

/// All that the cluster's pods are made of.
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
    let images = all(place);
    let file = |image: &Image| place.images().join(image.name).with_extension("tar");
    images.iter().map(file).collect()
}

/// Makes all of them.
pub(super) fn make(place: &Place) -> Result<()> {
    let stage = place.root().join("stage");
    fs::create_dir_all(place.images())?;
    for image in all(place) {
        super::remove(&stage)?;
        let root = stage.join("root");
        image.fill(&root, place)?;
        image.pack(&stage, place)?;
    }
    super::remove(&stage)
}

impl Image {
    /// Lays out its files.
    fn fill(&self, root: &Path, place: &Place) -> Result<()> {
        for directory in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
            fs::create_dir_all(root.join(directory))?;
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
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

    /// Writes the archive: a layer, its configuration, and what names both.
    fn pack(&self, stage: &Path, place: &Place) -> Result<()> {
        let layer = stage.join("layer.tar");
        tar(&layer, &stage.join("root"), ".")?;
        let config = json!({
            "architecture": ARCHITECTURE,
            "os": "linux",
            "config": {
                "Entrypoint": self.entrypoint,
                "Env": ["PATH=/bin"],
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hash(&layer)?)]},
            "history": [{"created_by": "cargo xtask cluster build"}],
        });
        let archive = stage.join("archive");
        fs::create_dir_all(&archive)?;
        fs::rename(layer, archive.join("layer.tar"))?;
        fs::write(archive.join("config.json"), config.to_string())?;
        let config = format!("{}.json", hash(&archive.join("config.json"))?);
        fs::rename(archive.join("config.json"), archive.join(&config))?;
        let manifest = json!([{
            "Config": config,
            "RepoTags": [format!("local.test/{}:1", self.name)],
            "Layers": ["layer.tar"],
        }]);
        fs::write(archive.join("manifest.json"), manifest.to_string())?;
        let begun = stage.join("image.tar");
        tar(&begun, &archive, ".")?;
        let done = place.images().join(self.name).with_extension("tar");
        fs::rename(begun, done).context("cannot keep the image")
    }
}

/// The machine's, as images name it.
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "amd64"
};

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

/// The same files make the same archive.
fn tar(file: &Path, directory: &Path, what: &str) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--sort=name", "--mtime=@0", "--owner=0"]);
    tar.args(["--group=0", "--numeric-owner", "--file"])
        .arg(file);
    quiet(tar.arg("--directory").arg(directory).arg(what))
}

fn hash(file: &Path) -> Result<String> {
    let mut sum = Command::new("sha256sum");
    let output = sum.stdin(File::open(file)?).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let hash = text.split_whitespace().next().unwrap_or_default();
    ensure!(hash.len() == 64, "sha256sum printed no hash");
    Ok(hash.to_owned())
}
