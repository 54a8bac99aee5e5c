//! Faults with every set of rights that the documentation promises, and on kernels that tell less.
//! With less knowledge, tracer may claim less, but never something else.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::libc;
use serde_json::Value;
use tracer_tests::faults::{Expected, Fault, Sender, Stage, Table, Traffic, all};
use tracer_tests::program::{LIMIT, Tracer, is, tracer};
use tracer_tests::rights::{
    CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYSLOG, bare_proc, hide_symbols,
    no_tracepoints, with_only, without,
};
use tracer_tests::traffic::Flow;
use tracer_tests::{Lab, Wiring};

use crate::journeys::take;
use crate::watch::name;

/// Ten faults that can be undone, so that one lab has all of them, and one that is its traffic.
const FAULTS: [&str; 11] = [
    "blackhole-route",
    "unreachable-route",
    "no-route",
    "not-forwarding-far",
    "no-fdb-entry",
    "nft-prerouting-near-drop",
    "nft-forward-far-drop",
    "nft-forward-far-reject",
    "nft-input-b-drop",
    "bridge-port-blocked-far",
    "udp-no-listener",
];

/// The rights and the knowledge of a follow.
struct Circumstance {
    what: &'static str,
    restrict: fn(&mut Command, &Lab) -> Result<()>,
    /// Whether the kernel's functions have names.
    functions: bool,
    /// Whether drops are seen.
    drops: bool,
    /// The one warning of each node.
    warning: Option<&'static str>,
}

/// The capabilities that the documentation asks for, with the one for symbols.
const PROMISED: [libc::c_int; 5] = [
    CAP_BPF,
    CAP_NET_ADMIN,
    CAP_PERFMON,
    CAP_SYS_ADMIN,
    CAP_SYSLOG,
];

const ALL: [Circumstance; 5] = [
    Circumstance {
        what: "the capabilities that are promised to do",
        restrict: |command, _| {
            with_only(command, &PROMISED);
            Ok(())
        },
        functions: true,
        drops: true,
        warning: None,
    },
    Circumstance {
        what: "the same without CAP_SYSLOG",
        restrict: |command, _| {
            with_only(command, &PROMISED[..4]);
            Ok(())
        },
        functions: false,
        drops: true,
        warning: Some("tracer needs CAP_SYSLOG"),
    },
    Circumstance {
        what: "kernel.kptr_restrict=2",
        restrict: |command, lab| hide_symbols(command, &lab.directory()?).map(drop),
        functions: false,
        drops: true,
        warning: Some("kernel.kptr_restrict is 2"),
    },
    Circumstance {
        what: "a /proc of processes only",
        restrict: |command, _| {
            bare_proc(command);
            Ok(())
        },
        functions: false,
        drops: true,
        warning: Some("/proc/kallsyms cannot be read"),
    },
    Circumstance {
        what: "no tracepoints",
        restrict: |command, _| {
            no_tracepoints(command);
            Ok(())
        },
        functions: true,
        drops: false,
        warning: Some("drops are not watched"),
    },
];

/// A follow from *a* to *b*.
fn follow(stage: &Stage, circumstance: &Circumstance) -> Result<Tracer> {
    let mut command = tracer(["follow", "-o", "json", "--hold", "1s"])?;
    command.args(stage.lab.agent_args()?);
    command.args(["--src-pod", &name(stage.a()), "--dst-pod", &name(stage.b())]);
    (circumstance.restrict)(&mut command, &stage.lab)?;
    Tracer::start(&mut command)
}

/// Checks that each node warns once of what is missing.
fn check_warnings(stage: &Stage, circumstance: &Circumstance, started: &Value) -> Result<()> {
    let warnings = started["warnings"].as_array().context("a list")?;
    let wanted = circumstance.warning.map_or(0, |_| stage.lab.nodes.len());
    ensure!(warnings.len() == wanted, "{warnings:#?}");
    for warning in warnings {
        let words = warning.as_str().unwrap_or_default();
        let says = circumstance
            .warning
            .is_some_and(|wanted| words.contains(wanted));
        ensure!(says, "{words}");
    }
    Ok(())
}

fn has_port(packet: &Value, port: u16) -> bool {
    [&packet["src_port"], &packet["dst_port"]].contains(&&Value::from(port))
}

/// Checks that every packet that arrived is called delivered.
fn check_clean(circumstance: &Circumstance, journeys: &[Value]) -> Result<()> {
    for journey in journeys {
        let verdict = &journey["verdict"];
        ensure!(verdict["kind"] == "delivered", "{journey:#}");
        let surely = ["high", "confirmed"].contains(&verdict["confidence"].as_str().unwrap_or(""));
        ensure!(surely || !circumstance.functions, "{journey:#}");
    }
    Ok(())
}

/// Checks that the verdict is the table's, or claims less.
fn check_faulty(circumstance: &Circumstance, expected: &Expected, journey: &Value) -> Result<()> {
    let verdict = &journey["verdict"];
    let kind = verdict["kind"].as_str().unwrap_or_default();
    let cause = verdict["cause"].as_str().unwrap_or_default();
    let one_of = |words: &[String], word: &str| words.iter().any(|one| one == word || one == "*");
    let is_told = one_of(&expected.verdicts, kind);
    let says_so = kind == "refused" || one_of(&expected.causes, cause);
    let knows_less = !circumstance.functions || !circumstance.drops;
    let in_pod = expected.drop.as_ref().is_some_and(|drop| drop.netns == "b");
    let honest = (is_told && says_so)
        || (kind == "unknown" && knows_less)
        // The packet reached the pod, and its fate there is unknown.
        || (kind == "delivered" && in_pod && knows_less);
    ensure!(honest, "{journey:#}");
    Ok(())
}

