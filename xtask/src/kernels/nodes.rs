//! Machines that play the nodes of one lab, each with its own kernel. QEMU's own wire joins them,
//! and no packet leaves this machine. The tests run outside of the machines, and reach the agents
//! in them by serial lines (`tracer_tests::machines`).

use std::{
    collections::VecDeque,
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc::Receiver},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use tracer_tests::{
    Wiring,
    lab::{MACHINE_VARIABLE, SEED_VARIABLE},
    machines::{
        AGENT, CONTROL, HOLE, MACHINES_VARIABLE, NAMES, READY, WIRING_VARIABLE, control, socket,
    },
    rng::Rng,
    traffic::PACKETS_VARIABLE,
};

use super::{
    Version, cache,
    debian::Kernel,
    image,
    machine::{BROKEN, Machine, TAIL},
};
use crate::{
    check,
    command::{release_binary, say},
    setup,
    tally::{Summary, Tally},
};

/// Which machines, and which tests.
#[derive(Args)]
pub(crate) struct Options {
    /// The kernels of the two machines; else both pairs, one after the other
    #[arg(value_enum, value_name = "VERSION", num_args = 2)]
    versions: Vec<Version>,
    /// How the nodes are wired; else in both ways, one after the other
    #[arg(long, value_enum)]
    wiring: Option<Wired>,
    /// For the test programs: names of tests, and their options
    #[arg(last = true)]
    args: Vec<String>,
}

/// How nodes are wired.
#[derive(Clone, Copy, ValueEnum)]
enum Wired {
    /// As Flannel does, with VXLAN
    Flannel,
    /// As Calico does, with IP-in-IP
    Calico,
}

impl Wired {
    fn wiring(self) -> Wiring {
        match self {
            Self::Flannel => Wiring::Flannel,
            Self::Calico => Wiring::Calico,
        }
    }
}

/// An old kernel with a new one, so that each pair differs in features.
const PAIRS: [[Version; 2]; 2] = [
    [Version::V5_10, Version::Newest],
    [Version::V6_1, Version::V6_12],
];

/// Part of the names of tests that need such machines.
pub(crate) const TESTS: &str = "machines_of_their_own::";

/// The least number of packets between two pods.
const PACKETS: &str = "2000";

/// How long an emulated machine may take to boot.
const BOOT: Duration = Duration::from_secs(300);

/// Boots the pairs, and runs the tests with each.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        !options.versions.contains(&Version::All),
        "name two kernels, such as `cargo xtask machines 5.10 newest`, or none for both pairs"
    );
    let pairs = match options.versions[..] {
        [near, far] => vec![[near, far]],
        _ => PAIRS.to_vec(),
    };
    let wirings = match options.wiring {
        Some(wired) => vec![wired],
        None => Wired::value_variants().to_vec(),
    };
    let mut summary = Summary::default();
    let nodes = summary.part("build for machines", |_| Nodes::prepare())?;
    let mut failed = 0;
    for pair in pairs {
        for &wired in &wirings {
            failed += u32::from(!nodes.run_into(pair, wired, &options.args, &mut summary)?);
        }
    }
    print!("{summary}");
    ensure!(failed == 0, "tests failed");
    Ok(())
}

/// The needs of the machines besides kernels.
struct Nodes {
    programs: Vec<PathBuf>,
    packets: String,
}

impl Nodes {
    fn prepare() -> Result<Self> {
        ensure!(
            cfg!(target_arch = "x86_64"),
            "the kernels are those of Debian's amd64 images: run this on such a machine"
        );
        setup::tools()?;
        setup::machines()?;
        check::build_with_tests()?;
        let packets = env::var(PACKETS_VARIABLE).unwrap_or_else(|_| PACKETS.to_owned());
        Ok(Self {
            programs: check::test_programs()?,
            packets,
        })
    }

