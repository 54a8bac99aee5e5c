//! Captures, read by tshark.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tracer_tests::process;

use crate::{epoch, export, fixture, folder, journeys, names};

/// Recordings of each kind of header and tunnel, and of drops.
pub(crate) const RECORDINGS: &[&str] = &[
    "clean",
    "nft-forward-far-drop-4",
    "pod-restarts",
    "too-big-to-send-6",
    "ttl-far-6",
    "udp-no-listener-4",
    "wiring-calicodualstack-clean",
    "wiring-flanneloverv6-clean",
    "wiring-geneve-clean",
    "wiring-greframes-clean",
    "wiring-greinv6-clean",
    "wiring-ipinv6-clean",
    "wiring-netkitl3-two-nodes-clean",
    "wiring-sixinfour-clean",
    "wiring-uplinks-invxlan-clean",
    "wiring-uplinks-vlan-clean",
];

/// The fields that tshark prints. If a header occurs several times, the innermost comes last.
const FIELDS: &[&str] = &[
    "frame.interface_name",
    "frame.time_epoch",
    "frame.len",
    "frame.comment",
    "ip.src",
    "ip.dst",
    "ip.ttl",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.hlim",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.seq_raw",
    "tcp.len",
    "udp.srcport",
    "udp.dstport",
    "icmp.ident",
    "icmpv6.echo.identifier",
    "vlan.id",
    "vxlan.vni",
    "geneve.vni",
    "ip.checksum.status",
    "tcp.checksum.status",
    "udp.checksum.status",
    "icmp.checksum.status",
    "icmpv6.checksum.status",
    "_ws.malformed",
    "_ws.expert.severity",
    "_ws.expert.message",
];

/// The lowest severity of a fault, in tshark's numbers.
const WARNING: u64 = 0x0060_0000;

/// The separator of a field's values.
const BETWEEN: char = '\u{1f}';

/// A packet, as tshark reads it: the values of each field.
type Packet = BTreeMap<&'static str, Vec<String>>;

fn tshark(capture: &Path) -> Result<Vec<Packet>> {
    let mut command = process::command("tshark");
    command.arg("-r").arg(capture).args(["-T", "fields"]);
    // By default, Wireshark takes Linux's own port of VXLAN for another protocol.
    command.args(["-d", "udp.port==8472,vxlan"]);
    command.args(["-E", "occurrence=a", "-E"]);
    command.arg(format!("aggregator={BETWEEN}"));
    for preference in [
        "ip.check_checksum:TRUE",
        "tcp.check_checksum:TRUE",
        "udp.check_checksum:TRUE",
        // The same packet at eight points is no retransmission.
        "tcp.analyze_sequence_numbers:FALSE",
        "tcp.desegment_tcp_streams:FALSE",
        "ip.defragment:FALSE",
        "ipv6.defragment:FALSE",
    ] {
        command.args(["-o", preference]);
    }
    for field in FIELDS {
        command.args(["-e", field]);
    }
    let printed = process::run(&mut command, "").context("tshark reads a capture")?;
    let values = |field: &str| match field {
        "" => Vec::new(),
        values => values.split(BETWEEN).map(str::to_owned).collect(),
    };
    let packets = printed.lines().map(|line| {
        let fields = FIELDS.iter().copied().zip(line.split('\t'));
        fields.map(|(name, field)| (name, values(field))).collect()
    });
    Ok(packets.collect())
}

/// `#12 hop 3 of 8 | …`: the journey's number, and the hop's number from 1, if it is a hop.
fn numbers(comment: &str) -> Result<(u64, Option<u64>)> {
    let words: Vec<&str> = comment.split(' ').collect();
    let number = |at: usize| {
        words.get(at).context("a word").and_then(|word| {
            let digits = word.trim_start_matches('#');
            digits.parse().with_context(|| comment.to_owned())
        })
    };
    let hop = match words.get(1) {
        Some(&"hop") => Some(number(2)?),
        _ => None,
    };
    Ok((number(0)?, hop))
}

/// The name of an interface.
fn point(hop: &Value) -> String {
    let text = |key: &str| hop[key].as_str().unwrap_or_default().to_owned();
    match hop["netns"].as_str() {
        Some("host") => [text("node"), text("interface"), text("direction")].join("/"),
        _ => [
            text("node"),
            text("netns"),
            text("interface"),
            text("direction"),
        ]
        .join("/"),
    }
}

