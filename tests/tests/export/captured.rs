//! Captured bytes, compared with tcpdump's at the same interfaces. These tests need root.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::{
        signal::{Signal, kill},
        utsname::uname,
    },
    unistd::Pid,
};
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Pod, process,
    program::{LIMIT, Tracer},
};

use crate::{export, folder, printed};

/// The payload of pings besides the time, in hexadecimal for ping and as bytes.
const PATTERN: (&str, [u8; 4]) = ("c0ffee42", [0xc0, 0xff, 0xee, 0x42]);
/// The number of captured bytes of a frame.
const SNAPLEN: usize = 256;
/// Payload sizes of pings. The frames of one are captured whole, and those of the other in part.
const SIZES: [&str; 2] = ["56", "400"];

/// A frame in a capture.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Frame {
    length: usize,
    bytes: Vec<u8>,
}

impl Frame {
    /// Whether the frame is a ping of this test.
    fn is_ours(&self) -> bool {
        let pattern = PATTERN.1.repeat(4);
        let mut parts = self.bytes.windows(pattern.len());
        parts.any(|part| part == pattern)
    }

    /// The captured part of the frame.
    fn cut(mut self) -> Self {
        self.bytes.truncate(SNAPLEN);
        self
    }
}

/// The frames of an unfinished file in tcpdump's format (pcap, little endian).
fn frames(file: &Path) -> Result<Vec<Frame>> {
    /// The sizes of the file's header, and of each frame's.
    const HEADERS: (usize, usize) = (24, 16);
    let bytes = fs::read(file)?;
    let mut rest = bytes.get(HEADERS.0..).unwrap_or_default();
    let mut frames = Vec::new();
    while let Some((header, behind)) = rest.split_at_checked(HEADERS.1) {
        let number = |at: usize| {
            let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
            u32::from_le_bytes(bytes) as usize
        };
        let Some((bytes, behind)) = behind.split_at_checked(number(8)) else {
            break;
        };
        frames.push(Frame {
            length: number(12),
            bytes: bytes.to_vec(),
        });
        rest = behind;
    }
    Ok(frames)
}

/// A tcpdump at an interface.
struct Tcpdump {
    child: Child,
    file: PathBuf,
}

impl Tcpdump {
    /// Starts tcpdump, and waits until it sees packets.
    fn start(lab: &Lab, node: &str, interface: &str, folder: &Path) -> Result<Self> {
        let node = lab.nodes.iter().find(|one| one.name == node);
        let node = node.context("a node of the lab")?;
        let file = folder.join(format!("{}-{interface}.pcap", node.name));
        let mut command = node.netns.command("tcpdump");
        command.args([
            "-n",
            "-U",
            "--immediate-mode",
            "-Z",
            "root",
            "-i",
            interface,
            "-w",
        ]);
        command
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("tcpdump is installed")?;
        let said = BufReader::new(child.stderr.take().context("a pipe")?);
        let listens =
            |line: std::io::Result<String>| line.is_ok_and(|line| line.contains("listening on"));
        ensure!(said.lines().any(listens), "tcpdump does not start");
        Ok(Self { child, file })
    }

    /// The pings of this test, once there are `count`.
    fn pings(&self, count: usize) -> Result<Vec<Frame>> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let mut ours = frames(&self.file)?;
            ours.retain(Frame::is_ours);
            if ours.len() >= count {
                return Ok(ours);
            }
            ensure!(Instant::now() < deadline, "{} of {count}", ours.len());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        let _: Result<(), _> = kill(
            Pid::from_raw(self.child.id().cast_signed()),
            Signal::SIGTERM,
        );
        let _: Result<_, _> = self.child.wait();
    }
}

/// The frames of an export, by interface, as tshark reads them.
fn exported(capture: &Path, folder: &Path) -> Result<BTreeMap<String, Vec<(Frame, String)>>> {
    let tshark = |args: &[&str]| {
        let mut command = process::command("tshark");
        command.arg("-r").arg(capture).args(args);
        process::run(&mut command, "").context("tshark reads a capture")
    };
    let fields = [
        "-T",
        "fields",
        "-e",
        "frame.interface_name",
        "-e",
        "frame.comment",
    ];
    let told = tshark(&fields)?;
    let plain = folder.join("plain.pcap").display().to_string();
    tshark(&["-F", "pcap", "-w", &plain])?;
    let frames = frames(Path::new(&plain))?;
    ensure!(frames.len() == told.lines().count(), "{told}");
    let mut all: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for (frame, line) in frames.into_iter().zip(told.lines()) {
        let (interface, comment) = line.split_once('\t').context("two fields")?;
        let of = all.entry(interface.to_owned()).or_default();
        of.push((frame, comment.to_owned()));
    }
    Ok(all)
}

