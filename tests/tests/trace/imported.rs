//! Captures of the real tcpdump during a `tracer follow` of the same packets: the import has the
//! journeys of the follow.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Child,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Node, Wiring,
    program::{LIMIT, Tracer, run},
    traffic::Flow,
};

use crate::{full_name, printed};

/// A running tcpdump, which is killed when this value is dropped.
struct Capture {
    child: Child,
    file: PathBuf,
}

impl Capture {
    /// Starts tcpdump in a node's namespace, and waits until it captures.
    fn start(lab: &Lab, node: &Node, what: &[&str]) -> Result<Self> {
        let directory = lab.directory()?;
        let name = format!("{}-{}", node.name, what[1]);
        let (file, said) = (
            directory.join(format!("{name}.pcap")),
            directory.join(format!("{name}.err")),
        );
        let mut command = node.netns.command("tcpdump");
        command
            .args(["-n", "-U", "--immediate-mode", "-Z", "root", "-w"])
            .arg(&file)
            .args(what)
            .stderr(File::create(&said)?);
        let child = command.spawn().context("tcpdump is installed")?;
        let capture = Self { child, file };
        let deadline = Instant::now() + LIMIT;
        while !fs::read_to_string(&said)?.contains("listening on") {
            ensure!(Instant::now() < deadline, "{}", fs::read_to_string(&said)?);
            thread::sleep(Duration::from_millis(5));
        }
        Ok(capture)
    }

    fn end(&mut self) -> Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT)?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Both fail only if the child was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Journeys between two addresses by what distinguishes packets, with their ways and verdicts.
type Ways = BTreeMap<String, Vec<(Vec<String>, String)>>;

fn ways(journeys: &[Value], ends: &[String]) -> Ways {
    let mut ways = Ways::new();
    for journey in journeys {
        let packet = &journey["packet"];
        let is_end = |key: &str| ends.iter().any(|end| packet[key] == **end);
        let is_neighbour = packet["proto"] == "arp" || !packet["icmp"]["neighbour"].is_null();
        if !is_end("src") || !is_end("dst") || is_neighbour {
            continue;
        }
        let parts = [
            "src", "dst", "proto", "ip_id", "len", "src_port", "dst_port",
        ];
        let mut key: Vec<String> = parts.map(|part| packet[part].to_string()).to_vec();
        for part in ["seq", "ack", "flags"] {
            key.push(packet["tcp"][part].to_string());
        }
        for part in ["type", "id", "seq"] {
            key.push(packet["icmp"][part].to_string());
        }
        let hops = journey["hops"].as_array().into_iter().flatten();
        let points = hops.map(|hop| {
            let word = |key: &str| hop[key].as_str().unwrap_or_default().to_owned();
            [word("node"), word("interface"), word("direction")].join("/")
        });
        let mut points: Vec<String> = points.collect();
        // The kernel reads the clock once for a packet between a port and its bridge.
        let node = |point: &String| point.split('/').next().unwrap_or_default().to_owned();
        for of_node in points.chunk_by_mut(|one, next| node(one) == node(next)) {
            of_node.sort();
        }
        let kind = journey["verdict"]["kind"].as_str().unwrap_or_default();
        let known = ways.entry(key.join(" ")).or_default();
        known.push((points, kind.to_owned()));
        known.sort();
    }
    ways
}

fn imported(file: &str) -> Result<Vec<Value>> {
    let printed = printed(&["replay", "-o", "json", file])?;
    let lines = printed.lines().map(serde_json::from_str);
    let lines: Vec<Value> = lines.collect::<Result<_, _>>()?;
    let journeys = lines.into_iter();
    Ok(journeys
        .filter(|line| line["schema"] == "tracer.journey/2")
        .collect())
}

/// The index of an interface.
fn index(node: &Node, interface: &str) -> Result<u64> {
    let printed = node
        .netns
        .run(&format!("ip -json link show dev {interface}"))?;
    let links: Value = serde_json::from_str(&printed)?;
    links[0]["ifindex"].as_u64().context("an index")
}