    /// Runs the tests on a pair. Returns whether they passed.
    fn run_into(
        &self,
        pair: [Version; 2],
        wired: Wired,
        args: &[String],
        summary: &mut Summary,
    ) -> Result<bool> {
        let kernels = [pair[0].kernel()?, pair[1].kernel()?];
        let versions = kernels.each_ref().map(|kernel| {
            let mut numbers = kernel.version.splitn(3, '.');
            let mut number = || numbers.next().unwrap_or_default();
            format!("{}.{}", number(), number())
        });
        let wiring = wired.wiring();
        let name = format!("{} {wiring:?}", versions.join("+"));
        let passed = summary.part(&name, |tally| self.run(&kernels, wiring, args, tally));
        if let Err(error) = &passed {
            say(format!("{name}: {error:#}"));
        }
        Ok(passed.is_ok())
    }

    fn run(
        &self,
        kernels: &[Kernel; 2],
        wiring: Wiring,
        args: &[String],
        tally: &mut Tally,
    ) -> Result<()> {
        let mut chosen = args.to_owned();
        if chosen.is_empty() {
            chosen.push(TESTS.to_owned());
        }
        let machines = Booted::start(kernels)?;
        // All test programs use one lab, because a machine plays one node.
        let seed = env::var(SEED_VARIABLE).unwrap_or_else(|_| Rng::fresh_seed().to_string());
        let mut passed = true;
        for program in &self.programs {
            if !check::has_tests(program, &chosen)? {
                continue;
            }
            let mut tests = Command::new(program);
            tests
                .arg("--test-threads=1")
                .args(&chosen)
                .env(MACHINES_VARIABLE, &machines.directory)
                .env(WIRING_VARIABLE, format!("{wiring:?}"))
                .env(SEED_VARIABLE, &seed)
                .env(PACKETS_VARIABLE, &self.packets)
                // The tests have to wait as long as in such a machine.
                .env(MACHINE_VARIABLE, "1")
                .env(check::BINARY, release_binary("tracer")?);
            passed &= run_tests(&mut tests, tally)?;
        }
        let told = machines.check();
        if !passed || told.is_err() {
            machines.say_last();
        }
        told?;
        ensure!(passed, "tests failed");
        ensure!(tally.ran > 0, "no test ran: no test has this name");
        Ok(())
    }
}

/// Runs a test program, and shows and counts its lines.
fn run_tests(tests: &mut Command, tally: &mut Tally) -> Result<bool> {
    let mut child = tests
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run the tests")?;
    let output = child.stdout.take().context("a pipe was asked for")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        tally.hear(&line);
    }
    Ok(child.wait()?.success())
}

/// Running machines. Dropping them switches them off.
struct Booted {
    machines: Vec<Heard>,
    directory: PathBuf,
}

/// A machine, and a thread that takes its lines.
struct Heard {
    _machine: Machine,
    told: Arc<(Mutex<Told>, Condvar)>,
}

/// What a machine has printed.
struct Told {
    log: File,
    tail: VecDeque<String>,
    ready: bool,
    /// Why the machine is of no use any more.
    broken: Option<String>,
}

impl Booted {
    /// Starts all machines at once, and waits until each is ready.
    fn start(kernels: &[Kernel; 2]) -> Result<Self> {
        // The path of a socket must be short.
        let directory = env::temp_dir().join(format!("tracer-machines-{}", std::process::id()));
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let mut booted = Self {
            machines: Vec::new(),
            directory,
        };
        let (tracer, lab) = (release_binary("tracer")?, release_binary("lab")?);
        for (index, kernel) in kernels.iter().enumerate() {
            let name = NAMES[index];
            let image = booted.directory.join(format!("{name}.image"));
            image::build_node(kernel, &image, &lab, &tracer).context("cannot make the image")?;
            say(format!(
                "booting Linux {} as the {name} node",
                kernel.version
            ));
            let options = options(&booted.directory, index);
            let log = cache()?.join(format!("{name}.log"));
            let log =
                File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
            // With one processor, no processor runs into a breakpoint that another one has set.
            let (machine, lines) = Machine::start(kernel, &image, 1, &options)?;
            booted.machines.push(Heard::new(machine, lines, log));
        }
        let ready = booted.machines.iter().try_for_each(Heard::wait_ready);
        if let Err(error) = ready {
            booted.say_last();
            return Err(error);
        }
        Ok(booted)
    }

    /// Checks that all machines still run, and that no kernel is broken.
    fn check(&self) -> Result<()> {
        self.machines.iter().try_for_each(|heard| {
            heard
                .told()
                .broken
                .clone()
                .map_or(Ok(()), |broken| bail!("{broken}"))
        })
    }

