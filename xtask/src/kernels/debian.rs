//! Fetches and unpacks the kernel of a Debian release and its modules, without installing them.
//!
//! The packages come from this machine's own source of Debian's packages. apt reads another release
//! from it, with separate lists, so the machine's own state stays as it is.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::cache;
use crate::command::{output, run, say};

/// A package that depends on the release's kernel for cloud images.
const METAPACKAGE: &str = "linux-image-cloud-amd64";
/// A single static program with many commands.
const BUSYBOX: &str = "busybox-static";
/// Directories below `kernel` with modules that the lab or its machine may need.
const MODULES: &[&str] = &[
    "arch",
    "crypto",
    "drivers/char",
    "drivers/net",
    "drivers/virtio",
    "lib",
    "net",
];
/// The file that lists the kept directories. A kernel in the cache may have been kept with an older
/// list.
const KEPT: &str = "kept";

/// An unpacked kernel.
pub(super) struct Kernel {
    /// The version, as `uname -r` prints it.
    pub(super) version: String,
    /// The compressed kernel.
    pub(super) vmlinuz: PathBuf,
    /// The uncompressed modules and their index: `lib/modules/VERSION`.
    pub(super) modules: PathBuf,
    /// Busybox.
    pub(super) busybox: PathBuf,
}

/// The kernel of a release. Fetches the kernel if it is not in the cache.
pub(super) fn kernel(release: &str) -> Result<Kernel> {
    let directory = cache()?.join(release);
    let kept = fs::read_to_string(directory.join(KEPT)).unwrap_or_default();
    if kept != MODULES.join("\n") {
        say(format!("fetching the kernel of Debian {release}"));
        let unfinished = directory.with_extension("unfinished");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        match fetch(release, &unfinished) {
            Ok(()) => {
                if directory.exists() {
                    fs::remove_dir_all(&directory)?;
                }
                fs::rename(&unfinished, &directory)?;
            }
            // A kernel with fewer modules is enough for most tests.
            Err(error) if found_in(&directory).is_ok() => {
                say(format!("the kernel that is kept will do: {error:#}"));
            }
            Err(error) => return Err(error),
        }
    }
    found_in(&directory).with_context(|| {
        let directory = directory.display();
        format!("{directory} is not what this makes: remove it, then run this again")
    })
}

fn found_in(directory: &Path) -> Result<Kernel> {
    let version = version(directory)?;
    let kernel = Kernel {
        vmlinuz: directory.join("vmlinuz"),
        modules: directory.join("lib/modules").join(&version),
        busybox: directory.join("busybox"),
        version,
    };
    let index = kernel.modules.join("modules.dep");
    for file in [&kernel.vmlinuz, &kernel.busybox, &index] {
        ensure!(file.is_file(), "{} is missing", file.display());
    }
    Ok(kernel)
}

/// The version of the kernel whose modules are there.
fn version(directory: &Path) -> Result<String> {
    let mut versions = fs::read_dir(directory.join("lib/modules"))?;
    let modules = versions.next().context("there are no modules")??;
    Ok(modules.file_name().to_string_lossy().into_owned())
}

/// Fetches and unpacks the packages.
fn fetch(release: &str, directory: &Path) -> Result<()> {
    let apt = Apt::new(release, &directory.join("apt"))?;
    apt.update()?;
    for package in apt.packages()? {
        let package = apt.download(&package)?;
        run(Command::new("dpkg-deb")
            .arg("-x")
            .arg(package)
            .arg(directory))?;
    }
    // The releases have these files at different places.
    let settle = |to: &str, places: &[&str]| -> Result<()> {
        let mut places = places.iter().map(|place| directory.join(place));
        let found = places.find(|place| place.exists());
        let found = found.with_context(|| format!("the packages have no {to}"))?;
        Ok(fs::rename(found, directory.join(to))?)
    };
    settle("busybox", &["bin/busybox", "usr/bin/busybox"])?;
    fs::create_dir_all(directory.join("lib"))?;
    settle("lib/modules", &["lib/modules", "usr/lib/modules"])?;
    let version = version(directory)?;
    let places = [
        format!("boot/vmlinuz-{version}"),
        format!("lib/modules/{version}/vmlinuz"),
    ];
    settle("vmlinuz", &places.each_ref().map(String::as_str))?;
    unpack_modules(&directory.join("lib/modules").join(&version))?;
    run(Command::new(directory.join("busybox"))
        .args(["depmod", "-b"])
        .arg(directory)
        .arg(version))?;
    for rest in ["apt", "boot", "usr"] {
        let rest = directory.join(rest);
        if rest.exists() {
            fs::remove_dir_all(rest)?;
        }
    }
    fs::write(directory.join(KEPT), MODULES.join("\n"))?;
    Ok(())
}