/// The number of packets that even an incomplete capture has.
const FEW: usize = 20;

/// Compares the delivered journeys of the follow, with their ways. A capture of all interfaces may
/// miss packets, so the test then compares only the captured ones.
fn followed(lab: &Lab, captures: &mut [Capture], args: &[String], whole: bool) -> Result<()> {
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let ends = [a, b].map(full_name);
    let follow = ["--src-pod", &ends[0], "--dst-pod", &ends[1]];
    let mut tracer = Tracer::follow(lab, follow)?;
    tracer.wait_started(LIMIT)?;
    let flow = Flow::new(a, b);
    ensure!(flow.ping(5, Duration::from_millis(2))?.is_complete());
    ensure!(flow.udp_exchange(5, 100)?.is_complete());
    ensure!(flow.tcp_connects(3)?.is_complete());
    ensure!(
        flow.clone()
            .v6(true)
            .ping(3, Duration::from_millis(2))?
            .is_complete()
    );
    let followed = tracer.stop()?;
    let addresses = [
        a.v4.to_string(),
        b.v4.to_string(),
        a.v6.to_string(),
        b.v6.to_string(),
    ];
    let expected: Ways = ways(&followed.journeys, &addresses);
    ensure!(expected.len() > 40, "{} packets", expected.len());

    let out = lab
        .directory()?
        .join("imported.arrows")
        .display()
        .to_string();
    let mut command: Vec<String> = vec!["import".to_owned(), "-o".to_owned(), out.clone()];
    command.extend(captures.iter().map(|one| one.file.display().to_string()));
    command.extend(args.iter().cloned());
    let deadline = Instant::now() + LIMIT;
    // tcpdump writes its packets with a delay.
    let mut found = loop {
        let ended = run(&command)?;
        let found = match ended.status.code() {
            Some(0) => ways(&imported(&out)?, &addresses),
            Some(4) => Ways::new(),
            _ => anyhow::bail!("{}", ended.stderr),
        };
        let there = expected.keys().filter(|key| found.contains_key(*key));
        let enough = if whole { expected.len() } else { FEW };
        if there.count() >= enough {
            break found;
        }
        ensure!(Instant::now() < deadline, "not in time: {}", ended.stderr);
    };
    for capture in &mut *captures {
        capture.end()?;
    }
    ensure!(run(&command)?.status.success());
    found.clone_from(&ways(&imported(&out)?, &addresses));
    let mut equal = 0;
    for (packet, ways) in &expected {
        ensure!(
            ways.iter().all(|(_, kind)| kind == "delivered"),
            "{packet}: {ways:#?}"
        );
        let same = found.get(packet).is_some_and(|found| found == ways);
        equal += usize::from(same);
        if let Some(found) = found.get(packet).filter(|_| !same) {
            let points: Vec<&String> = ways.iter().flat_map(|(points, _)| points).collect();
            let known = |(of, kind): &(Vec<String>, String)| {
                let some = of.iter().all(|point| points.contains(&point));
                some && matches!(&**kind, "delivered" | "unknown")
            };
            let honest = !whole && found.iter().all(known);
            ensure!(honest, "{packet}:\n{found:#?}\nand not\n{ways:#?}");
        }
    }
    let enough = if whole { expected.len() } else { FEW };
    ensure!(equal >= enough, "{equal} of {} packets", expected.len());
    lossy(lab, captures, args)
}

