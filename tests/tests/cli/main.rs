//! The program's behaviour for users who use it wrongly, end it abruptly, or only read about it:
//! one sentence, the right exit code, and nothing that stays attached.

// Remains of a killed tracer on kernels without links, and their removal.
mod clsact;
// Dry runs, for users who may not attach.
mod dry_run;
// After any kind of end, nothing stays attached, and all that was seen was shown.
mod endings;
// Examples, run as they stand in the help and in the documentation.
mod examples;
// Help, version, manual pages and completions.
mod help;
// The view that has the whole terminal.
mod live;
// Pods, nodes, namespaces and files that are not what their names say.
mod names;
// Completion of names from a cluster, which does not wait for long.
mod prompt;
// Privileges and kernel features that are missing.
mod rights;
// Follows in which nothing matches, and the reasons.
mod silence;
// Arguments that are wrong, or contradict each other.
mod syntax;
// Zones of shown times.
mod times;
// The log that `-v` adds.
mod verbose;

use std::process::Command;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use aya::programs::{SchedClassifier, TcAttachType};
use nix::net::if_::if_nameindex;
use tracer_tests::program::LIMIT;
use tracer_tests::{Lab, Netns, Pod, Process, process};

/// A pod as kubectl names it.
fn full_name(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

/// Checks that the command ends with `code` and prints one sentence and nothing else. Returns the
/// sentence.
fn refusal(command: &mut Command, code: i32) -> Result<String> {
    let ended = Process::start(command, "")?.finish(LIMIT)?;
    assert_eq!(ended.stdout, "", "{command:?}");
    assert_eq!(
        ended.status.code(),
        Some(code),
        "{command:?}: {}",
        ended.stderr
    );
    let line = ended.stderr.strip_prefix("tracer: ");
    let sentence = line.and_then(|line| line.strip_suffix('\n'));
    let sentence = sentence.filter(|sentence| !sentence.contains('\n'));
    let sentence = sentence.with_context(|| format!("not one line: {}", ended.stderr))?;
    Ok(sentence.to_owned())
}

/// Checks that the command ends with `code` and prints `sentence` and nothing else.
fn assert_refused(command: &mut Command, code: i32, sentence: &str) -> Result<()> {
    assert_eq!(refusal(command, code)?, sentence, "{command:?}");
    Ok(())
}

/// The places in a lab where tracer's programs are attached: `NAMESPACE/INTERFACE`, once for every
/// program.
fn attached(lab: &Lab) -> Result<Vec<String>> {
    attached_by(lab, if has_tcx() { by_tcx } else { by_clsact })
}

/// A query for the programs at an interface.
type By = fn(&str, TcAttachType) -> Result<Vec<String>>;

fn attached_by(lab: &Lab, by: By) -> Result<Vec<String>> {
    let nodes = lab.nodes.iter().map(|node| &node.netns);
    let pods = lab.pods.iter().map(|pod| &pod.netns);
    let mut found = Vec::new();
    for netns in nodes.chain(pods).chain([&lab.middle]) {
        found.extend(netns.enter(|| attached_here(netns, by))?);
    }
    Ok(found)
}

fn attached_here(netns: &Netns, by: By) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for interface in &if_nameindex()? {
        let name = interface.name().to_str()?;
        for direction in [TcAttachType::Ingress, TcAttachType::Egress] {
            let programs = by(name, direction)?;
            let of_tracer = programs.iter().filter(|name| name.starts_with("tracer_"));
            found.extend(of_tracer.map(|_| format!("{}/{name}", netns.name)));
        }
    }
    Ok(found)
}

fn has_tcx() -> bool {
    SchedClassifier::query_tcx("lo", TcAttachType::Ingress).is_ok()
}

fn by_tcx(interface: &str, direction: TcAttachType) -> Result<Vec<String>> {
    let (_, programs) = SchedClassifier::query_tcx(interface, direction)
        .with_context(|| format!("cannot ask what is attached to {interface}"))?;
    let names = programs.iter().map(|program| program.name_as_str());
    Ok(names.flatten().map(str::to_owned).collect())
}

/// The names of filters, as `tc` lists them. They include tracer's own mark, which names of
/// programs do not have.
fn by_clsact(interface: &str, direction: TcAttachType) -> Result<Vec<String>> {
    let parent = match direction {
        TcAttachType::Ingress => "ingress",
        _ => "egress",
    };
    let mut list = process::command("tc");
    let filters = process::run(list.args(["filter", "show", "dev", interface, parent]), "")?;
    let words = filters.split_whitespace();
    let names = words.filter(|word| word.contains('/'));
    Ok(names.map(str::to_owned).collect())
}

/// Waits until nothing is attached: the kernel cleans up after the end of a process, not before.
fn wait_until_detached(lab: &Lab) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let left = attached(lab)?;
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "still attached: {left:?}");
        thread::yield_now();
    }
}