/// Keeps only modules that the lab may need, and unpacks them.
fn unpack_modules(modules: &Path) -> Result<()> {
    let (all, kept) = (modules.join("kernel"), modules.join("kept"));
    for directory in MODULES {
        let (from, to) = (all.join(directory), kept.join(directory));
        if from.exists() {
            fs::create_dir_all(to.parent().context("it is below `kept`")?)?;
            fs::rename(from, to)?;
        }
    }
    fs::remove_dir_all(&all)?;
    fs::rename(&kept, &all)?;
    for file in files_below(&all)? {
        if file.extension().is_some_and(|extension| extension == "xz") {
            run(Command::new("xz").arg("--decompress").arg(file))?;
        }
    }
    Ok(())
}

/// All files in a directory and in the directories below it.
pub(super) fn files_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// apt for one release.
struct Apt {
    directory: PathBuf,
    options: Vec<String>,
}

impl Apt {
    fn new(release: &str, directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory.join("lists/partial"))?;
        // `apt-get update` brings these names into a form of its own.
        let directory = directory.canonicalize()?;
        let sources = directory.join("sources.list");
        fs::write(&sources, format!("deb {} {release} main\n", archive()?))?;
        let options = [
            format!("Dir::Etc::sourcelist={}", sources.display()),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("Dir::State::Lists={}", directory.join("lists").display()),
            "Dir::Cache::pkgcache=".to_owned(),
            "Dir::Cache::srcpkgcache=".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            // Without this, another user would write to this directory.
            "APT::Sandbox::User=root".to_owned(),
        ];
        Ok(Self {
            directory,
            options: options.into(),
        })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-q").current_dir(&self.directory);
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }

    fn update(&self) -> Result<()> {
        let log = File::create(self.directory.join("update.log"))?;
        run(self.command("apt-get").arg("update").stdout(log))
    }

    /// The packages to unpack: the package that the metapackage depends on, the packages that newer
    /// releases have split off it, and busybox.
    fn packages(&self) -> Result<Vec<String>> {
        let image = self.dependencies(METAPACKAGE, &["linux-image-"])?;
        let [image] = image.as_slice() else {
            bail!("{METAPACKAGE} stands for one kernel, not for {image:?}");
        };
        let mut packages = self.dependencies(image, &["linux-binary-", "linux-modules-"])?;
        packages.extend([image.clone(), BUSYBOX.to_owned()]);
        Ok(packages)
    }

    /// The dependencies of a package whose names begin with one of the prefixes.
    fn dependencies(&self, package: &str, prefixes: &[&str]) -> Result<Vec<String>> {
        let text = output(self.command("apt-cache").args(["depends", package]))?;
        let depends = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)));
        Ok(depends.map(str::to_owned).collect())
    }

    /// Downloads a package, and returns its file.
    fn download(&self, package: &str) -> Result<PathBuf> {
        let log = File::create(self.directory.join("download.log"))?;
        run(self
            .command("apt-get")
            .args(["download", package])
            .stdout(log))?;
        let begin = format!("{package}_");
        files_below(&self.directory)?
            .into_iter()
            .find(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with(&begin) && name.ends_with(".deb")
            })
            .with_context(|| format!("apt-get has not written {package}"))
    }
}

/// The source from which this machine gets Debian's packages.
fn archive() -> Result<String> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(REPO_URI)"]);
    targets.args(["Created-By: Packages", "Origin: Debian", "Label: Debian"]);
    let uri = output(&mut targets)?.lines().next().map(str::to_owned);
    uri.context("apt has no source of Debian's packages here: the kernels are Debian's")
}