/// Without a third of each capture's packets, no verdict is definite and wrong.
fn lossy(lab: &Lab, captures: &[Capture], args: &[String]) -> Result<()> {
    for third in 0..3 {
        let directory = lab.directory()?;
        let out = directory.join("lossy.arrows").display().to_string();
        let mut command: Vec<String> = vec!["import".to_owned(), "-o".to_owned(), out.clone()];
        let mut args = args.to_vec();
        for capture in captures {
            let name = capture.file.file_name().context("a name")?;
            let thinned = directory.join(format!("thin-{}", name.to_string_lossy()));
            fs::write(&thinned, without(&capture.file, third)?)?;
            let (file, thin) = (
                capture.file.display().to_string(),
                thinned.display().to_string(),
            );
            for arg in &mut args {
                *arg = arg.replace(&file, &thin);
            }
            command.push(thin);
        }
        command.extend(args);
        let ended = run(&command)?;
        ensure!(ended.status.success(), "{}", ended.stderr);
        for journey in imported(&out)? {
            let kind = &journey["verdict"]["kind"];
            ensure!(kind == "delivered" || kind == "unknown", "{journey:#}");
        }
    }
    Ok(())
}

/// A pcap file of this machine's byte order without every third packet.
fn without(file: &Path, third: usize) -> Result<Vec<u8>> {
    let bytes = fs::read(file)?;
    let (head, mut rest) = bytes.split_at_checked(24).context("a header")?;
    let mut thinned = head.to_vec();
    let mut number = 0;
    while let Some(header) = rest.first_chunk::<16>() {
        let length: [u8; 4] = header[8..12].try_into()?;
        let length = 16 + usize::try_from(u32::from_ne_bytes(length))?;
        let (packet, next) = rest.split_at_checked(length).context("a packet")?;
        if number % 3 != third {
            thinned.extend(packet);
        }
        number += 1;
        rest = next;
    }
    Ok(thinned)
}

/// One file has all interfaces of a node, with VXLAN and without a tunnel.
#[test]
fn all_interfaces_of_nodes_give_the_journeys_of_the_follow() -> Result<()> {
    for wiring in [Wiring::Flannel, Wiring::FlannelHostGw] {
        let lab = Lab::new(&LabSpec {
            wiring,
            ..LabSpec::default()
        })?;
        let mut captures = Vec::new();
        let mut args = vec![
            "--inventory".to_owned(),
            lab.write_objects()?.display().to_string(),
        ];
        args.extend(["--vxlan-port".to_owned(), lab.port.to_string()]);
        for (node, pod) in lab.nodes.iter().zip(&lab.pods) {
            let capture = Capture::start(&lab, node, &["-i", "any"])?;
            let file = capture.file.display().to_string();
            let mut at = |interface: &str, more: &str| -> Result<()> {
                let index = index(node, interface)?;
                let place = format!("{file}:{index}={}/{interface}{more}", node.name);
                args.extend(["--at".to_owned(), place]);
                Ok(())
            };
            at(&pod.veth, &format!(",pod={}", full_name(pod)))?;
            at(&node.bridge, ",role=bridge")?;
            if wiring == Wiring::Flannel {
                at(&node.overlay, ",role=overlay")?;
            }
            at(&node.uplink, ",role=uplink")?;
            captures.push(capture);
        }
        followed(&lab, &mut captures, &args, false)?;
    }
    Ok(())
}

/// Each interface has a file. The interface's MAC address distinguishes both directions, and the
/// pod's address does so at the pod's own interface.
#[test]
fn a_file_for_each_interface_gives_them_too() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let mut captures = Vec::new();
    let mut args = vec![
        "--inventory".to_owned(),
        lab.write_objects()?.display().to_string(),
    ];
    args.extend(["--vxlan-port".to_owned(), lab.port.to_string()]);
    for (node, pod) in lab.nodes.iter().zip(&lab.pods) {
        let places = [
            (&pod.veth, format!(",pod={}", full_name(pod))),
            (&node.bridge, format!("/{},role=bridge", node.bridge_mac)),
            (&node.overlay, format!("/{},role=overlay", node.overlay_mac)),
            (&node.uplink, format!("/{},role=uplink", node.uplink_mac)),
        ];
        for (interface, more) in places {
            captures.push(Capture::start(&lab, node, &["-i", interface])?);
            args.extend([
                "--at".to_owned(),
                format!("{}/{interface}{more}", node.name),
            ]);
        }
    }
    followed(&lab, &mut captures, &args, true)
}
