//! The wire between the machines: a bridge in its own namespace, and one namespace for each
//! machine. Nothing leads out.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    must,
    place::{CONTROL, NODES, PREFIX, UNDERLAY, USER, address, namespace},
};
use crate::command;

/// The directory of `ip netns`.
const NAMESPACES: &str = "/run/netns";
/// The namespace of the bridge.
const MIDDLE: &str = "bridge";
/// The time limit for killed processes to be gone.
const GONE: Duration = Duration::from_secs(60);

/// Makes the namespaces and the wire.
pub(super) fn wire() -> Result<()> {
    let middle = namespace(MIDDLE);
    must(&format!("ip netns add {middle}"))?;
    must(&format!("ip -n {middle} link add br0 type bridge"))?;
    must(&format!("ip -n {middle} link set br0 up"))?;
    for machine in [CONTROL, USER].iter().chain(&NODES) {
        plug(machine, &middle)?;
    }
    Ok(())
}

/// Checks that the kernel has the device that Flannel makes.
pub(super) fn has_ipip() -> Result<()> {
    let middle = namespace(MIDDLE);
    must(&format!("ip -n {middle} link add probe type ipip"))
        .context("this kernel has no IP-in-IP devices")?;
    must(&format!("ip -n {middle} link del probe"))
}

fn plug(machine: &str, middle: &str) -> Result<()> {
    let own = namespace(machine);
    let address = address(machine);
    must(&format!("ip netns add {own}"))?;
    must(&format!(
        "ip -n {middle} link add {machine} type veth peer name eth0 netns {own}"
    ))?;
    must(&format!("ip -n {middle} link set {machine} master br0 up"))?;
    must(&format!("ip -n {own} link set lo up"))?;
    must(&format!("ip -n {own} link set eth0 up"))?;
    must(&format!("ip -n {own} addr add {address}/24 dev eth0"))?;
    // Programs want a default route, but nothing has the gateway's address.
    must(&format!(
        "ip -n {own} route add default via {UNDERLAY}.254 dev eth0"
    ))
}

/// Kills all processes in the cluster's namespaces, and removes the namespaces.
pub(super) fn end() -> Result<()> {
    let namespaces = namespaces()?;
    let deadline = Instant::now() + GONE;
    loop {
        let mut left = 0;
        for name in &namespaces {
            for process in inside(name)? {
                left += 1;
                // The process may have ended meanwhile.
                let _ = kill(process, Signal::SIGKILL);
            }
        }
        if left == 0 {
            break;
        }
        ensure!(
            Instant::now() < deadline,
            "{left} processes of the cluster do not end"
        );
        thread::sleep(Duration::from_millis(100));
    }
    for name in namespaces {
        must(&format!("ip netns del {name}"))?;
    }
    Ok(())
}

/// The existing namespaces of the cluster.
fn namespaces() -> Result<Vec<String>> {
    if !Path::new(NAMESPACES).exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(NAMESPACES)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(PREFIX) {
            names.push(name);
        }
    }
    Ok(names)
}

/// The processes in a namespace.
fn inside(namespace: &str) -> Result<Vec<Pid>> {
    let text = command::output(Command::new("ip").args(["netns", "pids", namespace]))?;
    let ids = text.lines().map(|line| line.trim().parse());
    let ids: Result<Vec<i32>, _> = ids.collect();
    let ids = ids.context("`ip netns pids` prints process ids")?;
    Ok(ids.into_iter().map(Pid::from_raw).collect())
}
