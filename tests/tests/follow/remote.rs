//! Agents that are separate processes, behind a command's standard streams.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Tracer,
    lab::agent_command,
    program::{self, LIMIT, is},
    traffic::{Flow, arp_nd},
};

use crate::expected::{check_balance, check_clean, is_neighbour, pod, seen};

/// A started follow of all traffic between the lab's first two pods, with these agents.
fn follow(lab: &Lab, agents: Vec<String>, more: &[&str]) -> Result<Tracer> {
    let [a, b] = [0, 1].map(|index| pod(&lab.pods[index]));
    let mut tracer = program::tracer(["follow", "-o", "json", "--src-pod", &a, "--dst-pod", &b])?;
    tracer.args(lab.args_of(agents.into_iter().map(Ok))?);
    let mut tracer = Tracer::start(tracer.args(more))?;
    tracer.wait_started(LIMIT)?;
    Ok(tracer)
}

/// An agent that first writes its process id into a file.
fn with_id(lab: &Lab, node: usize) -> Result<(String, std::path::PathBuf)> {
    let file = lab.directory()?.join(format!("agent-{node}.pid"));
    let command = agent_command(&lab.nodes[node])?;
    Ok((
        format!("exec:echo $$ > '{}'; {command}", file.display()),
        file,
    ))
}

fn id_in(file: &Path) -> Result<Pid> {
    let text = fs::read_to_string(file)?;
    Ok(Pid::from_raw(text.trim().parse().context("a number")?))
}

/// Waits until a process has ended, or is a zombie.
fn wait_ended(id: Pid) -> Result<()> {
    let end = Instant::now() + LIMIT;
    let stat = format!("/proc/{id}/stat");
    while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        ensure!(Instant::now() < end, "the agent {id} goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// All packets arrive, are seen on their whole way, and the sums balance.
#[test]
fn agents_behind_commands_see_what_those_of_this_process_see() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let (a, b) = (&lab.pods[0], &lab.pods[1]);
    let agents = lab.nodes.iter().map(|node| {
        // A login's greeting is no record.
        Ok(format!(
            "exec:echo 'Last login: today'; {}",
            agent_command(node)?
        ))
    });
    let agents: Vec<String> = agents.collect::<Result<_>>()?;
    let stream = lab.directory()?.join("stream.arrows");
    let mut both = agents.clone();
    both[1] = format!("{} | tee '{}'", agents[1], stream.display());
    let recording = lab.directory()?.join("trace.arrows");
    let recorded = recording.display().to_string();
    let tracer = follow(&lab, both, &["--hold", "1s", "-w", &recorded])?;
    let flow = Flow::new(a, b);
    assert!(flow.ping(10, Duration::from_millis(5))?.is_complete());
    assert!(flow.tcp_connects(5)?.is_complete());
    assert!(flow.udp_exchange(10, 300)?.is_complete());
    arp_nd(&lab, &flow)?;
    let ended = tracer.stop()?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    for journey in &ended.journeys {
        check_clean(&lab, [a, b], journey);
    }
    check_balance(&ended.summary);

    // A replay of the recording gives the same journeys.
    let replayed = Tracer::start(&mut program::tracer(["replay", "-o", "json", &recorded])?)?;
    let replayed = replayed.finish(LIMIT)?;
    assert_eq!(replayed.journeys, ended.journeys);
    // The agent's stream is a recording, too, after the login's greeting.
    let bytes = fs::read(&stream)?;
    let begin = bytes.windows(4).position(|word| word == [0xff; 4]);
    fs::write(&stream, &bytes[begin.context("it has records")?..])?;
    let stream = stream.display().to_string();
    let own = Tracer::start(&mut program::tracer(["replay", "-o", "json", &stream])?)?;
    let own = own.finish(LIMIT)?;
    assert_eq!(own.status.code(), Some(0), "{}", own.stderr);
    let node = &lab.nodes[1].name;
    let hops = own.journeys.iter().flat_map(seen);
    assert!(hops.count() > 0);
    let elsewhere = |journey: &Value| seen(journey).iter().any(|(at, _, _)| at != node);
    assert!(!own.journeys.iter().any(elsewhere));
    Ok(())
}

/// The difference of two kernels' clocks is known within a bound only. No order rests on it, and
/// durations across the kernels say so.
#[test]
fn nodes_whose_clocks_are_not_one_are_joined_by_content() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let agents = lab.nodes.iter().map(|node| {
        let command = lab.agent_of_another_boot(node)?;
        Ok(format!("exec:{command}"))
    });
    let recording = lab.directory()?.join("trace.arrows").display().to_string();
    let more = ["--hold", "1s", "-w", &recording];
    let tracer = follow(&lab, agents.collect::<Result<_>>()?, &more)?;
    let (a, b) = (&lab.pods[0], &lab.pods[1]);
    let flow = Flow::new(a, b);
    assert!(flow.ping(10, Duration::from_millis(5))?.is_complete());
    assert!(flow.tcp_connects(5)?.is_complete());
    assert!(flow.udp_exchange(10, 300)?.is_complete());
    assert!(flow.tcp_bulk(200_000)?.is_complete());
    let ended = tracer.stop()?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    for journey in &ended.journeys {
        check_clean(&lab, [a, b], journey);
    }
    check_balance(&ended.summary);
    let legs = ended.summary["latency"].as_array().context("legs")?;
    let crossing = |leg: &&Value| leg["from"]["node"] != leg["to"]["node"];
    assert!(legs.iter().any(|leg| crossing(&leg)), "{legs:#?}");
    for leg in legs {
        assert_eq!(leg["one_clock"], !crossing(&leg), "{leg:#}");
    }
    let replayed = Tracer::start(&mut program::tracer(["replay", "-o", "json", &recording])?)?;
    let replayed = replayed.finish(LIMIT)?;
    assert_eq!(replayed.journeys, ended.journeys);
    assert_eq!(replayed.summary, ended.summary);
    Ok(())
}

