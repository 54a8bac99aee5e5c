//! The features of this kernel that matter for follows and verdicts. `cargo xtask kernels` makes a
//! table of the output on each kernel: docs/requirements.md.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Write as _, stdout},
    time::Duration,
};

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec,
    program::{LIMIT, Tracer, run},
    traffic::Flow,
};

use crate::expected::pod;

/// Writes directly to standard output: the test runner shows only the output of failing tests.
fn say(name: &str, value: &str) -> Result<()> {
    Ok(writeln!(stdout(), "tracer-feature: {name}: {value}")?)
}

/// Sends one ping that does not arrive, after the journey `before`, and returns its journey.
fn lose(lab: &Lab, tracer: &mut Tracer, before: &Value) -> Result<Value> {
    let flow = Flow::new(&lab.pods[0], &lab.pods[1]);
    assert_eq!(flow.ping(1, Duration::from_millis(2))?.received, 0);
    let last = before["id"].as_u64();
    tracer.wait_for(|journey: &Value| journey["id"].as_u64() > last, LIMIT)
}

/// A verdict as a cell of the table.
fn cell(journey: &Value) -> String {
    let verdict = &journey["verdict"];
    let text = |value: &Value| value.as_str().unwrap_or("nothing").to_owned();
    let drop = &verdict["drop"];
    format!(
        "`{}`: {} in {}",
        text(&verdict["kind"]),
        text(&drop["reason"]),
        text(&drop["function"])
    )
}

/// The capturing programs load on this kernel, and capture the sent bytes.
#[test]
fn of_this_kernel_to_capture() -> Result<()> {
    const PATTERN: [u8; 8] = [0xc0, 0xff, 0xee, 0x42, 0xc0, 0xff, 0xee, 0x42];
    let lab = Lab::new(&LabSpec::default())?;
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let ends = ["--src-pod", &pod(a), "--dst-pod", &pod(b)];
    let directory = lab.directory()?;
    for (bytes, is_inside) in [("2048", true), ("256", true), ("40", false)] {
        let [file, out] = ["arrows", "pcapng"].map(|kind| {
            directory
                .join(format!("{bytes}.{kind}"))
                .display()
                .to_string()
        });
        let options = ["--proto", "icmp", "--snaplen", bytes, "-w", &file];
        // The programs that read names are others.
        let names: &[&str] = if is_inside { &[] } else { &["--dns-names"] };
        let mut tracer = Tracer::follow(&lab, [&ends[..], &options, names].concat())?;
        tracer.wait_started(LIMIT)?;
        let ping = format!("ping -n -c 1 -W 5 -p c0ffee42 {}", b.address(false));
        a.netns.run(&ping)?;
        let reply = tracer.wait_for(|value| value["direction"] == "reply", LIMIT)?;
        assert_eq!(reply["verdict"]["kind"], "delivered", "{reply:#}");
        assert!(tracer.stop()?.status.success());
        let exported = run(["export", &file, "--format", "pcapng", "-o", &out])?;
        assert!(exported.status.success(), "{}", exported.stderr);
        let capture = fs::read(&out)?;
        let mut parts = capture.windows(PATTERN.len());
        assert_eq!(parts.any(|part| part == PATTERN), is_inside, "{bytes}");
    }
    Ok(())
}

