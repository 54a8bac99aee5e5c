//! The main job on a network made for it, so that one command shows what
//! tracer does before one has a cluster to use it on.

use std::{
    io::{BufRead as _, BufReader, Read},
    net::{TcpListener, TcpStream},
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use nix::sys::signal::{SigHandler, Signal, signal};
use tracer_tests::{Lab, LabSpec, Pod};

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
    /// Make the network that this number stands for
    #[arg(long)]
    seed: Option<u64>,
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
    let lab = Lab::new(&LabSpec {
        seed: options.seed,
        ..LabSpec::default()
    })?;
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
    attached(&mut tracer)?;

    say("sending a ping every half second, and opening one TCP connection");
    let mut ping = web.netns.command("ping");
    let ping = ping.args(["-n", "-i", "0.5", &cart.v4.to_string()]);
    let mut ping = ping
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .context("cannot run ping")?;
    let connected = connect(web, cart);
    let status = tracer.wait();
    ping.kill()?;
    ping.wait()?;
    connected?;

    let code = status?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn name(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

/// Opens and closes a TCP connection.
fn connect(from: &Pod, to: &Pod) -> Result<()> {
    // A socket stays in the namespace that it was made in.
    let listener = to.netns.enter(|| TcpListener::bind((to.v4, 8080)))?;
    let address = listener.local_addr()?;
    let client = from.netns.enter(|| TcpStream::connect(address))?;
    let (server, _) = listener.accept()?;
    drop((client, server));
    Ok(())
}

/// Waits until tracer says that it is attached, or has ended; what it says is
/// shown from now on.
fn attached(tracer: &mut Child) -> Result<()> {
    let stderr = tracer
        .stderr
        .take()
        .context("tracer has no standard error")?;
    let (ready, is_ready) = mpsc::channel();
    thread::spawn(move || show(stderr, &ready));
    // It hangs up without a word when tracer ends early, which `run` sees.
    let _ = is_ready.recv();
    Ok(())
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