/// No verdict on packets meanwhile rests on the absence of that node's hops. An agent that a signal
/// ends has sent all that it saw, and is gone all the same.
#[test]
fn an_agent_that_is_ended_is_reached_again() -> Result<()> {
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        goes_on_without(signal).with_context(|| format!("ended by {signal}"))?;
    }
    Ok(())
}

fn goes_on_without(signal: Signal) -> Result<()> {
    /// Payload size of the packets while the far agent is gone, bytes.
    const MEANWHILE: usize = 333;

    let lab = Lab::new(&LabSpec::default())?;
    let near = format!("netns:{}", lab.nodes[0].netns.path.display());
    let (far, file) = with_id(&lab, 1)?;
    let recording = lab.directory()?.join("trace.arrows").display().to_string();
    let more = ["--hold", "500ms", "-w", &recording];
    let mut tracer = follow(&lab, vec![near, far], &more)?;
    let flow = Flow::new(&lab.pods[0], &lab.pods[1]);
    let far_node = lab.nodes[1].name.clone();
    let delivered_there = |value: &Value| {
        value["verdict"]["kind"] == "delivered"
            && !is_neighbour(value)
            && seen(value).iter().any(|(node, _, _)| *node == far_node)
    };
    assert!(flow.ping(3, Duration::from_millis(5))?.is_complete());
    tracer.wait_for(delivered_there, LIMIT)?;
    let ended = id_in(&file)?;
    kill(ended, signal)?;
    let gone = format!("lost the agent of {far_node};");
    tracer.wait_for_stderr(|said| said.contains(&gone), LIMIT)?;
    assert!(flow.udp_send(5, MEANWHILE)?.is_complete());
    let again = format!("{far_node} is watched again");
    tracer.wait_for_stderr(|said| said.contains(&again), LIMIT)?;
    let meanwhile = |value: &Value| value["packet"]["len"] == MEANWHILE + 28;
    let journey = tracer.wait_for(meanwhile, LIMIT)?;
    assert_eq!(journey["verdict"]["kind"], "unknown", "{journey:#}");
    assert_eq!(journey["verdict"]["cause"], "agent-gone", "{journey:#}");
    let before = tracer.take_journeys();
    assert!(flow.ping(3, Duration::from_millis(5))?.is_complete());
    tracer.wait_for(delivered_there, LIMIT)?;
    let follow = tracer.stop()?;
    assert_eq!(follow.status.code(), Some(0), "{}", follow.stderr);
    let told = follow.stderr.matches(&gone).count();
    assert_eq!(told, 1, "{}", follow.stderr);
    let journeys = [before, follow.journeys].concat();
    for journey in &journeys {
        let kind = &journey["verdict"]["kind"];
        let is_meanwhile = meanwhile(journey);
        assert!(kind == "delivered" || kind == "unknown", "{journey:#}");
        assert!(!is_meanwhile || kind == "unknown", "{journey:#}");
    }
    assert_ne!(id_in(&file)?, ended);
    wait_ended(id_in(&file)?)?;
    // A replay knows the gap, and has the same verdicts.
    let replayed = Tracer::start(&mut program::tracer(["replay", "-o", "json", &recording])?)?;
    let replayed = replayed.finish(LIMIT)?;
    assert_eq!(replayed.journeys, journeys);
    assert_eq!(replayed.summary, follow.summary);
    Ok(())
}

