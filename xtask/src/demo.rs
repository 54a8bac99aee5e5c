//! A follow on a network made for it, which shows what tracer does without a cluster.

use std::{
    process::{Child, Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use nix::sys::signal::{SigHandler, Signal, signal};
use tracer_tests::{Lab, LabSpec, Pod, traffic::Flow};

use crate::{
    check,
    command::{self, release_binary, say},
    setup,
};

/// How the demo goes.
#[derive(Args)]
pub(crate) struct Options {
    /// Stop after that many journeys; an answer is a journey too
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
}

/// Makes the network, follows packets over it, and exits as tracer does.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    ensure!(
        setup::is_root(),
        "the demo makes network namespaces and loads kernel programs: run `cargo xtask demo` as root"
    );
    setup::tools()?;
    check::build()?;

    say("making a network of two nodes, with a pod on each");
    let lab = Lab::new(&LabSpec::default())?;
    for pod in &lab.pods {
        let node = lab.node_of(pod);
        say(format!(
            "  pod {} ({}) on node {} ({})",
            name(pod),
            pod.v4,
            node.name,
            node.underlay
        ));
    }
    let [from, to] = lab.pods.as_slice() else {
        unreachable!("the default is two nodes with a pod on each");
    };

    let mut tracer = Command::new(release_binary("tracer")?);
    tracer
        .args(["follow", "--src-pod", &name(from), "--dst-pod", &name(to)])
        .args(["--count", &options.count.to_string(), "--output", "text"])
        .args(lab.agent_args()?);
    say("sending pings and opening TCP connections from the first to the second, while this runs:");
    say(format!("  {}\n", command::line(&tracer)));

    ignore_interrupt()?;
    let mut tracer = tracer.spawn().context("cannot run tracer")?;
    let sent = send_until_ended(&mut tracer, &Flow::new(from, to));
    if sent.is_err() {
        tracer.kill()?;
    }
    let code = tracer.wait()?.code();
    sent?;
    let code = code.and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// A pod's name, as `tracer` takes it.
fn name(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

/// Sends the packets that `tracer` follows, for as long as it runs.
fn send_until_ended(tracer: &mut Child, flow: &Flow) -> Result<()> {
    while tracer.try_wait()?.is_none() {
        flow.ping(3, Duration::from_millis(300))?;
        flow.tcp_connects(1)?;
    }
    Ok(())
}

/// Leaves `Ctrl-C` to tracer, which ends with its summary. This program stays alive to take the
/// network down.
fn ignore_interrupt() -> Result<()> {
    // SAFETY: no handler is installed that could interrupt anything.
    unsafe { signal(Signal::SIGINT, SigHandler::SigIgn) }.context("cannot ignore SIGINT")?;
    Ok(())
}
