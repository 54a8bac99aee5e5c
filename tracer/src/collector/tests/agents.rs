//! The commands that agents get when they begin anew, or come later.

use std::{collections::BTreeSet, sync::mpsc as std_mpsc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tracer_common::hash::Key;
use tracer_core::{
    input::{Batch, Change},
    model::Point,
    request::{Command, Commander, Filter, Look, Request, Start, Watch},
};

use super::world::beginning;
use crate::{
    collector::agents::{ALONE, Agents, Heard, Reached, Sent, leave::LINGER},
    link::{Link, Place},
};

pub(super) struct Line(pub(super) std_mpsc::Sender<Command>);

impl Commander for Line {
    fn send(&self, command: Command) {
        // An agent that is gone takes no commands.
        let _: Result<(), _> = self.0.send(command);
    }
}

pub(super) fn start(node: &str, pod: [u8; 4]) -> Start {
    Start {
        node: node.to_owned(),
        request: Request {
            pods: vec![pod.into()],
            ..Request::default()
        },
        watch: Watch::Follow,
        filter: Filter::default(),
        pods: vec![(pod.into(), "shop/db-0".to_owned())],
        bystanders: Vec::new(),
        vxlan_ports: Vec::new(),
        key: Key([0, 0]),
        ring_size: 0,
        budget: 0,
        explain: false,
        snaplen: 96,
        dns_names: true,
        goes_along: true,
    }
}

/// The commands for an agent that was started with one pod, and answers after the follow has
/// changed to another pod.
async fn told(begun: [u8; 4], changed: [u8; 4]) -> Vec<Command> {
    let hello = beginning().nodes[0].clone();
    let old = start(&hello.node, begun);
    let (sender, inbox) = mpsc::channel(1);
    let reached = Reached {
        again: Some((Place::Exec(String::new()), old.clone())),
        hello: hello.clone(),
        commands: Box::new(Line(std_mpsc::channel().0)),
    };
    let (mut agents, _) = Agents::new(vec![reached], sender.clone(), inbox);
    let Start { request, pods, .. } = start(&hello.node, changed);
    agents.look(&hello.node, &Look { request, pods });
    let (line, commands) = std_mpsc::channel();
    let link = Link {
        hello,
        commands: Box::new(Line(line)),
        batches: mpsc::channel(1).1.into(),
    };
    let ended = sender.send((0, Sent::Ended)).await;
    assert!(ended.is_ok(), "they are there");
    let heard = agents.next().await.expect("the follow goes on");
    assert!(matches!(heard, (0, Heard::Gone(_))));
    let anew = Sent::Anew(Box::new(link), Box::new(old));
    let sent = sender.send((0, anew)).await;
    assert!(sent.is_ok(), "they are there");
    let heard = agents.next().await.expect("it is there");
    assert!(matches!(heard, (0, Heard::Batch(_))));
    commands.try_iter().collect()
}

#[test]
fn a_collector_of_an_older_version_asks_for_less() {
    let mut json = serde_json::to_value(start("node-a", [10, 244, 1, 5])).expect("it is data");
    let fields = json.as_object_mut().expect("it has fields");
    assert_eq!(fields.remove("goes_along"), Some(true.into()));
    assert_eq!(fields.remove("snaplen"), Some(96.into()));
    let begun: Start = serde_json::from_value(json).expect("the rest is enough");
    assert!(!begun.goes_along);
    assert_eq!(begun.snaplen, 0, "who does not ask gets no payload");
}

#[tokio::test]
async fn one_that_begins_anew_hears_what_has_changed_meanwhile() {
    let (before, now) = ([10, 244, 1, 5], [10, 244, 1, 9]);
    assert_eq!(told(before, before).await, []);
    let Start { request, pods, .. } = start("", now);
    let look = Command::Look(Look { request, pods });
    assert_eq!(told(before, now).await, [look]);
}

/// A node without an agent gets one, which hears of changes that came before it answered.
#[tokio::test]
async fn one_that_comes_later_hears_what_has_changed_meanwhile() {
    let mut hello = beginning().nodes[0].clone();
    hello.node = "node-new".to_owned();
    let (sender, inbox) = mpsc::channel(4);
    let (mut agents, _) = Agents::new(Vec::new(), sender.clone(), inbox);
    let first = start("node-new", [10, 244, 3, 5]);
    // This command leads nowhere. The session is told, and tries again.
    agents.join((Place::Exec("false".to_owned()), first.clone()));
    let heard = agents.next().await.expect("the follow goes on");
    let (_, Heard::Unreached(node, why)) = heard else {
        panic!("it cannot be reached");
    };
    assert_eq!(node, "node-new");
    assert!(!why.is_empty());
    let Start { request, pods, .. } = start("node-new", [10, 244, 3, 9]);
    let look = Look { request, pods };
    agents.look("node-new", &look);
    let (line, commands) = std_mpsc::channel();
    let link = Link {
        hello: hello.clone(),
        commands: Box::new(Line(line)),
        batches: mpsc::channel(1).1.into(),
    };
    let start = (Place::Exec("false".to_owned()), first);
    let sent = sender.send((0, Sent::Joined(Box::new(link), Box::new(start))));
    assert!(sent.await.is_ok(), "they are there");
    let known = loop {
        match agents.next().await.expect("it is there") {
            (_, Heard::Joined(known)) => break known,
            (_, Heard::Unreached(..)) => {}
            _ => panic!("nobody else is there"),
        }
    };
    assert_eq!(known.points.len(), hello.points.len());
    // Nothing observed the packets before the agent came.
    assert!(known.points.iter().all(|point| point.since > 0));
    assert_eq!(
        commands.try_iter().collect::<Vec<_>>(),
        [Command::Look(look)]
    );
}

/// A laptop that sleeps loses all agents at once. The follow goes on for some time without any
/// agent, and then says why it ends.
#[tokio::test(start_paused = true)]
async fn a_session_without_agents_ends_after_some_time() {
    let hello = beginning().nodes[0].clone();
    let (sender, inbox) = mpsc::channel(1);
    let reached = Reached {
        again: Some((
            Place::Exec("false".to_owned()),
            start(&hello.node, [10, 244, 1, 5]),
        )),
        hello,
        commands: Box::new(Line(std_mpsc::channel().0)),
    };
    let (mut agents, _) = Agents::new(vec![reached], sender.clone(), inbox);
    let begun = Instant::now();
    assert!(
        sender.send((0, Sent::Ended)).await.is_ok(),
        "they are there"
    );
    let heard = agents.next().await.expect("the follow goes on");
    assert!(matches!(heard, (0, Heard::Gone(_))));
    let Err(error) = agents.next().await else {
        panic!("nobody comes");
    };
    assert!(begun.elapsed() >= ALONE, "{:?}", begun.elapsed());
    assert!(
        error.to_string().contains("ended before an agent answered"),
        "{error}"
    );
}

/// How long an agent that leaves still runs.
const DEPARTURE: Duration = Duration::from_secs(6);

/// Two agents that the collector can start again, the commands of the first one, and the sender to
/// their collector.
fn two_agents() -> (
    Agents,
    mpsc::Sender<(usize, Sent)>,
    std_mpsc::Receiver<Command>,
) {
    let (sender, inbox) = mpsc::channel(4);
    let (line, commands) = std_mpsc::channel();
    let lines = [line, std_mpsc::channel().0];
    let reached = beginning().nodes.into_iter().zip(lines);
    let reached = reached.map(|(hello, line)| {
        let again = start(&hello.node, [10, 244, 1, 5]);
        Reached {
            again: Some((Place::Exec("false".to_owned()), again)),
            hello,
            commands: Box::new(Line(line)),
        }
    });
    let (agents, _) = Agents::new(reached.collect(), sender.clone(), inbox);
    (agents, sender, commands)
}

/// Lets time pass, and checks that no event comes.
async fn hear_nothing(agents: &mut Agents, long: Duration) {
    let heard = timeout(long, agents.next()).await;
    assert!(heard.is_err(), "something was heard");
}

#[tokio::test(start_paused = true)]
async fn an_agent_without_an_end_on_its_node_leaves_and_comes_back() {
    let (mut agents, sender, commands) = two_agents();
    let hello = beginning().nodes[0].clone();
    let idle = BTreeSet::from([hello.node.clone()]);
    agents.set_idle(idle, DEPARTURE);
    let begun = Instant::now();
    let heard = agents.next().await.expect("the follow goes on");
    assert!(begun.elapsed() >= LINGER, "{:?}", begun.elapsed());
    let (0, Heard::Batch(batch)) = heard else {
        panic!("it leaves");
    };
    let change = batch.change.expect("it says so");
    assert!(change.leaves);
    assert_eq!(change.gone, Vec::from_iter(0..hello.points.len()));
    assert_eq!(change.drops, Some(Vec::new()));
    // The agent runs until earlier packets have arrived. Then the collector tells it to stop.
    assert_eq!(commands.try_iter().collect::<Vec<_>>(), []);
    hear_nothing(&mut agents, Duration::from_secs(9)).await;
    assert_eq!(commands.try_iter().collect::<Vec<_>>(), [Command::Stop]);
    let ended = sender.send((0, Sent::Ended)).await;
    assert!(ended.is_ok(), "they are there");
    // The collector does not start the agent again while the node has no end.
    hear_nothing(&mut agents, 2 * LINGER).await;

    agents.set_idle(BTreeSet::new(), DEPARTURE);
    let heard = agents.next().await.expect("the follow goes on");
    assert!(matches!(heard, (0, Heard::Unreached(node, _)) if node == hello.node));
    let link = Link {
        hello: hello.clone(),
        commands: Box::new(Line(std_mpsc::channel().0)),
        batches: mpsc::channel(1).1.into(),
    };
    let anew = Sent::Anew(
        Box::new(link),
        Box::new(start(&hello.node, [10, 244, 1, 5])),
    );
    assert!(sender.send((0, anew)).await.is_ok(), "they are there");
    let change = loop {
        match agents.next().await.expect("it is there") {
            (0, Heard::Batch(batch)) => break batch.change.expect("it begins anew"),
            (0, Heard::Unreached(..)) => {}
            _ => panic!("it was not lost"),
        }
    };
    assert!(change.begins_anew());
    assert!(change.gone.is_empty(), "they were gone before");
    assert_eq!(change.points.len(), hello.points.len());
}

#[tokio::test(start_paused = true)]
async fn one_whose_node_has_an_end_again_in_time_stays() {
    let (mut agents, sender, commands) = two_agents();
    let idle = BTreeSet::from([beginning().nodes[0].node.clone()]);
    agents.set_idle(idle.clone(), DEPARTURE);
    hear_nothing(&mut agents, LINGER / 2).await;
    agents.set_idle(BTreeSet::new(), DEPARTURE);
    hear_nothing(&mut agents, LINGER / 4).await;
    // The agent waits for the whole time again.
    agents.set_idle(idle, DEPARTURE);
    hear_nothing(&mut agents, LINGER / 2).await;
    agents.set_idle(BTreeSet::new(), DEPARTURE);
    hear_nothing(&mut agents, 2 * LINGER).await;
    assert_eq!(commands.try_iter().collect::<Vec<_>>(), []);
    // The collector did not tell the agent to stop, so the session loses the agent.
    assert!(
        sender.send((0, Sent::Ended)).await.is_ok(),
        "they are there"
    );
    let heard = agents.next().await.expect("the follow goes on");
    assert!(matches!(heard, (0, Heard::Gone(_))));
}

/// What an agent finds after it began to leave is about to be detached.
#[tokio::test(start_paused = true)]
async fn an_end_that_comes_back_while_an_agent_leaves_is_observed_by_the_next_one() {
    let (mut agents, sender, commands) = two_agents();
    let hello = beginning().nodes[0].clone();
    agents.set_idle(BTreeSet::from([hello.node.clone()]), DEPARTURE);
    let heard = agents.next().await.expect("the follow goes on");
    assert!(matches!(heard, (0, Heard::Batch(_))));

    let Start { request, pods, .. } = start(&hello.node, [10, 244, 1, 9]);
    agents.look(&hello.node, &Look { request, pods });
    agents.set_idle(BTreeSet::new(), DEPARTURE);
    let found = Change {
        time: 7,
        points: vec![Point {
            since: 7,
            ..hello.points[0].clone()
        }],
        drops: Some(vec!["shop/db-0".into()]),
        ..Change::default()
    };
    let batch = Batch {
        change: Some(found),
        ..Batch::default()
    };
    let sent = sender.send((0, Sent::Batch(Box::new(batch)))).await;
    assert!(sent.is_ok(), "they are there");
    let heard = agents.next().await.expect("the follow goes on");
    let (0, Heard::Batch(batch)) = heard else {
        panic!("it goes on for a moment");
    };
    let change = batch.change.expect("it found a pod");
    assert_eq!((change.points[0].until, change.drops), (Some(7), None));

    hear_nothing(&mut agents, Duration::from_secs(9)).await;
    assert_eq!(commands.try_iter().collect::<Vec<_>>(), [Command::Stop]);
    assert!(
        sender.send((0, Sent::Ended)).await.is_ok(),
        "they are there"
    );
    let heard = agents.next().await.expect("the follow goes on");
    assert!(
        matches!(heard, (0, Heard::Unreached(..))),
        "it is started again"
    );
}

/// As of a node that was drained and switched off.
#[tokio::test(start_paused = true)]
async fn one_that_is_lost_while_it_leaves_is_not_tried_again() {
    let (mut agents, sender, _commands) = two_agents();
    let idle = BTreeSet::from([beginning().nodes[0].node.clone()]);
    agents.set_idle(idle, DEPARTURE);
    let heard = agents.next().await.expect("the follow goes on");
    assert!(matches!(heard, (0, Heard::Batch(_))));
    assert!(
        sender.send((0, Sent::Ended)).await.is_ok(),
        "they are there"
    );
    let heard = agents.next().await.expect("the follow goes on");
    let (0, Heard::Left(batch)) = heard else {
        panic!("it is left behind");
    };
    let change = batch.change.expect("it says so");
    assert!(
        change.leaves && change.gone.is_empty(),
        "its points were gone before"
    );
    hear_nothing(&mut agents, 2 * LINGER).await;
}

/// An agent that is out of reach when its node has no end any more leaves as others do.
#[tokio::test(start_paused = true)]
async fn one_that_was_lost_before_it_leaves_is_not_tried_for_ever() {
    let (mut agents, sender, _commands) = two_agents();
    assert!(
        sender.send((0, Sent::Ended)).await.is_ok(),
        "they are there"
    );
    let heard = agents.next().await.expect("the follow goes on");
    assert!(matches!(heard, (0, Heard::Gone(_))));
    let idle = BTreeSet::from([beginning().nodes[0].node.clone()]);
    agents.set_idle(idle, DEPARTURE);
    let heard = agents.next().await.expect("the follow goes on");
    let (0, Heard::Batch(batch)) = heard else {
        panic!("it leaves");
    };
    assert!(batch.change.is_some_and(|change| change.leaves));
    hear_nothing(&mut agents, 2 * LINGER).await;
}

/// Without any agent, the follow would end.
#[tokio::test(start_paused = true)]
async fn the_last_one_that_runs_stays() {
    let (mut agents, sender, commands) = two_agents();
    let hellos = beginning().nodes;
    let idle = hellos.iter().map(|hello| hello.node.clone());
    agents.set_idle(idle.collect(), DEPARTURE);
    let heard = agents.next().await.expect("the follow goes on");
    let (0, Heard::Batch(batch)) = heard else {
        panic!("the first one leaves");
    };
    assert!(batch.change.is_some_and(|change| change.leaves));
    hear_nothing(&mut agents, DEPARTURE * 2).await;
    assert_eq!(commands.try_iter().collect::<Vec<_>>(), [Command::Stop]);
    assert!(
        sender.send((0, Sent::Ended)).await.is_ok(),
        "they are there"
    );
    hear_nothing(&mut agents, 4 * LINGER).await;
    // An end comes back to the first node, and its agent cannot be started: the follow goes on.
    agents.set_idle(BTreeSet::from([hellos[1].node.clone()]), DEPARTURE);
    let begun = Instant::now();
    while begun.elapsed() < 2 * ALONE {
        let heard = agents.next().await.expect("the follow goes on");
        assert!(matches!(heard, (0, Heard::Unreached(..))));
    }
}