    fn say_last(&self) {
        for (name, heard) in NAMES.iter().zip(&self.machines) {
            say(format!("the last lines of the {name} machine:"));
            for line in &heard.told().tail {
                say(format!("| {line}"));
            }
        }
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        self.machines.clear();
        // If the directory cannot be removed, it stays in the temporary directory.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Heard {
    fn new(machine: Machine, lines: Receiver<String>, log: File) -> Self {
        let told = Told {
            log,
            tail: VecDeque::new(),
            ready: false,
            broken: None,
        };
        let told = Arc::new((Mutex::new(told), Condvar::new()));
        let heard = Arc::clone(&told);
        thread::spawn(move || {
            let (told, changed) = &*heard;
            for line in lines {
                lock(told).hear(line);
                changed.notify_all();
            }
            let off = || "a machine went off".to_owned();
            lock(told).broken.get_or_insert_with(off);
            changed.notify_all();
        });
        Self {
            _machine: machine,
            told,
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        lock(&self.told.0)
    }

    fn wait_ready(&self) -> Result<()> {
        let waiting = |told: &mut Told| !told.ready && told.broken.is_none();
        let waited = self.told.1.wait_timeout_while(self.told(), BOOT, waiting);
        let (told, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if let Some(broken) = &told.broken {
            bail!("{broken}");
        }
        ensure!(
            told.ready,
            "a machine has not booted within {} s",
            BOOT.as_secs()
        );
        Ok(())
    }
}

impl Told {
    fn hear(&mut self, line: String) {
        // A machine works without its log, too.
        let _ = writeln!(self.log, "{line}");
        self.ready |= line == READY;
        if let Some(broken) = BROKEN.iter().find(|broken| line.contains(**broken)) {
            let says = || format!("the kernel says \"{broken}\"");
            self.broken.get_or_insert_with(says);
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }
}

/// The value is consistent at any time, so a panic of another thread does not matter.
fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The options of QEMU for one of two machines: its end of the wire, its serial lines, and its
/// monitor.
fn options(directory: &Path, index: usize) -> Vec<String> {
    let at = |index: usize, what: &str| socket(directory, NAMES[index], what).display().to_string();
    let line = |id: &str, name: &str| {
        [
            "-chardev".to_owned(),
            format!("socket,id={id},path={},server=on,wait=off", at(index, name)),
            "-device".to_owned(),
            format!("virtserialport,chardev={id},name={name}"),
        ]
    };
    let (own, other) = (at(index, "wire"), at(1 - index, "wire"));
    let mut options: Vec<String> = [
        "-netdev".to_owned(),
        format!(
            "dgram,id=wire,local.type=unix,local.path={own},remote.type=unix,remote.path={other}"
        ),
        "-device".to_owned(),
        "virtio-net-pci,netdev=wire".to_owned(),
        // A device that discards what it gets.
        "-chardev".to_owned(),
        "null,id=nowhere".to_owned(),
        "-object".to_owned(),
        format!("filter-redirector,id={HOLE},netdev=wire,queue=rx,outdev=nowhere,status=off"),
        "-qmp".to_owned(),
        format!("unix:{},server=on,wait=off", at(index, control::NAME)),
        "-device".to_owned(),
        "virtio-serial-pci".to_owned(),
    ]
    .into();
    options.extend(line("control", CONTROL));
    options.extend(line("agent", AGENT));
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_of_the_wire_is_the_others_other_end() {
        let ends = [0, 1].map(|index| {
            let all = options(Path::new("/d"), index);
            let wire = all.iter().find(|option| option.starts_with("dgram,"));
            wire.expect("a wire").clone()
        });
        let end = |name: &str, kind: &str| format!("{kind}.path=/d/{name}.wire");
        assert!(ends[0].contains(&end("near", "local")), "{}", ends[0]);
        assert!(ends[0].contains(&end("far", "remote")), "{}", ends[0]);
        assert!(ends[1].contains(&end("far", "local")), "{}", ends[1]);
        assert!(ends[1].contains(&end("near", "remote")), "{}", ends[1]);
    }
}
