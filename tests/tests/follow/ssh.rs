//! Agents of machines that ssh logs in to. A shell script imitates ssh.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::{signal::Signal, utsname::uname};
use tracer_tests::{
    Lab, LabSpec, Tracer,
    lab::agent_command,
    process,
    program::{self, LIMIT},
    traffic::Flow,
};

use crate::expected::{check_balance, check_clean, pod};

/// Puts a program into a directory.
fn script(directory: &Path, name: &str, text: &str) -> Result<()> {
    let path = directory.join(name);
    fs::write(&path, text)?;
    Ok(fs::set_permissions(
        &path,
        fs::Permissions::from_mode(0o755),
    )?)
}

/// Makes an imitation of ssh: it takes ssh's options, and has a shell run the rest, as sshd would.
fn ssh(directory: &Path, runs: &str) -> Result<()> {
    let text = format!(
        "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\n\
         echo Welcome to $2; shift 2; {runs}\n"
    );
    script(directory, "ssh", &text)
}

/// A follow of all traffic between the first two pods. ssh leads to the second node.
fn follow(lab: &Lab, mut program: Command) -> Result<Tracer> {
    let [a, b] = [0, 1].map(|index| pod(&lab.pods[index]));
    program.args(["follow", "-o", "json", "--src-pod", &a, "--dst-pod", &b]);
    let near = format!("netns:{}", lab.nodes[0].netns.path.display());
    let agents = [near, "ssh:root@somewhere".to_owned()];
    program.args(lab.args_of(agents.map(Ok))?);
    let path = format!("{}:{}", lab.directory()?.display(), env::var("PATH")?);
    let mut tracer = Tracer::start(program.env("PATH", path).args(["--hold", "1s"]))?;
    tracer.wait_started(LIMIT)?;
    Ok(tracer)
}

/// Checks that everything arrives and is shown.
fn check_follow(lab: &Lab, tracer: Tracer) -> Result<()> {
    let flow = Flow::new(&lab.pods[0], &lab.pods[1]);
    assert!(flow.ping(3, Duration::from_millis(5))?.is_complete());
    let ended = tracer.stop()?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    for journey in &ended.journeys {
        check_clean(lab, [&lab.pods[0], &lab.pods[1]], journey);
    }
    check_balance(&ended.summary);
    Ok(())
}

/// A copy of the program, with the agent beside it for machines of this architecture. The tested
/// agent need not be static, and the program does not look whether the file beside it is.
fn client(directory: &Path) -> Result<String> {
    let client = directory.join("client");
    fs::create_dir(&client)?;
    let own = client.join("tracer");
    let machine = uname()?.machine().to_string_lossy().into_owned();
    fs::copy(program::binary()?, &own)?;
    let beside = client.join(format!("tracer-agent-{machine}"));
    fs::copy(program::agent()?, beside)?;
    Ok(own.to_str().context("its path is text")?.to_owned())
}

#[test]
fn a_host_is_reached_by_ssh() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let directory = lab.directory()?;
    // On that host, `tracer` is in the path, and the node's namespace is the login's.
    let agent = agent_command(&lab.nodes[1])?
        .replace(" agent ", " \"$@\" ")
        .replace("--stdio ", "");
    script(&directory, "tracer", &format!("#!/bin/sh\n{agent}\n"))?;
    ssh(&directory, "exec sh -c \"$*\"")?;
    let tracer = follow(&lab, program::tracer::<&str>([])?)?;
    check_follow(&lab, tracer)
}

/// The program is copied into a folder in which programs may run, and is removed when its agent
/// ends, also if the follow was killed.
#[test]
fn a_host_without_tracer_is_given_it() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let directory = lab.directory()?;
    let far = directory.join("far");
    fs::create_dir(&far)?;
    // On that host, no program may run from /dev/shm, and /tmp belongs to the machine.
    let node = lab.nodes[1].netns.path.display();
    ssh(
        &directory,
        &format!(
            "export PATH=/usr/sbin:/usr/bin:/sbin:/bin\n\
             exec unshare --mount sh -c 'mount -t tmpfs -o noexec none /dev/shm && \
             mount --bind {} /tmp && exec nsenter --net={node} sh -c \"$0\"' \"$*\"",
            far.display()
        ),
    )?;
    let program = client(&directory)?;
    let left = || -> Result<usize> { Ok(fs::read_dir(&far)?.count()) };
    let wait_gone = || {
        let end = Instant::now() + LIMIT;
        while left()? > 0 {
            ensure!(Instant::now() < end, "tracer is left in {}", far.display());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    };

    let tracer = follow(&lab, process::command(&program))?;
    assert_eq!(left()?, 1);
    check_follow(&lab, tracer)?;
    wait_gone()?;

    let tracer = follow(&lab, process::command(&program))?;
    assert_eq!(left()?, 1);
    tracer.signal(Signal::SIGKILL)?;
    wait_gone()
}

/// A problem on the host is one sentence, which says what to do.
#[test]
fn a_host_that_takes_no_agent_says_why() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let directory = lab.directory()?;
    let program = client(&directory)?;
    let run = "exec sh -c \"$*\"";
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", directory.display());
    let refused = |runs: &str| -> Result<String> {
        ssh(&directory, runs)?;
        let mut tracer = process::command(&program);
        tracer.args(["follow", "--agent", "node-b=ssh:somewhere"]);
        tracer.args(["--src-ip", "10.0.0.1", "--dst-ip", "10.0.0.2"]);
        let ended = process::Process::start(tracer.env("PATH", &path), "")?.finish(LIMIT)?;
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        Ok(ended.stderr)
    };
    let said = refused("exit 1")?;
    assert!(said.contains("`ssh somewhere` ended before an agent answered: Welcome to"));
    script(
        &directory,
        "head",
        "#!/bin/sh\nexec /usr/bin/head -c 1000\n",
    )?;
    let said = refused(run)?;
    assert!(said.contains("tracer did not arrive whole"), "{said}");
    script(&directory, "uname", "#!/bin/sh\necho riscv64\n")?;
    let said = refused(run)?;
    let beside = "client/tracer-agent-riscv64 (`cargo xtask build` on such a machine makes one)";
    assert!(said.contains(beside), "{said}");
    script(&directory, "id", "#!/bin/sh\necho 1000\n")?;
    script(
        &directory,
        "sudo",
        "#!/bin/sh\necho sudo: a password is required >&2\nexit 1\n",
    )?;
    script(&directory, "tracer", "")?;
    let said = refused(run)?;
    assert!(said.contains("in /etc/sudoers"), "{said}");
    Ok(())
}