fn pod(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

/// Follows and records pings. Returns the frames that tcpdump saw meanwhile, by node and interface.
fn record(
    lab: &Lab,
    file: &str,
    folder: &Path,
    more: &[&str],
) -> Result<BTreeMap<String, Vec<Frame>>> {
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let ends = [
        "--src-pod",
        &pod(a),
        "--dst-pod",
        &pod(b),
        "--proto",
        "icmp",
    ];
    let mut tracer = Tracer::follow(lab, [&ends, &["-w", file][..], more].concat())?;
    let started = tracer.wait_started(LIMIT)?;
    let mut dumps: BTreeMap<String, Tcpdump> = BTreeMap::new();
    for point in started["points"].as_array().context("points")? {
        let [node, interface] = ["node", "interface"].map(|key| point[key].as_str());
        let (node, interface) = (node.context("a node")?, interface.context("a name")?);
        let key = format!("{node}/{interface}");
        if let Entry::Vacant(new) = dumps.entry(key) {
            new.insert(Tcpdump::start(lab, node, interface, folder)?);
        }
    }
    for size in SIZES {
        let to = b.address(false);
        let ping = format!("ping -n -c 1 -W 5 -p {} -s {size} {to}", PATTERN.0);
        a.netns.run(&ping)?;
    }
    let replies = |value: &Value| value["direction"] == "reply";
    let mut seen = Vec::new();
    for _ in SIZES {
        let reply = tracer.wait_for(
            |value| replies(value) && !seen.contains(&value["id"]),
            LIMIT,
        )?;
        assert_eq!(reply["verdict"]["kind"], "delivered", "{reply:#}");
        seen.push(reply["id"].clone());
    }
    let finished = tracer.stop()?;
    assert_eq!(
        finished.summary["accounting"]["lost"], 0,
        "{:#}",
        finished.summary
    );
    let pings = dumps.iter().map(|(key, dump)| {
        let pings = dump.pings(2 * SIZES.len()).with_context(|| key.clone())?;
        Ok((key.clone(), pings))
    });
    pings.collect()
}

#[test]
fn captured_frames_equal_the_sent_ones() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let folder = folder()?;
    let file = folder.path().join("trace.arrows").display().to_string();
    let snaplen = SNAPLEN.to_string();
    let sent = record(&lab, &file, folder.path(), &["--snaplen", &snaplen])?;
    assert_eq!(sent.len(), 8, "four interfaces on each node: {sent:?}");

    let capture = export(&folder, &file, &["--format", "pcapng"])?;
    let mut found: BTreeMap<String, Vec<Frame>> = BTreeMap::new();
    for (interface, frames) in exported(&capture, folder.path())? {
        let (point, _direction) = interface.rsplit_once('/').context("a direction")?;
        for (frame, comment) in frames {
            ensure!(comment.contains("| bytes captured"), "{comment}");
            if frame.is_ours() {
                found.entry(point.to_owned()).or_default().push(frame);
            }
        }
    }
    for (point, frames) in sent {
        let mut frames: Vec<Frame> = frames.into_iter().map(Frame::cut).collect();
        let mut captured = found.remove(&point).unwrap_or_default();
        frames.sort();
        captured.sort();
        assert_eq!(captured, frames, "{point}");
        assert_eq!(captured.len(), 2 * SIZES.len(), "{point}");
        let wholes = captured
            .iter()
            .filter(|frame| frame.length == frame.bytes.len());
        assert_eq!(wholes.count(), 2, "{point}");
    }
    assert!(found.is_empty(), "{found:?}");

    let shown: Value = serde_json::from_str(&printed(&["show", "-o", "json", &file])?)?;
    let kernel = uname()?;
    let [release, architecture] = [kernel.release(), kernel.machine()].map(OsStr::to_string_lossy);
    for node in shown["nodes"].as_array().context("nodes")? {
        assert_eq!(node["snaplen"], SNAPLEN);
        assert_eq!(node["kernel"]["release"], *release);
        assert_eq!(node["kernel"]["architecture"], *architecture);
    }
    let mut command = process::command("capinfos");
    command.arg("-I").arg(&capture);
    let interfaces = process::run(&mut command, "")?;
    let system = format!("Operating system = Linux {release} ({architecture})");
    assert_eq!(
        interfaces.matches(&system).count(),
        interfaces.matches("Name = ").count(),
        "{interfaces}"
    );
    assert!(printed(&["show", &file])?.contains("payload"));
    Ok(())
}

/// Without the option, no payload is captured. Anonymizing removes all payload.
#[test]
fn nobody_has_payload_who_did_not_ask_for_it() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let folder = folder()?;
    for more in [&[][..], &["--snaplen", "256", "--anonymize"]] {
        let file = folder.path().join("trace.arrows").display().to_string();
        record(&lab, &file, folder.path(), more)?;
        let capture = export(&folder, &file, &["--format", "pcapng"])?;
        let frames = exported(&capture, folder.path())?;
        assert_eq!(frames.len(), 16, "two directions of eight interfaces");
        for (frame, comment) in frames.values().flatten() {
            assert!(!frame.is_ours(), "{frame:?}");
            assert!(comment.contains("| headers rebuilt"), "{comment}");
        }
        let shown: Value = serde_json::from_str(&printed(&["show", "-o", "json", &file])?)?;
        assert_eq!(shown["nodes"][0]["snaplen"], 0);
        assert!(!printed(&["show", &file])?.contains("payload"));
    }
    Ok(())
}
