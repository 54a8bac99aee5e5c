use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Result;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use serde_json::Value;
use tracer_tests::program::{LIMIT, binary, is, tracer};
use tracer_tests::rights::{
    CAP_BPF, CAP_NET_ADMIN, CAP_NET_BROADCAST, CAP_PERFMON, CAP_SYS_ADMIN, without,
};
use tracer_tests::{Lab, LabSpec, Netns, Tracer, process};

use crate::{assert_refused, attached, full_name};

/// The needed capabilities, with their purposes.
pub(crate) const NEEDED: [(libc::c_int, &str); 4] = [
    (CAP_BPF, "CAP_BPF (to load its programs)"),
    (CAP_NET_ADMIN, "CAP_NET_ADMIN (to attach them)"),
    (
        CAP_PERFMON,
        "CAP_PERFMON (to tell packets apart by their kernel addresses)",
    ),
    (CAP_SYS_ADMIN, "CAP_SYS_ADMIN (to enter network namespaces)"),
];

/// The user `nobody`.
const NOBODY: u32 = 65_534;

/// Arguments of a follow between the lab's first two pods.
pub(crate) fn follow_args(lab: &Lab) -> Result<Vec<String>> {
    let mut args = lab.agent_args()?;
    args.insert(0, "follow".to_owned());
    for (option, pod) in ["--src-pod", "--dst-pod"].into_iter().zip(&lab.pods) {
        args.extend([option.to_owned(), full_name(pod)]);
    }
    Ok(args)
}

/// A pod's address is set in the pod's own namespace. Without events of other namespaces, tracer
/// finds a restarted pod at its first packet.
#[test]
fn without_hearing_of_other_namespaces_a_pod_is_found_when_it_speaks() -> Result<()> {
    let mut lab = Lab::new(&LabSpec::default())?;
    let mut command = tracer(follow_args(&lab)?)?;
    command.args(["-o", "json"]);
    let mut tracer = Tracer::start(without(&mut command, CAP_NET_BROADCAST))?;
    tracer.wait_started(LIMIT)?;
    lab.end_pod(1)?;
    lab.rename_pod(1);
    lab.begin_pod(1)?;
    lab.ready()?;
    let veth = &lab.pods[1].veth;
    let observed = |value: &Value| {
        let points = value["points"].as_array().into_iter().flatten();
        is(value, "tracer.points/1") && points.into_iter().any(|point| point["interface"] == **veth)
    };
    tracer.wait_for(observed, LIMIT)?;
    Ok(())
}

/// A command that runs the program in `netns` without any rights. It runs a copy, because only the
/// owner may have access to the build directory.
pub(crate) fn unprivileged(lab: &Lab, netns: &Netns) -> Result<Command> {
    let directory = lab.directory()?;
    let copy = directory.join("tracer");
    // Another process writes the copy. Children of other threads may hold a file open that this
    // process writes, and such a file cannot be executed.
    process::run(process::command("cp").arg(binary()?).arg(&copy), "")?;
    for path in [&directory, &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    let mut command = netns.command(&copy.display().to_string());
    let become_nobody = || {
        let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        setgroups(&[])?;
        setresgid(group, group, group)?;
        Ok(setresuid(user, user, user)?)
    };
    // SAFETY: between fork and exec the closure makes system calls and neither
    // allocates nor takes a lock.
    unsafe { command.pre_exec(become_nobody) };
    Ok(command)
}

fn sentence(lab: &Lab, capabilities: &str, they: &str) -> String {
    format!(
        "{}: tracer needs {capabilities}: run it as root, or give the program {they}",
        lab.nodes[0].name
    )
}

#[test]
fn a_missing_capability_is_named() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    for (capability, name) in NEEDED {
        let mut command = tracer(follow_args(&lab)?)?;
        without(&mut command, capability);
        assert_refused(&mut command, 1, &sentence(&lab, name, "that capability"))?;
    }
    assert_eq!(attached(&lab)?, [""; 0]);
    Ok(())
}

/// The message names all missing rights at once, so that one attempt is enough.
#[test]
fn who_is_not_root_is_told_so() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let mut command = unprivileged(&lab, &lab.nodes[0].netns)?;
    command.args(follow_args(&lab)?);
    let [first @ .., last] = NEEDED.map(|(_, name)| name);
    let all = format!("{} and {last}", first.join(", "));
    assert_refused(&mut command, 1, &sentence(&lab, &all, "these capabilities"))?;
    assert_eq!(attached(&lab)?, [""; 0]);
    Ok(())
}

#[test]
fn a_kernel_without_type_information_is_refused() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let mut command = tracer(follow_args(&lab)?)?;
    let hide = || {
        let nothing: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS)?;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(nothing, "/", nothing, private, nothing)?;
        let empty = Some("tmpfs");
        Ok(mount(
            empty,
            "/sys/kernel/btf",
            empty,
            MsFlags::empty(),
            nothing,
        )?)
    };
    // SAFETY: between fork and exec the closure makes system calls, with paths
    // that are short enough to need no allocation, and takes no lock.
    unsafe { command.pre_exec(hide) };
    let sentence = format!(
        "{}: this kernel has no type information (/sys/kernel/btf/vmlinux): tracer needs \
         CONFIG_DEBUG_INFO_BTF=y",
        lab.nodes[0].name
    );
    assert_refused(&mut command, 1, &sentence)?;
    assert_eq!(attached(&lab)?, [""; 0]);
    Ok(())
}