#[test]
fn of_this_kernel() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let [near, far] = [&lab.nodes[0], &lab.nodes[1]];
    let follow = [
        "--src-pod",
        &pod(a),
        "--dst-pod",
        &pod(b),
        "--proto",
        "icmp",
    ];
    let mut tracer = Tracer::follow(&lab, follow)?;
    let started = tracer.wait_started(LIMIT)?;
    let warnings = started["warnings"].to_string();
    assert!(!warnings.contains("drops are not watched"), "{warnings}");
    let hook = started["points"][0]["hook"].as_str().unwrap_or_default();
    say("programs are attached by", hook)?;
    let left = match hook {
        "tcx" => "nothing",
        "clsact" => "them, until it is started again",
        other => panic!("a hook called {other}"),
    };
    say("killed, it leaves", left)?;

    let flow = Flow::new(a, b);
    assert!(flow.ping(5, Duration::from_millis(2))?.is_complete());
    let reply =
        |value: &Value| value["packet"]["icmp"]["seq"] == 5 && value["direction"] == "reply";
    let reply = tracer.wait_for(reply, LIMIT)?;
    assert_eq!(reply["verdict"]["kind"], "delivered", "{reply:#}");
    let [kind, confidence] = ["kind", "confidence"].map(|key| reply["verdict"][key].as_str());
    let confidence = confidence.unwrap_or_default();
    say(
        "a ping's reply",
        &format!("`{}`, {confidence}", kind.unwrap_or_default()),
    )?;

    let rule = "table inet t { chain c { type filter hook forward priority 0; icmp type echo-request drop; }; }";
    far.netns.batch("nft -f -", rule)?;
    let dropped = lose(&lab, &mut tracer, &reply)?;
    assert_eq!(dropped["verdict"]["kind"], "dropped", "{dropped:#}");
    // The kernel loaded the dropping module after the follow had begun.
    let function = dropped["verdict"]["drop"]["function"].as_str();
    let known = ["nft_do_chain", "nf_hook_slow"];
    assert!(
        function.is_some_and(|name| known.contains(&name)),
        "{dropped:#}"
    );
    say("what a rule drops", &cell(&dropped))?;
    far.netns.batch("nft -f -", "delete table inet t")?;

    near.netns
        .run(&format!("ip route replace blackhole {}", far.pod_cidr_v4))?;
    let dropped = lose(&lab, &mut tracer, &dropped)?;
    assert_eq!(dropped["verdict"]["kind"], "dropped", "{dropped:#}");
    say("what a blackhole route takes", &cell(&dropped))?;
    tracer.stop()?;
    Ok(())
}

/// What reading could create in a kernel: its modules, and the tables of legacy iptables in each
/// namespace of the lab.
#[derive(Debug, PartialEq, Eq)]
struct Created {
    modules: BTreeSet<String>,
    tables: BTreeMap<String, Vec<String>>,
}

fn created(lab: &Lab) -> Result<Created> {
    // A kernel without modules has no such file.
    let modules = fs::read_to_string("/proc/modules").unwrap_or_default();
    let names = modules
        .lines()
        .filter_map(|line| line.split(' ').next().map(str::to_owned));
    let mut tables = BTreeMap::new();
    let nodes = lab.nodes.iter().map(|node| &node.netns);
    for netns in nodes.chain(lab.pods.iter().map(|pod| &pod.netns)) {
        for file in ["ip_tables_names", "ip6_tables_names"] {
            let path = format!("/proc/thread-self/net/{file}");
            // Without legacy iptables, there is no such file.
            let names = netns.enter(|| fs::read_to_string(path)).unwrap_or_default();
            let names = names.lines().map(str::to_owned).collect();
            tables.insert(format!("{} {file}", netns.name), names);
        }
    }
    Ok(Created {
        modules: names.collect(),
        tables,
    })
}

/// Asking for the rules of an absent subsystem loads its module, and asking for an absent table of
/// legacy iptables creates that table. The follow reads rules as evidence, and entries of conntrack.
#[test]
fn of_this_kernel_reading_creates_nothing() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let [a, b] = [&lab.pods[0], &lab.pods[1]];
    let far = &lab.nodes[1].netns;
    let follow = ["--src-pod", &pod(a), "--dst-pod", &pod(b), "--explain"];
    let table = "table inet t { chain c { type filter hook forward priority 0; icmp type echo-request drop; }; }";
    // Legacy iptables come first: the module of nftables may still be absent.
    let rules = [
        (
            "iptables-legacy -A FORWARD -p icmp -j DROP",
            "",
            "legacy-chains",
            "iptables-legacy -F FORWARD",
        ),
        (
            "nft -f -",
            table,
            "\"table\":\"t\"",
            "nft delete table inet t",
        ),
    ];
    for (command, input, fact, undo) in rules {
        far.batch(command, input)?;
        let before = created(&lab)?;
        let mut tracer = Tracer::follow(&lab, follow)?;
        tracer.wait_started(LIMIT)?;
        let flow = Flow::new(a, b);
        assert!(flow.tcp_connects(1)?.is_complete());
        assert_eq!(flow.ping(1, Duration::from_millis(2))?.received, 0);
        let dropped = |journey: &Value| journey["verdict"]["kind"] == "dropped";
        let dropped = tracer.wait_for(dropped, LIMIT)?;
        let evidence = dropped["verdict"]["evidence"].to_string();
        tracer.stop()?;
        assert_eq!(created(&lab)?, before);
        assert!(evidence.contains(fact), "{dropped:#}");
        far.run(undo)?;
    }
    Ok(())
}
