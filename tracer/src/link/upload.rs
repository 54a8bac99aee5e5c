//! Runs an agent on a machine where none is installed.
//!
//! A shell on the machine runs a script. The script reports the machine's architecture,
//! receives the program on standard input, and runs it from a folder in which programs may run.
//! It removes the program when the agent has ended, which happens when the agent's input
//! closes. So it does so as well if the collector was killed.

use std::{
    env, fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use ring::digest::{SHA256, digest};
use tracing::info;

use super::{RemoteError, way::line};

/// Lines that the script writes.
const INSTALLED: &str = "tracer: installed";
const WANTED: &str = "tracer: wanted ";
const ARRIVED: &str = "tracer: arrived";

/// Limit of output before these lines, bytes.
const MOST: usize = 1 << 16;

/// A script that runs the installed agent, or receives one. The agent runs as root, with sudo
/// if the login is not root. The script has no quote, backslash or exclamation mark, so that
/// every login shell passes it on unchanged.
pub(super) fn script_for_login() -> String {
    format!(
        "s=; [ \"$(id -u)\" = 0 ] || s=\"sudo -n\"; \
         if command -v tracer >/dev/null 2>&1; \
         then echo; echo \"{INSTALLED}\"; exec $s tracer agent --stdio; fi; \
         d=; clean() {{ [ -z \"$d\" ] || rm -rf \"$d\"; d=; }}; \
         trap clean EXIT; trap \"exit 1\" HUP INT TERM PIPE; \
         for p in /dev/shm /tmp /var/tmp \"${{HOME:-/tmp}}\"; do \
         d=$(mktemp -d \"$p/tracer.XXXXXX\" 2>/dev/null) || {{ d=; continue; }}; \
         f=$d/tracer; echo exit >\"$f\" && chmod 700 \"$f\" && \"$f\" 2>/dev/null && break; \
         clean; done; \
         [ -n \"$d\" ] || {{ echo \"no program may run from /dev/shm, /tmp, /var/tmp or the \
         home there: install tracer\" >&2; exit 1; }}; {}",
        take_and_run("$s \"$f\"")
    )
}

/// Mount point of the pod's memory volume, which has the program and the agent's process id.
pub(super) const FOLDER: &str = "/tracer";

/// How long a pod waits for its agent to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A script for exec in an agent's pod. It runs the agent of the image, if the image `may_have`
/// one, or receives one. The pod ends with the agent.
pub(super) fn script_for_pod(may_have: bool) -> String {
    let installed = format!(
        "if command -v tracer >/dev/null 2>&1; \
         then echo; echo \"{INSTALLED}\"; exec tracer agent --stdio; fi; "
    );
    // An image that the user did not name was made for another purpose.
    let installed = if may_have { &installed } else { "" };
    format!(
        "echo $$ >{FOLDER}/pid; {installed}f={FOLDER}/tracer; {}",
        take_and_run("exec \"$f\"")
    )
}

/// The script of the pod's own process, which waits for the agent and ends with it. Both share
/// the node's process ids. The end of this process kills the agent. So if this process is told
/// to end, it tells the agent, which detaches its programs, and waits for it.
pub(super) fn script_of_pod() -> String {
    waiting_in(FOLDER)
}

/// The part of the script that waits in a folder. A shell that waits for a background child
/// handles signals at once. An agent that gets two signals ends without detaching in order.
/// `agent::hold` does the same without a shell.
fn waiting_in(folder: &str) -> String {
    let patience = PATIENCE.as_secs();
    format!(
        "t=; trap t=1 TERM; \
         i=0; until [ -s {folder}/pid ]; do [ -z \"$t\" ] || exit 0; \
         i=$((i+1)); [ $i -le {patience} ] || exit 0; sleep 1 & wait $!; done; \
         read -r p <{folder}/pid; while kill -0 $p 2>/dev/null; do \
         [ -z \"$t\" ] || {{ trap \"\" TERM; t=; kill $p 2>/dev/null; }}; \
         sleep 1 & wait $!; done; exit 0"
    )
}

/// The part of a script that receives the program into the file `$f`, and runs it with this
/// command.
fn take_and_run(command: &str) -> String {
    format!(
        "echo; echo \"{WANTED}$(uname -m)\"; \
         read -r length hash || exit 1; head -c \"$length\" >\"$f\"; \
         [ \"$(sha256sum <\"$f\")\" = \"$hash  -\" ] || \
         {{ echo \"tracer did not arrive whole\" >&2; exit 1; }}; \
         chmod 700 \"$f\"; echo \"{ARRIVED}\"; {command} agent --stdio; exit $?"
    )
}

/// The outcome of a script.
pub(super) enum Opened {
    /// An agent reads the stream from now on.
    Yes,
    /// The stream ended, or another program answered; with its output.
    No(String),
}

/// Waits until a script has an agent, and sends the program if it has none.
///
/// # Errors
/// [`RemoteError::NoProgram`], [`RemoteError::Upload`].
pub(super) fn open(
    node: &str,
    input: &mut impl Write,
    output: &mut impl Read,
) -> Result<Opened, RemoteError> {
    let mut said = String::new();
    let failed = |source| RemoteError::Upload { source };
    while let Some(line) = line(output, MOST - said.len().min(MOST)).map_err(failed)? {
        if line == INSTALLED || line == ARRIVED {
            return Ok(Opened::Yes);
        }
        match line.strip_prefix(WANTED) {
            Some(machine) => {
                let program = Program::for_machine(machine, own)?;
                let bytes = fs::read(&program.0).map_err(failed)?;
                let hash: String = digest(&SHA256, &bytes)
                    .as_ref()
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                let megabytes = bytes.len() as f64 / 1e6;
                info!("{node}: has no tracer, and is given one of {megabytes:.1} MB");
                writeln!(input, "{} {hash}", bytes.len())
                    .and_then(|()| input.write_all(&bytes))
                    .and_then(|()| input.flush())
                    .map_err(failed)?;
            }
            None => {
                said.push_str(&line);
                said.push('\n');
            }
        }
    }
    Ok(Opened::No(said))
}

/// A program that a machine can run without any other file.
struct Program(PathBuf);

impl Program {
    /// The program for a machine, by its name in `uname -m`: the file beside this program that
    /// is named after the machine, or this program itself.
    fn for_machine(
        machine: &str,
        own: impl Fn() -> io::Result<PathBuf>,
    ) -> Result<Self, RemoteError> {
        let own = own().map_err(|source| RemoteError::Upload { source })?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let beside = own.with_file_name(format!("tracer-{machine}"));
        if !machine.is_empty() && machine.chars().all(is_name) && beside.is_file() {
            return Ok(Self(beside));
        }
        if runs_on(&own, machine).unwrap_or(false) {
            return Ok(Self(own));
        }
        Err(RemoteError::NoProgram {
            machine: machine.to_owned(),
            beside,
        })
    }
}

fn own() -> io::Result<PathBuf> {
    env::current_exe()
}

/// Whether an ELF file is for a machine, and is linked statically.
fn runs_on(path: &Path, machine: &str) -> io::Result<bool> {
    /// Offsets in the 64-bit ELF header, little endian (`elf.h`).
    const MACHINE: usize = 18;
    const PROGRAMS: usize = 32;
    const PROGRAM_SIZE: usize = 54;
    const PROGRAM_COUNT: usize = 56;
    /// Type of a segment that names a dynamic linker.
    const PT_INTERP: u32 = 3;

    let file = fs::read(path)?;
    let bytes = |at: usize, count| file.get(at..).and_then(|rest| rest.get(..count));
    let number = |at, count| {
        let bytes = bytes(at, count)?.iter().rev();
        Some(bytes.fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    let answer = || {
        let is_elf = bytes(0, 6)? == b"\x7fELF\x02\x01";
        let wanted = match machine {
            "x86_64" => 62,
            "aarch64" => 183,
            _ => return None,
        };
        let (at, size, count) = (
            number(PROGRAMS, 8)?,
            number(PROGRAM_SIZE, 2)?,
            number(PROGRAM_COUNT, 2)?,
        );
        let mut kinds = (0..count).map(|index| number(at.checked_add(index * size)?, 4));
        let needs_others = kinds.any(|kind| kind.is_none_or(|kind| kind == PT_INTERP as usize));
        Some(is_elf && number(MACHINE, 2)? == wanted && !needs_others)
    };
    Ok(answer().unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use std::{
        error::Error,
        io::{BufRead as _, BufReader, Cursor},
        process::{Child, Command, Stdio},
        thread,
        time::Instant,
    };

    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };

    use super::*;

    /// The header of a program for x86-64 with one segment of a type.
    fn elf(kind: u8) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18] = 62;
        file[32] = 64;
        file[54] = 56;
        file[56] = 1;
        file.push(kind);
        file.resize(64 + 56, 0);
        file
    }

    #[test]
    fn a_program_travels_only_to_machines_that_can_run_it() -> io::Result<()> {
        let directory = env::temp_dir().join(format!("tracer-upload-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let own = directory.join("tracer");
        let chosen = |machine: &str| {
            Program::for_machine(machine, || Ok(own.clone())).map(|program| program.0)
        };
        fs::write(&own, elf(1))?;
        assert_eq!(chosen("x86_64").ok(), Some(own.clone()));
        assert!(chosen("aarch64").is_err());
        assert!(chosen("../x86_64").is_err());
        // A program that needs a dynamic linker, and a truncated one.
        fs::write(&own, elf(3))?;
        let refusal = chosen("x86_64").expect_err("it may not run there");
        assert!(refusal.to_string().contains("tracer-x86_64"), "{refusal}");
        fs::write(&own, &elf(1)[..64])?;
        assert!(chosen("x86_64").is_err());
        let beside = directory.join("tracer-aarch64");
        fs::write(&beside, "any")?;
        assert_eq!(chosen("aarch64").ok(), Some(beside));
        fs::remove_dir_all(&directory)
    }

    #[test]
    fn what_a_login_says_first_is_kept_until_an_agent_is_there() {
        let opened = |said: &str| open("node-b", &mut Vec::new(), &mut Cursor::new(said));
        let greeting = format!("Welcome\n\n{INSTALLED}\n");
        assert!(matches!(opened(&greeting), Ok(Opened::Yes)));
        match opened("Welcome\nThis account is not available.\n") {
            Ok(Opened::No(said)) => assert_eq!(said, "Welcome\nThis account is not available.\n"),
            _ => panic!("no agent has answered"),
        }
        assert!(matches!(opened(&"y\n".repeat(MOST)), Ok(Opened::No(_))));
    }

    /// The pod's own process, which waits in a folder for an agent.
    fn pod(folder: &Path) -> io::Result<Child> {
        let script = waiting_in(&folder.display().to_string());
        Command::new("sh").args(["-c", &script]).spawn()
    }

    /// Waits until a shell has set its trap for SIGTERM.
    fn wait_for_trap(pod: &Child) -> io::Result<()> {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let status = fs::read_to_string(format!("/proc/{}/status", pod.id()))?;
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            if caught.unwrap_or(0) & 1 << (Signal::SIGTERM as u32 - 1) != 0 {
                return Ok(());
            }
            assert!(Instant::now() < until, "it has no trap: {status}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn tell(pod: &Child) -> nix::Result<()> {
        kill(Pid::from_raw(pod.id().cast_signed()), Signal::SIGTERM)
    }

    #[test]
    fn a_pod_that_is_told_to_end_ends_its_agent_first() -> Result<(), Box<dyn Error>> {
        let folder = env::temp_dir().join(format!("tracer-pod-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        // The agent reports the signal, and takes a while to detach.
        let mut agent = Command::new("sh")
            .args([
                "-c",
                "trap \"echo told; sleep 1; exit 7\" TERM; echo ready; while :; do sleep 0.1; done",
            ])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = BufReader::new(agent.stdout.take().ok_or("it was piped")?).lines();
        assert_eq!(said.next().transpose()?.as_deref(), Some("ready"));
        fs::write(folder.join("pid"), format!("{}\n", agent.id()))?;
        let mut pod = pod(&folder)?;
        wait_for_trap(&pod)?;
        tell(&pod)?;
        // A shell that dies of the signal would not tell the agent.
        assert_eq!(said.next().transpose()?.as_deref(), Some("told"));
        assert!(pod.try_wait()?.is_none(), "it waits for its agent");
        assert_eq!(agent.wait()?.code(), Some(7));
        assert_eq!(pod.wait()?.code(), Some(0));
        Ok(fs::remove_dir_all(&folder)?)
    }

    #[test]
    fn a_pod_without_an_agent_ends_when_it_is_told_to() -> Result<(), Box<dyn Error>> {
        let folder = env::temp_dir().join(format!("tracer-no-pod-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let mut pod = pod(&folder)?;
        wait_for_trap(&pod)?;
        tell(&pod)?;
        assert_eq!(pod.wait()?.code(), Some(0));
        Ok(fs::remove_dir_all(&folder)?)
    }

    #[test]
    fn only_an_image_that_was_named_may_have_the_agent() {
        assert!(script_for_pod(true).contains("exec tracer agent"));
        let script = script_for_pod(false);
        assert!(!script.contains("command -v tracer") && !script.contains(INSTALLED));
        assert!(script.contains("exec \"$f\" agent"));
    }

    #[test]
    fn a_script_has_nothing_that_a_login_shell_would_change() {
        assert!(!script_for_login().contains(['\'', '\\', '!', '\n']));
    }
}
