//! What is made once, and kept for every cluster: Kubernetes, Flannel, CoreDNS and the
//! CNI plugins, which Go compiles, what Debian has, and images.

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

/// The program that is all of these, by which name it is called.
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
/// They are unpacked beside the machine's own, where no service is started.
const PACKAGES: &[(&str, &str)] = &[
    ("etcd-server", "usr/bin/etcd"),
    ("containerd", "usr/bin/containerd"),
    ("runc", "usr/sbin/runc"),
    ("busybox-static", "bin/busybox"),
];
/// What the programs are made of. They are compiled anew when it changes.
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

/// Whether all is there, and of this source.
///
/// # Errors
/// Says what is not.
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

/// Compiles everything that is in Go; what was compiled before, Go has kept.
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
    // The directory, as it is one, gets a file for each.
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
    // They are copied into images that have no libraries.
    build.env("CGO_ENABLED", "0").args(["build", "-trimpath"]);
    build.arg("-ldflags").arg(format!("-s -w{flags}"));
    run_shown(build.arg("-o").arg(to).arg(what))
}

/// Go, in a directory below `tests/cluster`. It gives way to all others.
fn go(directory: &str) -> Command {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cluster");
    let mut go = Command::new("nice");
    go.args(["-n", "19", "go"]);
    go.current_dir(modules.join(directory));
    go
}

/// The version of Kubernetes, as `go.mod` has it.
fn version() -> Result<String> {
    let listed = output(go(".").args(["list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes"]));
    let listed = listed.context("Go 1.26 or newer is needed to compile the cluster's programs")?;
    Ok(listed.trim().to_owned())
}
