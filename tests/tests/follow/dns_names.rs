//! `--dns-names`: addresses outside of the cluster by the names that DNS answers gave to them.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Netns,
    lab::Outside,
    program::{LIMIT, Tracer, run},
    traffic::tcp_to,
};

use crate::expected::{check_balance, is_before_start, is_neighbour, pod};

/// The first label of the name that all answers lead through.
const ALIAS: &str = "edge-of-the-net";

/// The port of the server outside.
const PORT: u16 = 8443;

fn labels(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| {
        let length = u8::try_from(label.len()).expect("a short label");
        [vec![length], label.as_bytes().to_vec()].concat()
    });
    labels.chain([0]).collect()
}

/// A record of class IN.
fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("short data");
    [
        owner,
        &kind.to_be_bytes(),
        &[0, 1, 0, 0, 0, 60],
        &length.to_be_bytes(),
        data,
    ]
    .concat()
}

/// Asks a server for a name. The server answers that the name is an alias of a name with its own
/// address.
fn look_up(client: &Netns, server: &Netns, at: SocketAddr, name: &str) -> Result<()> {
    let server = server.bind(at, || UdpSocket::bind(at))?;
    let any = if at.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let client = client.enter(|| UdpSocket::bind(any))?;
    for socket in [&server, &client] {
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    }
    let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    question.extend(labels(name));
    question.extend([0, 1, 0, 1]);
    client.send_to(&question, at)?;
    let mut message = [0; 512];
    let (_, from) = server.recv_from(&mut message).context("the question")?;
    let alias = labels(&format!("{ALIAS}.example.net"));
    let (kind, bytes) = match at.ip() {
        IpAddr::V4(to) => (1, to.octets().to_vec()),
        IpAddr::V6(to) => (28, to.octets().to_vec()),
    };
    let mut answer = question;
    answer[2..4].copy_from_slice(&[0x81, 0x80]);
    answer[7] = 2;
    answer.extend(record(&[0xc0, 12], 5, &alias));
    answer.extend(record(&alias, kind, &bytes));
    server.send_to(&answer, from)?;
    client.recv(&mut message).context("the answer")?;
    Ok(())
}

/// Packets to an address have the name of the latest answer before them. Without `--dns-names`, no
/// packet has a name.
#[test]
fn names_outside_are_those_of_answers() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let outside = lab.add_outside()?;
    for (v6, is_wanted) in [(false, true), (true, true), (false, false)] {
        check(&lab, &outside, v6, is_wanted)?;
    }
    Ok(())
}

fn check(lab: &Lab, outside: &Outside, v6: bool, is_wanted: bool) -> Result<()> {
    const NAMES: [&str; 3] = ["API.example.com", "www.example.com", "api.example.com"];
    let (client, server) = (&lab.pods[0], outside.address(v6));
    let (source, all) = (pod(client), if v6 { "::/0" } else { "0.0.0.0/0" });
    let names = is_wanted.then_some("--dns-names");
    let directory = lab.directory()?;
    let [file, capture] = ["arrows", "pcapng"].map(|kind| {
        let name = format!("{v6}-{is_wanted}.{kind}");
        directory.join(name).display().to_string()
    });
    let args = ["--src-pod", &source, "--dst", all, "-w", &file];
    let args = args.into_iter().chain(names);
    let mut tracer = Tracer::follow(lab, args)?;
    tracer.wait_started(LIMIT)?;
    for (port, name) in (PORT..).zip(NAMES) {
        let at = SocketAddr::new(server, 53);
        look_up(&client.netns, &outside.netns, at, name)?;
        let to = SocketAddr::new(server, port);
        let served = tcp_to(&client.netns, to, &[(&outside.netns, to)], 2)?;
        assert!(served.is_complete(), "{served:?}");
    }
    let finished = tracer.stop()?;
    check_balance(&finished.summary);
    let mut seen = 0;
    for journey in &finished.journeys {
        let is_request = journey["direction"] == "request";
        let port = &journey["packet"][if is_request { "dst_port" } else { "src_port" }];
        let mut servers = (PORT..).zip(NAMES);
        let Some((_, name)) = servers.find(|(number, _)| *port == *number) else {
            continue;
        };
        if is_neighbour(journey) || is_before_start(journey) {
            continue;
        }
        seen += 1;
        let name = match is_wanted {
            true => Value::from(name.to_lowercase()),
            false => Value::Null,
        };
        let named = [&journey["src_dns_name"], &journey["dst_dns_name"]];
        let expected = match is_request {
            true => [&Value::Null, &name],
            false => [&name, &Value::Null],
        };
        assert_eq!(named, expected, "{journey:#}");
    }
    // A recording holds the names, and no other part of the answers.
    let replayed = run(["replay", &file, "-o", "json"])?;
    assert_eq!(replayed.stdout.contains("api.example.com"), is_wanted);
    let exported = run(["export", &file, "--format", "pcapng", "-o", &capture])?;
    assert!(exported.status.success(), "{}", exported.stderr);
    for path in [&file, &capture] {
        let bytes = fs::read(path)?;
        let mut parts = bytes.windows(ALIAS.len());
        assert!(!parts.any(|part| part == ALIAS.as_bytes()), "{path}");
    }
    // Each of six connections has more packets than those that open and close it.
    assert!(seen > 6 * 6, "{seen}");
    Ok(())
}