#[test]
fn who_knows_less_says_less_and_nothing_else() -> Result<()> {
    let table = Table::of_this_kernel()?;
    let faults: Vec<Fault> = all();
    let stage = faults[0].stage(Wiring::Flannel, false)?;
    let mut tracers = Vec::new();
    for circumstance in &ALL {
        let mut tracer = follow(&stage, circumstance)?;
        let started = tracer.wait_started(LIMIT).context(circumstance.what)?;
        check_warnings(&stage, circumstance, &started).context(circumstance.what)?;
        tracers.push(tracer);
    }

    let flow = Flow::new(stage.a(), stage.b());
    let pings = flow.ping(5, Duration::from_millis(10))?;
    ensure!(pings.is_complete(), "{pings:?}");
    for (circumstance, tracer) in ALL.iter().zip(&mut tracers) {
        // Requests and replies.
        let journeys = take(tracer, 10, |packet| packet["proto"] == "icmp");
        let journeys = journeys.context(circumstance.what)?;
        check_clean(circumstance, &journeys).context(circumstance.what)?;
    }

    for wanted in FAULTS {
        let fault = faults.iter().find(|fault| fault.name == wanted);
        let fault = fault.with_context(|| format!("there is no fault {wanted}"))?;
        let expected = table.expect(wanted, false, Wiring::Flannel)?;
        let mut faulty = Sender::new(&stage, fault.traffic)?;
        let mut clean = Sender::new(&stage, Traffic::datagrams())?;
        let clean_sent = clean.send()?.packets;
        for (circumstance, tracer) in ALL.iter().zip(&mut tracers) {
            let what = || format!("before {wanted}, {}", circumstance.what);
            let journeys = take(tracer, clean_sent, |packet| has_port(packet, clean.port()));
            let journeys = journeys.with_context(what)?;
            check_clean(circumstance, &journeys).with_context(what)?;
        }
        fault.make(&stage)?;
        let sent = faulty.send()?.packets;
        for (circumstance, tracer) in ALL.iter().zip(&mut tracers) {
            let what = || format!("{wanted}, {}", circumstance.what);
            let port = faulty.port();
            let journeys = take(tracer, sent, |packet| packet["dst_port"] == port);
            for journey in &journeys.with_context(what)? {
                check_faulty(circumstance, &expected, journey).with_context(what)?;
            }
        }
        fault.mend(&stage)?;
    }
    for (circumstance, tracer) in ALL.iter().zip(tracers) {
        let ended = tracer.stop()?;
        ensure!(ended.status.code() == Some(0), "{}", circumstance.what);
    }
    Ok(())
}

/// On its own node, tracer enters no namespace, so it needs no CAP_SYS_ADMIN. The kernel then tells
/// no names of programs, from which tracer must not conclude that its own programs are gone.
#[test]
fn without_the_right_to_enter_namespaces_points_are_watched_all_the_same() -> Result<()> {
    let fault = all()
        .into_iter()
        .find(|fault| fault.name == "pod-down-but-known");
    let fault = fault.context("there is such a fault")?;
    let stage = fault.stage(Wiring::Flannel, false)?;
    let far = stage.far();
    let binary = tracer_tests::program::binary()?;
    let mut command = far
        .netns
        .command(binary.to_str().context("its path is text")?);
    command.args(["follow", "-o", "json", "--hold", "1s"]);
    let objects = stage.lab.write_objects()?;
    command.arg("--inventory").arg(objects);
    command.args(["--agent", &format!("{}=local", far.name)]);
    command.args(["--src-pod", &name(stage.a()), "--dst-pod", &name(stage.b())]);
    with_only(
        &mut command,
        &[CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_SYSLOG],
    );
    let mut tracer = Tracer::start(&mut command)?;
    tracer.wait_started(LIMIT)?;

    let mut clean = Sender::new(&stage, Traffic::datagrams())?;
    let sent = clean.send()?.packets;
    let journeys = take(&mut tracer, sent, |packet| has_port(packet, clean.port()))?;
    for journey in &journeys {
        ensure!(journey["verdict"]["kind"] == "delivered", "{journey:#}");
    }
    let mut faulty = Sender::new(&stage, fault.traffic)?;
    fault.make(&stage)?;
    let sent = faulty.send()?.packets;
    let journeys = take(&mut tracer, sent, |packet| has_port(packet, faulty.port()))?;
    for journey in &journeys {
        ensure!(journey["verdict"]["kind"] == "lost", "{journey:#}");
    }
    let ended = tracer.stop()?;
    ensure!(ended.status.code() == Some(0), "{}", ended.stderr);
    Ok(())
}

/// tracer has all other rights: this one capability alone hides the functions.
#[test]
fn without_cap_syslog_a_successful_ping_is_no_drop() -> Result<()> {
    let lab = Lab::new(&tracer_tests::LabSpec::default())?;
    let mut command = tracer(["drops", "-o", "json"])?;
    command.args(lab.agent_args()?);
    let mut drops = Tracer::start(without(&mut command, CAP_SYSLOG))?;
    drops.wait_for(|value| is(value, "tracer.drops_started/1"), LIMIT)?;
    let pings = Flow::new(&lab.pods[0], &lab.pods[1]).ping(3, Duration::from_millis(10))?;
    ensure!(pings.is_complete(), "{pings:?}");
    let is_reply = |value: &Value| is(value, "tracer.drop/2") && value["reason"] == "NO_SOCKET";
    let reply = drops.wait_for(is_reply, LIMIT)?;
    ensure!(reply["class"] == "unknown", "{reply:#}");
    Ok(())
}
