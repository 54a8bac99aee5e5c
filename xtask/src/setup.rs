//! Sets up a fresh Debian-like machine for the project.
//!
//! Every step first checks whether there is anything to do, so a second run is instant. No step
//! asks anything. Existing programs are preferred: an ordinary nightly with `rust-src` if the
//! machine has one, otherwise the distribution's Rust and LLVM, which it builds as a pair.

mod extra;

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Once,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Error, Result, bail, ensure};

pub(crate) use extra::{deny, fuzzer, mutants, nightly_cargo, python, sanitizer};

use crate::{
    command::{self, say},
    toolchain::{self, DISTRIBUTION, NIGHTLY, Toolchain},
};

/// Programs that the lab and its tests run, each with its package and its purpose.
const TOOLS: &[(&str, &str, &str)] = &[
    ("ip", "iproute2", "wires the lab"),
    ("ping", "iputils-ping", "what everyone tries first"),
    ("iperf3", "iperf3", "bulk TCP and floods of UDP"),
    ("tcpdump", "tcpdump", "a second opinion"),
    ("ethtool", "ethtool", "segmentation on and off"),
    ("nft", "nftables", "drops, rejects and translates"),
    ("iptables-legacy", "iptables", "the same, as it was before"),
    ("conntrack", "conntrack", "fills the table of connections"),
    ("ipvsadm", "ipvsadm", "balances load inside the kernel"),
    ("tc", "iproute2", "limits what a device sends"),
    ("bird", "bird2", "routes that come and go with a daemon"),
    (
        "wg",
        "wireguard-tools",
        "encrypts what nodes send each other",
    ),
    (
        "teamnl",
        "libteam-utils",
        "says which uplink a team sends by",
    ),
    ("tmux", "tmux", "a terminal for tests of the view"),
    ("tshark", "tshark", "reads captures that are exported"),
    ("chromium", "chromium", "shows pages that are exported"),
    ("zstd", "zstd", "unpacks bundles, for tar"),
];

/// Programs that fetch and boot other kernels.
const MACHINES: &[(&str, &str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86", "a machine to boot"),
    ("xz", "xz-utils", "unpacks kernel modules"),
];

/// Further programs that a cluster's machines run.
const CLUSTER: &[(&str, &str, &str)] = &[
    ("openssl", "openssl", "certificates of a cluster"),
    ("curl", "curl", "asks over HTTP, in a pod"),
    ("socat", "socat", "an echo over UDP, in a pod"),
    ("dpkg-deb", "dpkg", "unpacks packages"),
];

/// The packages of the distribution's compiler. The compiler is reached by `rustup run bpf`, and
/// leaves the machine's other toolchains alone.
const DISTRIBUTION_RUST: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];

/// The release of the linker that is known to work.
const LINKER: &str = "0.13.0";

/// The program that links C for musl.
const MUSL: &[(&str, &str, &str)] = &[("musl-gcc", "musl-tools", "compiles C for musl")];

/// The time limit of a small download. Without a network, the wait stays short.
const QUICKLY: Duration = Duration::from_secs(20);

/// The time limit for a target, which is larger.
const PATIENTLY: Duration = Duration::from_secs(240);

/// Installs the programs that the lab and the tests run.
pub(crate) fn tools() -> Result<()> {
    programs(TOOLS)
}

/// Installs the programs that boot other kernels.
pub(crate) fn machines() -> Result<()> {
    programs(MACHINES)
}

/// Installs the programs that a cluster's machines run.
pub(crate) fn cluster() -> Result<()> {
    programs(TOOLS)?;
    programs(CLUSTER)
}

/// Installs the missing ones of some programs.
fn programs(wanted: &[(&str, &str, &str)]) -> Result<()> {
    let mut packages = Vec::new();
    for (program, package, purpose) in wanted {
        if !is_program(program) {
            say(format!("{program} is missing ({purpose})"));
            packages.push(*package);
        }
    }
    apt_install(&packages)
}

/// The directory of downloads, which all checkouts share.
pub(crate) fn cache() -> Result<PathBuf> {
    let home = |key, rest| env::var_os(key).map(|home| Path::new(&home).join(rest));
    let cache = home("XDG_CACHE_HOME", "").or_else(|| home("HOME", ".cache"));
    Ok(cache
        .context("neither XDG_CACHE_HOME nor HOME is set")?
        .join("tracer"))
}

/// Provides a toolchain that can build the kernel programs, with its linker, and
/// returns its name.
pub(crate) fn bpf() -> Result<String> {
    if let Ok((found, _)) = toolchain::choose() {
        return Ok(found.name);
    }
    ensure!(
        is_program("rustup"),
        "rustup is missing: install it from https://rustup.rs, then run this again"
    );
    for name in toolchain::candidates() {
        match provide(&name) {
            Ok(()) => return Ok(name),
            Err(reason) => say(format!(
                "the toolchain `{name}` is not to be had: {reason:#}"
            )),
        }
    }
    bail!(
        "no toolchain can build the kernel programs here: install a nightly with rust-src \
         (`rustup toolchain install nightly --component rust-src`) and a bpf-linker with the \
         same LLVM (https://github.com/aya-rs/bpf-linker), then run this again"
    )
}

/// Completes a toolchain.
fn provide(name: &str) -> Result<()> {
    let found = match (toolchain::probe(name), name) {
        (Ok(found), _) => found,
        (Err(reason), _) if name.starts_with(NIGHTLY) => {
            add_source(name, reason)?;
            toolchain::probe(name)?
        }
        (Err(_), DISTRIBUTION) => {
            link_distribution()?;
            toolchain::probe(name)?
        }
        (Err(reason), _) => return Err(reason),
    };
    if toolchain::linker(&found).is_err() {
        install_linker(&found)?;
    }
    toolchain::linker(&found).map(drop)
}

