//! Runs the lab's tests on other kernels than this machine's. A virtual machine boots each kernel.
//! Its only disk is an image in memory with all that the tests need (`image`). It tells the results
//! over its serial console (`machine`). Or two machines are the nodes of one lab, and the tests run
//! outside (`nodes`).
//!
//! The kernels are those of Debian's releases, for its cloud images (`debian`): small, with BTF,
//! and with every network device as a module. The kernels and the images are kept outside the
//! repository, in [`cache`]. Nothing here needs root, once the programs are installed. The machines
//! are emulated, so this works within virtual machines, too.

mod archive;
mod debian;
mod features;
mod image;
mod machine;
pub(crate) mod nodes;
mod recordings;

use std::{env, fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use debian::Kernel;
use features::Features;
use machine::Heard;
pub(crate) use recordings::Recording;
use tracer_tests::{faults, lab::SEED_VARIABLE, program::FIXTURES_VARIABLE, traffic};

use crate::{
    check,
    command::{self, release_binary, say},
    setup,
    tally::{Summary, Tally},
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
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Version {
    #[value(name = "5.10")]
    V5_10,
    #[value(name = "6.1")]
    V6_1,
    #[value(name = "6.12")]
    V6_12,
    Newest,
    /// All four
    All,
}

/// All kernels.
const EACH: [Version; 4] = [
    Version::V5_10,
    Version::V6_1,
    Version::V6_12,
    Version::Newest,
];

impl Version {
    /// The Debian release that has the kernel.
    fn release(self) -> Result<&'static str> {
        Ok(match self {
            Self::V5_10 => "bullseye",
            Self::V6_1 => "bookworm",
            Self::V6_12 => "trixie",
            Self::Newest => "sid",
            Self::All => bail!("all kernels are several"),
        })
    }

    /// The kernel. Fetches it if it is not in the cache.
    fn kernel(self) -> Result<Kernel> {
        let release = self.release()?;
        debian::kernel(release).with_context(|| format!("no kernel of Debian {release}"))
    }
}

/// The tests that run unless others are named: tests that most machines' kernels cannot run, and
/// some that every kernel must pass. CI runs one group at a time on one kernel, which the commit
/// determines. An emulated machine on a slow host takes a minute for what a real one does in five
/// seconds.
const GROUPS: &[&[&str]] = &[
    &[
        "clsact::",
        "endings::killed_it_leaves",
        "clean::the_pods_own",
        "a_vlan_on_the_uplink",
        "by_ipvs",
    ],
    &[
        "over_ip_in_ip::devices",
        "over_ip_in_ip::filters",
        "over_ip_in_ip::middle",
    ],
    &[
        "over_ip_in_ip::neighbours",
        "over_ip_in_ip::routes",
        "over_ip_in_ip::sockets",
    ],
    &[
        "calico_over_ip_in_ip",
        "flannel_over_ip_in_ip",
        "many_packets_over_ip_in_ip",
        "pods_own_tunl0_over_ip_in_ip",
        "the_far_end_is_down_over_ip_in_ip",
    ],
    &["pods_over_", "lost_over_", "policies_over_ipsec"],
    &[
        "pods_with_ipvlan",
        "calico_with_netkit",
        "a_bond_",
        "a_team_",
        "by_both_uplinks_of_a_bond",
    ],
    &[
        // A name stands for all tests that contain it: here, GRE in all its kinds.
        "the_far_end_is_down_over_6in4",
        "the_far_end_is_down_over_gre",
    ],
];

/// The tests that every kernel runs each time: whether the programs load, attach and see drops. One
/// verifier may refuse what the others take, and a change of the compiler is enough for that.
pub(crate) const ALWAYS: &str = "features::";

/// The variables that a machine gets from this environment.
const PASSED: &[&str] = &[
    SEED_VARIABLE,
    traffic::PACKETS_VARIABLE,
    faults::NAMED_VARIABLE,
    faults::SEEDS_VARIABLE,
    faults::WIRINGS_VARIABLE,
    faults::TURN_VARIABLE,
];

/// The time limit of a machine. All tests take less. A machine that hangs is silent, and is given
/// up long before.
const LIMIT: Duration = Duration::from_secs(90 * 60);
/// The additional time for each packet that a machine is to send.
const PER_PACKET: Duration = Duration::from_millis(5);

/// Boots the kernels one after the other and runs the tests on each.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut versions = options.versions.clone();
    let all = versions.contains(&Version::All);
    if all {
        versions = EACH.to_vec();
    }
    let tests = match options.args.as_slice() {
        [] => every_test().map(str::to_owned).collect(),
        args => args.to_owned(),
    };
    let mut summary = Summary::default();
    let runs = versions.into_iter().map(|version| (version, tests.clone()));
    let ran = run_into(runs, &mut summary);
    print!("{summary}");
    // If all kernels ran and none could run a test, the test never runs.
    let is_other_turn = |_: &str| !all;
    ran.and_then(|()| summary.all_ran(is_other_turn))
}

