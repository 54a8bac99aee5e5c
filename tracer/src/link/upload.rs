//! Sends the program to a machine where none is installed.
//!
//! A shell on the machine runs a `script`, which says whether it needs the program.

use std::{
    borrow::Cow,
    env, fs,
    io::{self, Read, Write},
    path::PathBuf,
};

use ring::digest::{SHA256, digest};
use tracing::info;

use super::{
    RemoteError,
    script::{ARRIVED, INSTALLED, WANTED},
};

/// Limit of output before the script's lines, bytes.
const MOST: usize = 1 << 16;

/// The agent alone, which `cargo xtask build` puts into the program for users; else empty.
const AGENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/agent"));

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
                let program = for_machine(machine, AGENT, env::current_exe)?;
                let hash: String = digest(&SHA256, &program)
                    .as_ref()
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                let megabytes = program.len() as f64 / 1e6;
                info!("{node}: has no tracer, and gets an agent of {megabytes:.1} MB");
                writeln!(input, "{} {hash}", program.len())
                    .and_then(|()| input.write_all(&program))
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

/// Reads a line of a machine's output before the agent is ready.
fn line(input: &mut impl Read, most: usize) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < most && input.read(&mut byte)? > 0 {
        if byte[0] == b'\n' {
            return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
        }
        line.push(byte[0]);
    }
    Ok(None)
}

/// The program for a machine, by its name in `uname -m`: the agent in this program, the file beside
/// this program that is named after the machine, or this program itself.
fn for_machine(
    machine: &str,
    agent: &'static [u8],
    own: impl Fn() -> io::Result<PathBuf>,
) -> Result<Cow<'static, [u8]>, RemoteError> {
    if runs_on(agent, machine) {
        return Ok(Cow::Borrowed(agent));
    }
    let failed = |source| RemoteError::Upload { source };
    let own = own().map_err(failed)?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let beside = own.with_file_name(format!("tracer-agent-{machine}"));
    if !machine.is_empty() && machine.chars().all(is_name) && beside.is_file() {
        return fs::read(&beside).map(Cow::Owned).map_err(failed);
    }
    let whole = fs::read(&own).map_err(failed)?;
    if runs_on(&whole, machine) {
        return Ok(Cow::Owned(whole));
    }
    Err(RemoteError::NoProgram {
        machine: machine.to_owned(),
        beside,
    })
}

/// Whether an ELF file is for a machine, and is linked statically.
fn runs_on(file: &[u8], machine: &str) -> bool {
    /// Offsets in the 64-bit ELF header, little endian (`elf.h`).
    const MACHINE: usize = 18;
    const PROGRAMS: usize = 32;
    const PROGRAM_SIZE: usize = 54;
    const PROGRAM_COUNT: usize = 56;
    /// Type of a segment that names a dynamic linker.
    const PT_INTERP: u32 = 3;

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
    answer().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

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
        let chosen = |machine: &str, agent| {
            let chosen = for_machine(machine, agent, || Ok(own.clone()));
            chosen.map(|program| program.len())
        };
        let whole = elf(1);
        fs::write(&own, &whole)?;
        assert_eq!(chosen("x86_64", &[]).ok(), Some(whole.len()));
        assert!(chosen("aarch64", &[]).is_err());
        assert!(chosen("../x86_64", &[]).is_err());
        // The agent alone travels in place of the whole program.
        let agent: &[u8] = Vec::leak([elf(1), vec![0; 8]].concat());
        assert_eq!(chosen("x86_64", agent).ok(), Some(agent.len()));
        assert!(chosen("aarch64", agent).is_err());
        // A program that needs a dynamic linker, and a truncated one.
        fs::write(&own, elf(3))?;
        assert_eq!(chosen("x86_64", agent).ok(), Some(agent.len()));
        let refusal = chosen("x86_64", &[]).expect_err("it may not run there");
        assert!(
            refusal.to_string().contains("tracer-agent-x86_64"),
            "{refusal}"
        );
        fs::write(&own, &elf(1)[..64])?;
        assert!(chosen("x86_64", &[]).is_err());
        let beside = directory.join("tracer-agent-aarch64");
        fs::write(&beside, "any")?;
        assert_eq!(chosen("aarch64", agent).ok(), Some(3));
        // The agent inside is of the same version as this program, and another file may not be.
        fs::write(directory.join("tracer-agent-x86_64"), "old")?;
        assert_eq!(chosen("x86_64", agent).ok(), Some(agent.len()));
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
}