/// Checks that a packet agrees with the hop that its comments name.
fn agree(packet: &Packet, journey: &Value, hop: &Value) -> Result<()> {
    let all = |field: &str| &packet[field];
    let said = &journey["packet"];
    ensure!(all("frame.interface_name") == &[point(hop)]);
    ensure!(all("frame.time_epoch") == &[epoch(&hop["time"])?], "{hop}");
    let comments = all("frame.comment");
    ensure!(comments.len() == 2, "{comments:?}");
    ensure!(serde_json::from_str::<Value>(&comments[1])? == *hop);
    let text = journey["verdict"]["text"].as_str().context("a text")?;
    ensure!(comments[0].contains(text), "{comments:?}");
    ensure!(comments[0].ends_with("headers rebuilt"), "{comments:?}");
    if hop["segments"] == 1 && hop["encap"]["levels"] != 2 {
        let tag = if hop["vlan"].is_null() { 0 } else { 4 };
        let length = hop["len"].as_u64().context("a length")? + tag;
        ensure!(
            all("frame.len") == &[length.to_string()],
            "{hop} {packet:?}"
        );
    }
    if !hop["vlan"].is_null() {
        let id = hop["vlan"].as_u64().context("a tag")? & 0xfff;
        ensure!(all("vlan.id") == &[id.to_string()]);
    }
    if let Some(vni) = hop["encap"]["vni"].as_u64() {
        let kind = hop["encap"]["kind"].as_str().unwrap_or_default();
        if ["vxlan", "geneve"].contains(&kind) {
            let field = format!("{kind}.vni");
            let found: Vec<u64> = all(&field)
                .iter()
                .map(|vni| number(vni))
                .collect::<Result<_>>()?;
            ensure!(found == [vni], "{hop} {packet:?}");
        }
    }
    // The headers that an ICMP error quotes come after the error's own.
    let quoted = usize::from(!said["icmp"]["quote"].is_null());
    let inner = |field: &str| {
        let values = all(field);
        values.iter().rev().nth(quoted).cloned().unwrap_or_default()
    };
    if said["proto"] != "arp" {
        let v6 = said["src"]
            .as_str()
            .is_some_and(|source| source.contains(':'));
        let fields = if v6 {
            ["ipv6.src", "ipv6.dst", "ipv6.hlim"]
        } else {
            ["ip.src", "ip.dst", "ip.ttl"]
        };
        ensure!(inner(fields[0]) == said["src"], "{packet:?} {said}");
        ensure!(inner(fields[1]) == said["dst"], "{packet:?} {said}");
        ensure!(hop["ttl"] == number(&inner(fields[2]))?, "{packet:?} {hop}");
    }
    let whole = said["fragment"].is_null();
    for proto in ["tcp", "udp"] {
        if said["proto"] == proto && whole && !said["src_port"].is_null() {
            for (field, key) in [("srcport", "src_port"), ("dstport", "dst_port")] {
                let port = inner(&format!("{proto}.{field}"));
                ensure!(said[key] == number(&port)?, "{packet:?} {said}");
            }
        }
    }
    if let Some(id) = said["icmp"]["id"].as_u64() {
        let field = if said["proto"] == "icmp" {
            "icmp.ident"
        } else {
            "icmpv6.echo.identifier"
        };
        let found = all(field).first().context("an identifier")?;
        ensure!(number(found)? == id, "{packet:?} {said}");
    }
    for field in FIELDS
        .iter()
        .filter(|field| field.ends_with("checksum.status"))
    {
        // 0 is bad, 1 is good, and 2 is not verified.
        ensure!(!all(field).contains(&"0".to_owned()), "{field} {packet:?}");
    }
    ensure!(all("_ws.malformed").is_empty(), "{packet:?}");
    let said = all("_ws.expert.severity")
        .iter()
        .zip(all("_ws.expert.message"));
    let mut odd = Vec::new();
    for (severity, message) in said {
        // The options of a SYN are unknown.
        let expected = message.starts_with("The SYN packet does not contain a MSS option");
        if number(severity)? >= WARNING && !expected {
            odd.push(message);
        }
    }
    ensure!(odd.is_empty(), "{odd:?} {packet:?}");
    Ok(())
}

/// A number, as tshark prints it.
fn number(text: &str) -> Result<u64> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16)?,
        None => text.parse()?,
    };
    Ok(number)
}