/// Runs CI's share: on each kernel, whether it accepts the programs; on one of them, also a group
/// of tests. Adds the results to a summary.
pub(crate) fn run_turn(summary: &mut Summary) -> Result<()> {
    let turn = command::commit()?;
    let whose = EACH[turn % EACH.len()];
    let group = GROUPS[turn / EACH.len() % GROUPS.len()];
    let runs = EACH.into_iter().map(|version| {
        let group = if version == whose { group } else { &[] };
        let tests = [ALWAYS].iter().chain(group);
        (version, tests.map(|test| (*test).to_owned()).collect())
    });
    // All kernels run even if one fails.
    run_into(runs, summary)
}

/// Whether these kernels run a test, now or at another turn.
pub(crate) fn run_by_turns(test: &str) -> bool {
    every_test().any(|word| test.contains(word))
}

/// Parts of names, which together choose all these tests.
fn every_test() -> impl Iterator<Item = &'static str> {
    [ALWAYS]
        .into_iter()
        .chain(GROUPS.iter().copied().flatten().copied())
}

/// Boots kernels, and runs on each the tests whose names contain one of its words.
fn run_into(
    runs: impl Iterator<Item = (Version, Vec<String>)>,
    summary: &mut Summary,
) -> Result<()> {
    let told = |name: &&'static str| Some((*name, env::var(name).ok()?));
    let told = PASSED.iter().filter_map(told).collect();
    let machines = summary.part("build for machines", |_| Machines::prepare(told))?;
    let mut failed = Vec::new();
    let mut features = Features::default();
    for (version, tests) in runs {
        let kernel = version.kernel()?;
        let name = format!("Linux {}", kernel.version);
        match summary.part(&name, |tally| machines.run(&kernel, &tests, tally)) {
            Ok(heard) => features.add(&kernel.version, heard.features),
            Err(error) => {
                say(format!("{name}: {error:#}"));
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

/// Runs tests on a kernel that supports them, in labs of a seed, and returns their recordings.
pub(crate) fn record(tests: &[&str], seed: &str) -> Result<Vec<Recording>> {
    let environment = vec![
        (SEED_VARIABLE, seed.to_owned()),
        (FIXTURES_VARIABLE, recordings::DIRECTORY.to_owned()),
    ];
    let tests: Vec<_> = tests.iter().map(|test| (*test).to_owned()).collect();
    let recordings = Machines::prepare(environment)?
        .run(&Version::V6_12.kernel()?, &tests, &mut Tally::default())?
        .recordings;
    ensure!(!recordings.is_empty(), "nothing was recorded");
    Ok(recordings)
}

/// The needs of all machines besides a kernel: built tests, and installed programs.
struct Machines {
    programs: Vec<PathBuf>,
    environment: Vec<(&'static str, String)>,
    limit: Duration,
}

impl Machines {
    fn prepare(environment: Vec<(&'static str, String)>) -> Result<Self> {
        ensure!(
            cfg!(target_arch = "x86_64"),
            "the kernels are those of Debian's amd64 images: run this on such a machine"
        );
        let packets = traffic::packets_from_environment()?.unwrap_or(0);
        setup::tools()?;
        setup::machines()?;
        check::build_with_tests()?;
        Ok(Self {
            programs: check::test_programs()?,
            environment,
            limit: LIMIT + PER_PACKET * packets,
        })
    }

    /// Boots a kernel and runs tests on it. `args` are parts of their names, and options.
    fn run(&self, kernel: &Kernel, args: &[String], tally: &mut Tally) -> Result<Heard> {
        let mut programs = Vec::new();
        for program in &self.programs {
            if check::has_tests(program, args)? {
                programs.push(program.clone());
            }
        }
        ensure!(
            !programs.is_empty(),
            "no test would run: no test has this name"
        );
        let tracer = release_binary("tracer")?;
        let image = image::build(kernel, &programs, &tracer, args, &self.environment)
            .context("cannot make the image")?;
        say(format!("booting Linux {}", kernel.version));
        let ran = machine::run(kernel, &image, self.limit, tally);
        match ran {
            Err(error) if machine::is_misemulated(&error) => {
                say(format!(
                    "{error:#}, which is the emulator's fault: booting again, once"
                ));
                *tally = Tally::default();
                machine::run(kernel, &image, self.limit, tally)
            }
            ran => ran,
        }
    }
}

/// The directory of kernels and images: `tracer` in the user's cache directory. Its contents can be
/// removed at any time.
fn cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    let cache = base.join("tracer");
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    Ok(cache)
}