/// Makes rustup fetch the library's source for a toolchain, if the toolchain is installed.
fn add_source(name: &str, reason: Error) -> Result<()> {
    let mut installed = rustup();
    if command::run(installed.args(["which", "--toolchain", name, "rustc"])).is_err() {
        return Err(reason);
    }
    say(format!("adding rust-src to the toolchain `{name}`"));
    let source = ["component", "add", "rust-src", "--toolchain", name];
    within(QUICKLY, rustup().args(source)).context("rust-src did not arrive")
}

/// Provides the musl target of an architecture, with its linker. Returns the target's name.
pub(crate) fn musl(arch: &str) -> Result<String> {
    let target = format!("{arch}-unknown-linux-musl");
    let installed = command::output(rustup_that_speaks().args(["target", "list", "--installed"]))?;
    if !installed.lines().any(|line| line == target) {
        say(format!("adding the target {target} (takes a minute)"));
        within(PATIENTLY, rustup().args(["target", "add", &target]))
            .with_context(|| format!("rustup has no {target} for us"))?;
    }
    programs(MUSL)?;
    Ok(target)
}

/// Runs a program that has to end within a time limit.
fn within(limit: Duration, command: &mut Command) -> Result<()> {
    let mut child = command.spawn()?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("it took longer than {} s", limit.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    };
    ensure!(status.success(), "`{}` failed", command::line(command));
    Ok(())
}

/// Installs the distribution's compiler and makes it a rustup toolchain.
fn link_distribution() -> Result<()> {
    const PREFIX: &str = "/usr";
    let files = [
        "bin/rustc",
        "bin/cargo",
        "lib/rustlib/src/rust/library/Cargo.toml",
    ];
    if !files
        .iter()
        .all(|file| Path::new(PREFIX).join(file).exists())
    {
        apt_install(DISTRIBUTION_RUST)?;
    }
    command::run(rustup().args(["toolchain", "link", DISTRIBUTION, PREFIX]))
}

/// A rustup that does not install toolchains on its own.
fn rustup_that_speaks() -> Command {
    let mut rustup = Command::new("rustup");
    rustup.env("RUSTUP_AUTO_INSTALL", "0");
    rustup
}

/// As [`rustup_that_speaks`], without output.
fn rustup() -> Command {
    let mut rustup = rustup_that_speaks();
    rustup
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    rustup
}

/// Builds bpf-linker with the LLVM of the toolchain.
fn install_linker(toolchain: &Toolchain) -> Result<()> {
    let llvm = toolchain.llvm;
    let prefix = format!("/usr/lib/llvm-{llvm}/bin");
    let mut path = OsString::from(&prefix);
    if let Some(rest) = env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    if !has_llvm(llvm, &path) {
        let packages = [
            format!("llvm-{llvm}-dev"),
            format!("libpolly-{llvm}-dev"),
            "zlib1g-dev".to_owned(),
            "libzstd-dev".to_owned(),
        ];
        apt_install(&packages.each_ref().map(String::as_str))
            .with_context(|| format!("bpf-linker needs LLVM {llvm}"))?;
    }
    say(format!(
        "building bpf-linker {LINKER} with LLVM {llvm} (takes a minute or two)"
    ));
    let feature = format!("llvm-{llvm}");
    let mut cargo = command::cargo();
    cargo
        .args([
            "install",
            "bpf-linker",
            "--version",
            LINKER,
            "--locked",
            "--force",
        ])
        .args(["--no-default-features", "--features", &feature])
        .env("PATH", path)
        // The tool is for all projects, so its build does not belong into this target directory.
        .env_remove("CARGO_TARGET_DIR");
    command::run(&mut cargo)
}

/// Whether a build with this `PATH` finds an `llvm-config` of that version.
fn has_llvm(version: u32, path: &OsString) -> bool {
    let output = Command::new("llvm-config")
        .env("PATH", path)
        .arg("--version")
        .output();
    output.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout).starts_with(&format!("{version}."))
    })
}

/// Installs packages, and never removes one to make room.
fn apt_install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    ensure!(
        is_program("apt-get"),
        "there is no apt-get here: install {list}, then run this again"
    );
    ensure!(
        is_root(),
        "only root can install packages: run `apt-get install {list}` as root, then this again"
    );

    say(format!("installing {list}"));
    update();
    command::run(
        apt()
            .args(["install", "--no-install-recommends", "--no-remove"])
            .args(packages),
    )
    .ok()
    .with_context(|| format!("apt-get cannot install {list}, its own messages say why"))
}

/// Fetches a package into a directory, without installing it.
pub(crate) fn apt_download(package: &str, directory: &Path) -> Result<()> {
    say(format!("fetching {package}"));
    update();
    let mut download = apt();
    download.args(["download", package]).current_dir(directory);
    command::run(&mut download)
        .ok()
        .with_context(|| format!("apt-get cannot fetch {package}, its own messages say why"))
}

/// An apt-get that asks no questions.
fn apt() -> Command {
    let mut apt = Command::new("apt-get");
    apt.args(["-q", "-y", "-o", "DPkg::Lock::Timeout=300"]);
    apt.args(["-o", "Dpkg::Use-Pty=0"]);
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

/// Updates the package lists once. Errors do not matter: if one source does not answer, others may
/// still have the packages.
fn update() {
    static UPDATED: Once = Once::new();
    UPDATED.call_once(|| drop(command::run(apt().arg("update"))));
}

/// Whether a program is in `PATH`, or in the system administrator's folders.
fn is_program(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir| dir.join(name).is_file())
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
