//! The main job on a network made for it, so that one command shows what
//! tracer does before one has a cluster to use it on.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc,
    thread,
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
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
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

    say("making two nodes and two pods out of network namespaces");
    let lab = Lab::new(&LabSpec::default())?;
    for pod in &lab.pods {
        say(format!(
            "  pod {}/{} ({}) on node {} ({})",
            pod.namespace,
            pod.name,
            pod.v4,
            lab.node_of(pod).name,
            lab.node_of(pod).underlay
        ));
    }
    let (web, cart) = match lab.pods.as_slice() {
        [first, .., last] => (first, last),
        _ => unreachable!("a lab has a pod on each of its two nodes"),
    };

    ignore_interrupt()?;
    let mut tracer = Command::new(release_binary("tracer")?);
    tracer
        .args(["follow", "--src-pod", &name(web), "--dst-pod", &name(cart)])
        .args(["--count", &options.count.to_string()])
        .args(lab.agent_args()?);
    say("following packets between them:");
    say(format!("  {}", command::line(&tracer)));
    let mut tracer = tracer
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run tracer")?;
    if is_attached(&mut tracer)? {
        say("sending a ping every half second, and opening a TCP connection");
        let mut ping = web.netns.command("ping");
        ping.args(["-n", "-i", "0.5", &cart.v4.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let mut ping = ping.spawn().context("cannot run ping")?;
        Flow::new(web, cart).port(8080).tcp_connects(1)?;
        tracer.wait()?;
        ping.kill()?;
        ping.wait()?;
    }
    let code = tracer.wait()?.code();
    let code = code.and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn name(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

/// Waits until tracer says that it is attached; it may have ended instead. What
/// it says is shown from now on.
fn is_attached(tracer: &mut Child) -> Result<bool> {
    let stderr = tracer
        .stderr
        .take()
        .context("tracer has no standard error")?;
    let (ready, is_ready) = mpsc::channel();
    thread::spawn(move || show(stderr, &ready));
    // Without a word it hangs up when tracer does.
    Ok(is_ready.recv().is_ok())
}

/// Passes on tracer's messages, and its ready line to `ready` as well.
fn show(messages: impl Read, ready: &mpsc::Sender<()>) {
    for line in BufReader::new(messages).lines().map_while(Result::ok) {
        eprintln!("{line}");
        if line.contains("ready") {
            // Nobody waits for the second one.
            let _ = ready.send(());
        }
    }
}

/// Leaves `Ctrl-C` to tracer, which ends with its summary, so that this program
/// lives to take the network down.
fn ignore_interrupt() -> Result<()> {
    // SAFETY: no handler is installed that could interrupt anything.
    unsafe { signal(Signal::SIGINT, SigHandler::SigIgn) }.context("cannot ignore SIGINT")?;
    Ok(())
}
