//! Nodes that take no agent, or take one late.

use std::{collections::BTreeSet, mem, pin::Pin, sync::mpsc as std_mpsc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::mpsc,
    time::{Instant, sleep},
};
use tracer_core::request::Start;

use super::{
    agents::{Line, start},
    world::beginning,
};
use crate::{
    collector::{
        Begun, SessionError,
        agents::{Agents, Heard, join::LONGEST, reach::Outcome},
    },
    link::{Link, LinkError, Place},
};

/// A command that ends at once.
fn task(node: &str) -> (Place, Start) {
    (
        Place::Exec("false".to_owned()),
        start(node, [10, 244, 1, 5]),
    )
}

type Starting = (
    (Place, Start),
    Pin<Box<dyn Future<Output = Outcome> + Send>>,
);

/// An agent that starts after some seconds, or fails then.
fn starting(node: &str, after: u64, starts: bool) -> Starting {
    let (task, mut hello) = (task(node), beginning().nodes[0].clone());
    node.clone_into(&mut hello.node);
    let (sender, batches) = mpsc::channel(1);
    // The agent's stream goes on.
    mem::forget(sender);
    let link = || Link {
        hello,
        commands: Box::new(Line(std_mpsc::channel().0)),
        batches: batches.into(),
    };
    let link = if starts {
        Ok(link())
    } else {
        Err(LinkError::Panicked)
    };
    let outcome = (task.clone(), link);
    let waiting = async move {
        sleep(Duration::from_secs(after)).await;
        outcome
    };
    (task, Box::pin(waiting))
}

#[tokio::test(start_paused = true)]
async fn a_node_that_takes_no_agent_stops_no_other() {
    let all = vec![
        starting("node-c", 60, true),
        starting("node-b", 1, false),
        starting("node-a", 2, true),
        starting("node-0", 3, true),
    ];
    let begun = Agents::some_of(all).await;
    let Begun {
        mut agents,
        hellos,
        late,
    } = begun.unwrap_or_else(|error| panic!("{error}"));
    let nodes: Vec<&str> = hellos.iter().map(|hello| &*hello.node).collect();
    assert_eq!(nodes, ["node-a", "node-0"]);
    assert_eq!(late, ["node-c"]);
    let (mut refused, mut joined) = (Vec::new(), Vec::new());
    // The node that takes no agent is tried again.
    while joined.is_empty() || refused.len() < 2 {
        match agents.next().await.expect("the session goes on") {
            (_, Heard::Unreached(node, why)) => refused.push((node, why)),
            (_, Heard::Joined(hello)) => joined.push(hello.node),
            _ => panic!("the other agents go on"),
        }
    }
    assert_eq!(joined, ["node-c"]);
    let panicked = LinkError::Panicked.to_string();
    assert_eq!(refused[0], ("node-b".to_owned(), panicked));
    assert_eq!(refused[1].0, "node-b");
}

#[tokio::test(start_paused = true)]
async fn without_any_agent_nothing_begins() {
    let all = vec![starting("node-b", 1, false), starting("node-a", 2, false)];
    let Err(error) = Agents::some_of(all).await else {
        panic!("none starts");
    };
    assert!(
        matches!(&error, SessionError::Agent { node, .. } if node == "node-b"),
        "{error}"
    );
}

/// Waits until an agent could not join.
async fn unreached(agents: &mut Agents) {
    let heard = agents.next().await.expect("the session goes on");
    assert!(matches!(heard, (_, Heard::Unreached(node, _)) if node == "node-c"));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_never_joins_is_tried_less_and_less() {
    let mut agents = Agents::nobody();
    agents.join(task("node-c"));
    let mut last = Instant::now();
    let mut pauses = Vec::new();
    for _ in 0..13 {
        unreached(&mut agents).await;
        pauses.push(last.elapsed());
        last = Instant::now();
    }
    assert!(pauses.is_sorted(), "{pauses:?}");
    assert!(pauses[1] < Duration::from_secs(1), "{pauses:?}");
    assert_eq!(pauses[12].as_secs(), LONGEST.as_secs());
}

/// A node that has left the cluster, or has none of the chosen pods now.
#[tokio::test]
async fn an_agent_joins_no_node_without_an_end() {
    let mut agents = Agents::nobody();
    agents.join(task("node-c"));
    agents.set_idle(BTreeSet::from(["node-c".to_owned()]), Duration::ZERO);
    let tries = || Handle::current().metrics().num_alive_tasks();
    assert_eq!(tries(), 1);
    unreached(&mut agents).await;
    assert_eq!(tries(), 0);
    agents.set_idle(BTreeSet::new(), Duration::ZERO);
    assert_eq!(tries(), 1);
    unreached(&mut agents).await;
}
