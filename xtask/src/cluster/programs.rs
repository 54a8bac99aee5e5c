//! Makes the programs that are kept for every cluster: Kubernetes, Flannel, CoreDNS and the CNI
//! plugins, which Go compiles, some of Debian's packages, and images.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{image, place::Place};
use crate::{
    command::{output, quiet, run_shown, say},
    setup,
};

/// The names of the one Kubernetes program. Its name decides which of these it is.
const KUBERNETES: &[&str] = &[
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
];
/// CNI plugins, which `go.mod` names as tools.
const CNI: &[&str] = &["bridge", "host-local", "loopback", "portmap"];
/// Debian's packages. They are unpacked beside the machine's own, so that no service starts.
const PACKAGES: &[(&str, &str)] = &[
    ("etcd-server", "usr/bin/etcd"),
    ("containerd", "usr/bin/containerd"),
    ("runc", "usr/sbin/runc"),
    ("busybox-static", "bin/busybox"),
];
/// The source of the programs. When it changes, the programs are compiled again.
const SOURCE: &[&str] = &[
    include_str!("../../../tests/cluster/go.mod"),
    include_str!("../../../tests/cluster/go.sum"),
    include_str!("../../../tests/cluster/kube/main.go"),
    include_str!("../../../tests/cluster/flanneld/main.go"),
    include_str!("../../../tests/cluster/coredns/go.mod"),
    include_str!("../../../tests/cluster/coredns/go.sum"),
    include_str!("../../../tests/cluster/coredns/main.go"),
];

/// Makes what is missing.
pub(super) fn build(place: &Place) -> Result<()> {
    setup::cluster()?;
    if kept(place).is_ok() {
        return Ok(());
    }
    unpack(place)?;
    compile(place)?;
    say("making images");
    image::make(place)?;
    fs::write(stamp(place), SOURCE.concat())?;
    kept(place)
}

/// Checks that everything is there, and was made from this source.
///
/// # Errors
/// If something is missing, or was made from another source.
pub(super) fn kept(place: &Place) -> Result<()> {
    let programs = place.programs();
    let mut files: Vec<PathBuf> = KUBERNETES.iter().map(|name| programs.join(name)).collect();
    files.extend(["flanneld", "coredns"].map(|name| programs.join(name)));
    files.extend(CNI.iter().map(|name| programs.join("cni").join(name)));
    files.extend(PACKAGES.iter().map(|(_, file)| place.debian().join(file)));
    files.extend(image::files(place));
    for file in files {
        ensure!(file.is_file(), "the cluster has no {}", file.display());
    }
    let made_of = fs::read_to_string(stamp(place)).unwrap_or_default();
    ensure!(
        made_of == SOURCE.concat(),
        "the cluster's programs are of another `tests/cluster`"
    );
    Ok(())
}

fn stamp(place: &Place) -> PathBuf {
    place.programs().join("made-of")
}

/// Fetches Debian's packages, and unpacks them.
fn unpack(place: &Place) -> Result<()> {
    let debian = place.debian();
    for (package, file) in PACKAGES {
        if debian.join(file).is_file() {
            continue;
        }
        let fetched = place.root().join("packages");
        super::remove(&fetched)?;
        fs::create_dir_all(&fetched)?;
        setup::apt_download(package, &fetched)?;
        for entry in fs::read_dir(&fetched)? {
            let mut unpack = Command::new("dpkg-deb");
            unpack.arg("--extract").arg(entry?.path()).arg(&debian);
            quiet(&mut unpack)?;
        }
        super::remove(&fetched)?;
        ensure!(debian.join(file).is_file(), "{package} has no {file}");
    }
    Ok(())
}

/// Compiles the Go programs. Go keeps the results of earlier builds.
fn compile(place: &Place) -> Result<()> {
    let programs = place.programs();
    let plugins = programs.join("cni");
    fs::create_dir_all(&plugins)?;
    say("compiling Kubernetes: most of an hour, if two processors have nothing else to do");
    let version = version()?;
    let [major, minor, _] = version.splitn(3, '.').collect::<Vec<_>>()[..] else {
        bail!("Kubernetes has a version of another form than v1.2.3: {version}");
    };
    let says =
        |name: &str, value: &str| format!(" -X k8s.io/component-base/version.{name}={value}");
    let flags = [
        says("gitVersion", &version),
        says("gitMajor", major.trim_start_matches('v')),
        says("gitMinor", minor),
        format!(" -X k8s.io/client-go/pkg/version.gitVersion={version}"),
    ];
    go_build("kube", &flags.concat(), &programs.join("kube"), ".")?;
    go_build("flanneld", "", &programs.join("flanneld"), ".")?;
    go_build("coredns", "", &programs.join("coredns"), ".")?;
    // The target is a directory, so each tool becomes a file in it.
    go_build(".", "", &plugins, "tool")?;
    for name in KUBERNETES {
        let link = programs.join(name);
        if !link.is_symlink() {
            symlink("kube", &link)?;
        }
    }
    Ok(())
}

/// Builds a package of the module in a directory below `tests/cluster`.
fn go_build(directory: &str, flags: &str, to: &Path, what: &str) -> Result<()> {
    let mut build = go(directory);
    // The programs are copied into images that have no libraries.
    build.env("CGO_ENABLED", "0").args(["build", "-trimpath"]);
    build.arg("-ldflags").arg(format!("-s -w{flags}"));
    run_shown(build.arg("-o").arg(to).arg(what))
}

/// Go, in a directory below `tests/cluster`, with the lowest priority.
fn go(directory: &str) -> Command {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cluster");
    let mut go = Command::new("nice");
    go.args(["-n", "19", "go"]);
    go.current_dir(modules.join(directory));
    go
}

/// The version of Kubernetes in `go.mod`.
fn version() -> Result<String> {
    let listed = output(go(".").args(["list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes"]));
    let listed = listed.context("Go 1.26 or newer is needed to compile the cluster's programs")?;
    Ok(listed.trim().to_owned())
}