/// Neither a killed collector nor a stopped one leaves an agent behind.
#[test]
fn an_agent_ends_with_its_collector() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
        let (near, near_file) = with_id(&lab, 0)?;
        let (far, far_file) = with_id(&lab, 1)?;
        let tracer = follow(&lab, vec![near, far], &[])?;
        // Output that nobody reads must not keep an agent from noticing the collector's silence.
        let pinging = Flow::new(&lab.pods[0], &lab.pods[1]).keep_pinging();
        tracer.signal(signal)?;
        for file in [near_file, far_file] {
            wait_ended(id_in(&file)?)?;
        }
        pinging.stop()?;
    }
    Ok(())
}

/// Like a laptop that sleeps: all agents end after a long silence. The follow reaches them again,
/// and says what was not observed.
#[test]
fn a_collector_that_was_stopped_goes_on() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let (near, near_file) = with_id(&lab, 0)?;
    let (far, far_file) = with_id(&lab, 1)?;
    let mut tracer = follow(&lab, vec![near, far], &["--hold", "500ms"])?;
    tracer.signal(Signal::SIGSTOP)?;
    let ended = [near_file, far_file]
        .iter()
        .try_for_each(|file| wait_ended(id_in(file)?));
    // The process must continue in any case, because a stopped process cannot end.
    tracer.signal(Signal::SIGCONT)?;
    ended?;
    for node in &lab.nodes {
        let again = format!("{} is watched again", node.name);
        tracer.wait_for_stderr(|said| said.contains(&again), LIMIT)?;
    }
    let flow = Flow::new(&lab.pods[0], &lab.pods[1]);
    assert!(flow.ping(3, Duration::from_millis(5))?.is_complete());
    let far_node = lab.nodes[1].name.clone();
    let is_whole = |value: &Value| {
        let arrived = || seen(value).iter().any(|(node, _, _)| *node == far_node);
        value["verdict"]["kind"] == "delivered" && !is_neighbour(value) && arrived()
    };
    tracer.wait_for(is_whole, LIMIT)?;
    let finished = tracer.stop()?;
    assert!(finished.status.success(), "{}", finished.stderr);
    check_balance(&finished.summary);
    Ok(())
}

#[test]
fn what_is_no_agent_is_told_in_one_sentence() -> Result<()> {
    let cases = [
        ("false", "`false` ended before an agent answered"),
        (
            "echo Permission denied >&2; exit 255",
            "ended before an agent answered: Permission denied",
        ),
        ("echo hello", "ended before an agent answered: hello"),
        ("yes", "`yes` does not start a tracer agent: y; y; y"),
    ];
    for (command, sentence) in cases {
        let agent = format!("node-b=exec:{command}");
        let ends = ["--src-ip", "10.0.0.1", "--dst-ip", "10.0.0.2"];
        let args = ["follow", "--agent", &agent].into_iter().chain(ends);
        let ended = program::run(args)?;
        assert_eq!(ended.status.code(), Some(1), "{command}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(ended.stderr.contains(sentence), "{}", ended.stderr);
    }
    Ok(())
}

/// The follow continues without an agent that sends damaged records, or too many.
#[test]
fn damaged_records_end_an_agent_and_not_the_follow() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let near = format!("netns:{}", lab.nodes[0].netns.path.display());
    let command = agent_command(&lab.nodes[1])?;
    // The stream is whole until the first relay is killed. After that, other bytes arrive than were
    // sent.
    let file = lab.directory()?.join("whole.pid");
    let whole = format!("sh -c 'echo $$ > {}; exec cat'", file.display());
    let far = format!("exec:({command}) | ({whole}; tr '\\377' '\\376')");
    let mut tracer = follow(&lab, vec![near, far], &["--hold", "500ms"])?;
    let pinging = Flow::new(&lab.pods[0], &lab.pods[1]).keep_pinging();
    kill(id_in(&file)?, Signal::SIGTERM)?;
    let told = format!("lost the agent of {};", lab.nodes[1].name);
    tracer.wait_for_stderr(|said| said.contains(&told), LIMIT)?;
    tracer.take_journeys();
    let ping = |value: &Value| is(value, "tracer.journey/2") && !is_neighbour(value);
    tracer.wait_for(ping, LIMIT)?;
    pinging.stop()?;
    let ended = tracer.stop()?;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    for journey in &ended.journeys {
        let kind = &journey["verdict"]["kind"];
        assert!(kind == "delivered" || kind == "unknown", "{journey:#}");
    }
    Ok(())
}
