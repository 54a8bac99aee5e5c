//! Kernels before 6.6 have no links. What a killed tracer has attached stays there until the next
//! tracer starts. On a newer kernel, the tests keep tracer from seeing links.

use std::os::fd::AsRawFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Result;
use nix::libc;
use nix::sys::signal::Signal;
use tracer_tests::program::{LIMIT, tracer};
use tracer_tests::rights::{CAP_SYS_PTRACE, no_tcx, without};
use tracer_tests::{Lab, LabSpec, Netns, Process, Tracer, process};

use crate::rights::follow_args;
use crate::{attached_by, by_clsact, has_tcx, refusal};

/// The qdiscs at an interface's hooks, and their filters.
fn hooks(netns: &Netns, interface: &str) -> Result<String> {
    let list = |what: &str| netns.run(&format!("tc {what} show dev {interface} ingress"));
    Ok(list("qdisc")? + &list("filter")?)
}

/// A follow by clsact between the lab's first two pods.
fn command(lab: &Lab) -> Result<Command> {
    let mut command = tracer(follow_args(lab)?)?;
    command.args(["-o", "json", "--proto", "icmp"]);
    if has_tcx() {
        no_tcx(&mut command);
    }
    Ok(command)
}

/// Starts [`command`].
fn follow(lab: &Lab) -> Result<Tracer> {
    let mut tracer = Tracer::start(&mut command(lab)?)?;
    tracer.wait_started(LIMIT)?;
    Ok(tracer)
}

fn attached(lab: &Lab) -> Result<Vec<String>> {
    attached_by(lab, by_clsact)
}

/// A process of this user that holds the abstract socket name by which tracers take turns.
fn holder(netns: &Netns, user: u32) -> Result<Process> {
    let name = SocketAddr::from_abstract_name("tracer/turn")?;
    let socket = netns.enter(|| UnixListener::bind_addr(&name))?;
    let mut command = process::command("sleep");
    command.arg("600").uid(user).gid(user);
    let keep = move || {
        let fd = socket.as_raw_fd();
        // The kernel notes the process and its user. SAFETY: takes no pointers, and the descriptor
        // is open.
        let listens = unsafe { libc::listen(fd, 1) } == 0;
        // SAFETY: as above.
        if listens && unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } == 0 {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error())
        }
    };
    // SAFETY: between fork and exec the closure makes two system calls and neither
    // allocates nor takes a lock.
    unsafe { command.pre_exec(keep) };
    Process::start(&mut command, "")
}

/// Any process may take the name. Only a process that could attach programs keeps other tracers
/// from attaching, and then the message names it.
#[test]
fn a_stranger_does_not_keep_tracers_from_attaching() -> Result<()> {
    const NOBODY: u32 = 65_534;
    let lab = Lab::new(&LabSpec::default())?;
    let netns = &lab.nodes[0].netns;
    let stranger = holder(netns, NOBODY)?;
    // Without this capability, tracer cannot look up other users' sockets in /proc.
    let mut blind = command(&lab)?;
    without(&mut blind, CAP_SYS_PTRACE);
    for mut command in [command(&lab)?, blind] {
        let mut tracer = Tracer::start(&mut command)?;
        tracer.wait_started(LIMIT)?;
        assert_eq!(attached(&lab)?.len(), 16);
        let ended = tracer.stop()?;
        assert_eq!(ended.status.code(), Some(4), "{}", ended.stderr);
        assert_eq!(attached(&lab)?, [""; 0]);
    }
    drop(stranger);

    let _colleague = holder(netns, 0)?;
    let sentence = refusal(&mut command(&lab)?, 1)?;
    let says = |words: &str| assert!(sentence.contains(words), "{sentence}");
    says("the abstract socket @tracer/turn is held by process ");
    says(" (sleep): end it if it hangs");
    assert_eq!(attached(&lab)?, [""; 0]);
    Ok(())
}

#[test]
fn what_a_killed_one_left_goes_with_the_next_one_and_nothing_else() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let node = &lab.nodes[0];
    let uplink = &node.uplink;
    // Another program has a qdisc and a filter at one of the interfaces.
    let add = |what: &str| {
        let tc = format!("tc {what}").replace("DEV", &format!("dev {uplink}"));
        node.netns.run(&tc)
    };
    add("qdisc add DEV clsact")?;
    // Not every kernel has this kind of filter. Without it, only the qdisc is foreign.
    let filter = "filter add DEV ingress prio 1 protocol all matchall action ok";
    let is_added = add(filter).is_ok();
    let before = hooks(&node.netns, uplink)?;
    assert!(before.contains("clsact"), "{before}");
    assert_eq!(before.contains("matchall"), is_added, "{before}");

    let killed = follow(&lab)?;
    let colleague = follow(&lab)?;
    assert_eq!(attached(&lab)?.len(), 32);
    killed.signal(Signal::SIGKILL)?;
    killed.finish(LIMIT)?;
    assert_eq!(attached(&lab)?.len(), 32, "nobody has removed them");
    let next = follow(&lab)?;
    assert_eq!(attached(&lab)?.len(), 32, "the colleague's, and its own");
    for (tracer, left) in [(colleague, 16), (next, 0)] {
        let ended = tracer.stop()?;
        assert_eq!(ended.status.code(), Some(4), "{}", ended.stderr);
        assert_eq!(attached(&lab)?.len(), left);
    }
    // tracer's own qdiscs are gone, and the foreign one is unchanged.
    assert_eq!(hooks(&node.netns, uplink)?, before);
    assert_eq!(hooks(&node.netns, &node.overlay)?, "");
    assert_eq!(hooks(&lab.nodes[1].netns, &lab.nodes[1].uplink)?, "");
    Ok(())
}

/// The kernel removes a qdisc with all its filters, so tracer leaves one that another tool has come
/// to use.
#[test]
fn a_filter_that_another_tool_adds_meanwhile_stays() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let node = &lab.nodes[0];
    let tracer = follow(&lab)?;
    // The filter's program, which tc loads, matches no packet. It is of the same kind as tracer's.
    let add = ["filter", "add", "dev", &node.uplink, "ingress", "prio", "9"];
    let program = ["protocol", "all", "bpf", "bytecode", "1,6 0 0 0"];
    let mut tc = node.netns.command("tc");
    process::run(tc.args(add).args(program), "")?;
    let during = hooks(&node.netns, &node.uplink)?;
    assert!(during.contains("pref 9 "), "{during}");
    let ended = tracer.stop()?;
    assert_eq!(ended.status.code(), Some(4), "{}", ended.stderr);
    let after = hooks(&node.netns, &node.uplink)?;
    assert!(after.contains("qdisc clsact"), "{after}");
    assert!(after.contains("pref 9 "), "{after}");
    assert_eq!(attached(&lab)?, [""; 0]);
    assert_eq!(hooks(&node.netns, &node.overlay)?, "");
    Ok(())
}
