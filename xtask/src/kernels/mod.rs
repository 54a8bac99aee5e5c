//! The lab's tests on other kernels than this machine's: each is booted in a
//! virtual machine, whose only disk is an image in memory of what the tests
//! need (`image`), and which says over its serial line how they went (`machine`).
//!
//! The kernels are those of Debian's releases, for its cloud images (`debian`):
//! small, with BTF, and with every network device as a module. They and the
//! images are kept outside the repository, in [`cache`]. Nothing here needs
//! root, once the programs are installed; the machine is emulated where it
//! cannot be virtualised, so that this works within virtual machines, too.

mod archive;
mod debian;
mod features;
mod image;
mod machine;

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use features::Features;
use machine::Heard;

use crate::{
    check,
    command::{output, release_binary, say},
    setup,
};

/// Which kernels, and which tests.
#[derive(Args)]
pub(crate) struct Options {
    /// The kernels to boot
    #[arg(value_enum, value_name = "VERSION", default_value = "6.12")]
    versions: Vec<Version>,
    /// For the test programs: names of tests, and their options
    #[arg(last = true)]
    args: Vec<String>,
}

/// A kernel that tracer supports and Debian has.
#[derive(Clone, Copy, ValueEnum)]
enum Version {
    #[value(name = "5.10")]
    V5_10,
    #[value(name = "6.1")]
    V6_1,
    #[value(name = "6.12")]
    V6_12,
    Newest,
    /// One of the others than 6.12, by turns: which one, the commit says
    Another,
}

impl Version {
    /// The Debian release whose kernel it is.
    fn release(self) -> Result<&'static str> {
        Ok(match self {
            Self::V5_10 => "bullseye",
            Self::V6_1 => "bookworm",
            Self::V6_12 => "trixie",
            Self::Newest => "sid",
            Self::Another => ["bullseye", "bookworm", "sid"][commit()? % 3],
        })
    }
}

/// A number of the commit that is checked out.
fn commit() -> Result<usize> {
    let mut git = Command::new("git");
    git.args(["rev-parse", "--short=7", "HEAD"]);
    let text = output(git.current_dir(env!("CARGO_MANIFEST_DIR")))?;
    usize::from_str_radix(text.trim(), 16).context("git names the commit by no number")
}

/// The tests that run unless others are named: those that most machines'
/// kernels cannot run, and with them some that every kernel must pass.
const TESTS: &[&str] = &[
    "over_ip_in_ip",
    "clean::the_pods_own",
    "clsact::",
    "endings::killed_it_leaves",
    "features::",
    "pods_with_ipvlan",
    "a_vlan_on_the_uplink",
    "a_bond_",
    "a_team_",
    "calico_with_netkit",
    "over_geneve",
    "over_gre",
    "over_6in4",
    "over_wireguard",
    "over_ipsec",
];

/// Boots the kernels one after the other and runs the tests on each.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        cfg!(target_arch = "x86_64"),
        "the kernels are those of Debian's amd64 images: run this on such a machine"
    );
    setup::tools()?;
    setup::machines()?;
    check::build()?;
    let tests = if options.args.is_empty() {
        TESTS.iter().map(|test| (*test).to_owned()).collect()
    } else {
        options.args.clone()
    };
    let mut programs = Vec::new();
    for program in check::test_programs()? {
        if check::has_tests(&program, &tests)? {
            programs.push(program);
        }
    }
    ensure!(!programs.is_empty(), "no test would run: none is called so");

    let mut failed = Vec::new();
    let mut features = Features::default();
    for version in &options.versions {
        let name = version.release()?;
        let kernel = debian::kernel(name).with_context(|| format!("no kernel of Debian {name}"))?;
        let image = image::build(&kernel, &programs, &release_binary("tracer")?, &tests)
            .context("cannot make the image")?;
        say(format!("booting Linux {}", kernel.version));
        let mut ran = machine::run(&kernel, &image);
        if let Err(error) = &ran
            && machine::is_misemulated(error)
        {
            say(format!(
                "{error:#}, which is the emulator's fault: booting again, once"
            ));
            ran = machine::run(&kernel, &image);
        }
        match ran {
            Ok(heard) => {
                let Heard { ran, features: its } = heard;
                say(format!("Linux {}: {ran} tests passed", kernel.version));
                features.add(&kernel.version, its);
            }
            Err(error) => {
                say(format!("Linux {}: {error:#}", kernel.version));
                failed.push(kernel.version);
            }
        }
    }
    print!("{features}");
    if !failed.is_empty() {
        bail!("the tests failed on Linux {}", failed.join(", "));
    }
    Ok(())
}

/// Where kernels and images are kept: `tracer` in the user's cache directory.
/// What is there can be removed at any time.
fn cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    let cache = base.join("tracer");
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    Ok(cache)
}
