//! Recordings for the replay tests, of every fault and of every wiring. If this kernel lacks a
//! wiring's devices, a virtual machine records it on a kernel that has them.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use tracer_tests::{lab::SEED_VARIABLE, program::FIXTURES_VARIABLE};

use crate::{
    check::{self, BINARY, PYTHON},
    command::{cargo, release_binary, run_shown},
    kernels, setup,
};

/// Which of them.
#[derive(Args)]
pub(crate) struct Options {
    /// Record these only, and keep the others
    #[arg(long, value_enum, value_name = "WHERE")]
    only: Option<Place>,
}

/// Where something is recorded.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Place {
    /// What the kernel can that runs here
    Here,
    /// What may need another kernel, in a virtual machine
    Machine,
}

/// The seed of the labs in which fixtures are recorded, which keeps the names in them the same.
const SEED: &str = "42";

/// Tests that record what they follow, on any kernel.
const HERE: &[&str] = &[
    "journeys::",
    "same::",
    "bgp::",
    "docker::",
    "multihomed::",
    "redirects::",
    "services::a_service_by",
    "shared::pods_with_macvlan",
    "calico::calico_across",
    "calico::calico_over_vxlan",
    "wirings::flannel_over_vxlan",
    "wirings::flannel_without",
];

/// Tests that record what they follow, on a kernel with the devices that they need.
const MACHINE: &[&str] = &[
    "calico::calico_over_ip_in_ip",
    "calico::calico_with_netkit",
    "ipsec::",
    "multihomed::a_bond",
    "multihomed::a_team",
    "multihomed::a_vlan",
    "shared::pods_with_ipvlan",
    "wirings::flannel_over_ip_in_ip",
    "wirings::lost_over",
    "wirings::pods_over",
    "wirings::the_far_end",
];

/// The beginning of the names of fixtures that were recorded by hand on a real cluster.
const BY_HAND: &str = "cluster-";

/// Records the replay tests' fixtures again.
pub(crate) fn run(options: &Options) -> Result<()> {
    let wanted = |place| options.only.is_none_or(|only| only == place);
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    fs::create_dir_all(&directory)?;
    let directory = directory.canonicalize()?;
    if options.only.is_none() {
        // Fixtures that are no longer recorded must not stay.
        for file in fs::read_dir(&directory)? {
            let file = file?;
            if !file.file_name().to_string_lossy().starts_with(BY_HAND) {
                fs::remove_file(file.path())?;
            }
        }
    }
    if wanted(Place::Here) {
        record(&directory)?;
    }
    if wanted(Place::Machine) {
        for recording in kernels::record(MACHINE, SEED)? {
            let path = directory.join(recording.name);
            fs::write(&path, recording.content)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    let mut bless = cargo();
    bless.args(["test", "--release", "--lib", "--", "replay::"]);
    run_shown(bless.env("UPDATE_EXPECT", "1"))
}

/// Records what this kernel supports, into a directory.
fn record(directory: &Path) -> Result<()> {
    setup::tools()?;
    setup::bpf()?;
    let python = setup::python()?;
    ensure!(
        setup::is_root(),
        "this makes network namespaces and loads kernel programs: run `cargo xtask fixtures` as root"
    );
    check::build()?;
    let mut record = cargo();
    record
        .args(["test", "--release", "--test", "faults", "--test", "trace"])
        .args(["--test", "follow", "--"])
        .args(HERE)
        .env(BINARY, release_binary("tracer")?)
        .env(PYTHON, python)
        .env(SEED_VARIABLE, SEED)
        .env(FIXTURES_VARIABLE, directory);
    run_shown(&mut record)
}
