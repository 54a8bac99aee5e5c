//! Scripts that run an agent where none is installed.
//!
//! A shell on the machine runs a script. The script reports the machine's architecture,
//! receives the program on standard input, and runs it from a folder in which programs may run.
//! It removes the program when the agent has ended, which happens when the agent's input
//! closes. So it does so as well if the collector was killed.

use std::time::Duration;

/// Lines that the script writes.
pub(super) const INSTALLED: &str = "tracer: installed";
pub(super) const WANTED: &str = "tracer: wanted ";
pub(super) const ARRIVED: &str = "tracer: arrived";

/// A script that runs the installed agent, or receives one. The agent runs as root, with sudo
/// if the login is not root. The script has no quote, backslash or exclamation mark, so that
/// every login shell passes it on unchanged.
pub(super) fn for_login() -> String {
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
pub(super) fn for_pod(may_have: bool) -> String {
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
pub(super) fn of_pod() -> String {
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

#[cfg(test)]
mod tests {
    use std::{
        env,
        error::Error,
        fs,
        io::{self, BufRead as _, BufReader},
        path::Path,
        process::{Child, Command, Stdio},
        thread,
        time::Instant,
    };

    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };

    use super::*;

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
        assert!(for_pod(true).contains("exec tracer agent"));
        let script = for_pod(false);
        assert!(!script.contains("command -v tracer") && !script.contains(INSTALLED));
        assert!(script.contains("exec \"$f\" agent"));
    }

    #[test]
    fn a_script_has_nothing_that_a_login_shell_would_change() {
        assert!(!for_login().contains(['\'', '\\', '!', '\n']));
    }
}