#[test]
fn each_hop_is_a_packet_and_no_other() -> Result<()> {
    for name in RECORDINGS {
        let recording = fixture(name);
        let folder = folder()?;
        let capture = export(&folder, &recording, &["--format", "pcapng"])?;
        let mut hops = BTreeMap::new();
        let mut drops = 0;
        let journeys = journeys(&recording)?;
        for journey in &journeys {
            let id = journey["id"].as_u64().context("a number")?;
            let of = journey["hops"].as_array().context("hops")?;
            for (index, hop) in (1_u64..).zip(of) {
                hops.insert((id, index), (journey, hop));
            }
            let of = journey["drops"].as_array().context("drops")?.iter();
            let told = ["loss", "refusal", "unknown"];
            drops += of
                .filter(|drop| told.iter().any(|class| drop["class"] == *class))
                .count();
        }
        let packets = tshark(&capture)?;
        let mut bytes: BTreeMap<_, (u64, BTreeSet<u64>)> = BTreeMap::new();
        let mut times = Vec::new();
        for packet in &packets {
            times.extend(packet["frame.time_epoch"].first().cloned());
            let (id, hop) = numbers(&packet["frame.comment"][0])?;
            let Some(hop) = hop else {
                drops -= 1;
                continue;
            };
            let key = (id, hop);
            let (journey, hop) = hops.get(&key).with_context(|| format!("no hop {key:?}"))?;
            agree(packet, journey, hop).with_context(|| format!("{name} {key:?}"))?;
            let seen = bytes.entry(key).or_default();
            if let (Some(length), Some(sequence)) =
                (packet["tcp.len"].last(), packet["tcp.seq_raw"].last())
            {
                seen.0 += number(length)?;
                ensure!(
                    seen.1.insert(number(sequence)?),
                    "{name} {key:?}: bytes twice"
                );
            }
        }
        ensure!(
            drops == 0,
            "{name}: {drops} drops more than packets of drops"
        );
        ensure!(times.is_sorted(), "{name} is not in the order of time");
        ensure!(
            bytes.len() == hops.len(),
            "{name}: {} of {}",
            bytes.len(),
            hops.len()
        );
        for (key, (journey, hop)) in hops {
            let tcp = &journey["packet"]["tcp"];
            if tcp["payload_len"].as_u64().is_some_and(|length| length > 0)
                && journey["packet"]["fragment"].is_null()
            {
                let (length, sequences) = &bytes[&key];
                ensure!(
                    *length == hop["seen"].as_u64().context("bytes")?,
                    "{name} {key:?}"
                );
                let first = tcp["seq"].as_u64().context("a number")?;
                ensure!(
                    sequences
                        .iter()
                        .all(|sequence| sequence.wrapping_sub(first) <= 1 << 32)
                );
            }
        }
    }
    Ok(())
}

#[test]
fn addresses_have_the_names_of_pods_and_nodes() -> Result<()> {
    let folder = folder()?;
    let capture = export(&folder, &fixture("clean"), &["--format", "pcapng"])?;
    let mut command = process::command("tshark");
    command.arg("-r").arg(&capture).args(["-q", "-z", "hosts"]);
    let hosts = process::run(&mut command, "")?;
    let journeys = journeys(&fixture("clean"))?;
    let packet = &journeys[0];
    for (address, name) in [("src", "src_pod"), ("dst", "dst_pod")] {
        let address = packet["packet"][address].as_str().context("an address")?;
        let name = packet[name].as_str().context("a pod")?;
        let line = format!("{address}\t{name}");
        ensure!(hosts.contains(&line), "no {line} in {hosts}");
    }
    ensure!(hosts.contains("\tnode-a"), "{hosts}");
    Ok(())
}

#[test]
fn split_by_point_each_file_is_one_interface_s_packets() -> Result<()> {
    let recording = fixture("nft-forward-far-drop-4");
    let folder = folder()?;
    let whole = export(&folder, &recording, &["--format", "pcapng"])?;
    let mut expected: BTreeMap<String, Vec<Packet>> = BTreeMap::new();
    for packet in tshark(&whole)? {
        let interface = packet["frame.interface_name"][0].clone();
        let packets = expected.entry(interface).or_default();
        packets.push(packet);
    }
    std::fs::remove_file(&whole)?;
    let split = export(
        &folder,
        &recording,
        &["--format", "pcapng", "--split", "point"],
    )?;
    let files = names(&split)?;
    ensure!(files.len() == expected.len(), "{files:?}");
    ensure!(
        files.contains(&"node-a_flannel.1_egress.pcapng".to_owned()),
        "{files:?}"
    );
    for file in &files {
        let packets = tshark(&split.join(file))?;
        let interface = packets[0]["frame.interface_name"][0].clone();
        ensure!(
            expected.remove(&interface).as_ref() == Some(&packets),
            "{file}"
        );
    }
    Ok(())
}

#[test]
fn only_what_matches_is_exported() -> Result<()> {
    let folder = folder()?;
    let recording = fixture("nft-forward-far-drop-4");
    let args = ["--format", "pcapng", "--where", "verdict:dropped"];
    let packets = tshark(&export(&folder, &recording, &args)?)?;
    ensure!(!packets.is_empty());
    for packet in packets {
        let comment = &packet["frame.comment"][0];
        ensure!(comment.contains(" | dropped "), "{comment}");
        ensure!(comment.contains("NETFILTER_DROP in "), "{comment}");
    }
    Ok(())
}
