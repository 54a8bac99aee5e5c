//! Agents that come to a recording while it is made.

use std::path::PathBuf;

use tracer_core::{
    input::{Batch, Record},
    model::Hello,
};

use super::{Files, STREAMS, head, some_batches};
use crate::store::{Contents, Recordings, Rotation, Writer};

/// An agent of another node than those of the head.
fn hello(node: &str) -> Hello {
    Hello {
        node: node.to_owned(),
        ..head().nodes[0].clone()
    }
}

/// Records a batch of a known agent, another agent, and a batch of that, each into a piece
/// of its own with `size`.
fn record(files: &Files, size: Option<u64>, node: &str) -> Vec<PathBuf> {
    let rotation = Rotation {
        size,
        ..Rotation::default()
    };
    let path = files.path("a.arrows");
    let mut writer = Writer::create(&path, rotation).expect("a new file");
    writer.begin(head()).expect("room");
    writer.armed(5);
    let [(agent, first), ..] = &some_batches()[..] else {
        panic!("there are some");
    };
    writer.batch(*agent, first).expect("room");
    writer.flush().expect("room");
    writer.joined(&hello(node), 6);
    writer.batch(2, first).expect("room");
    writer.flush().expect("room");
    let written = writer.end(9).expect("room");
    let named = |piece| match piece {
        0 => path.clone(),
        piece => files.path(&format!("a.{piece}.arrows")),
    };
    (0..written.files).map(named).collect()
}

fn read(paths: &[PathBuf]) -> Vec<Record> {
    let records = Recordings::open(paths).expect("traces");
    records.map(|record| record.expect("sound")).collect()
}

/// The agents that have come, and whose batches there are, in order.
fn told(records: &[Record]) -> Vec<(Option<&str>, usize)> {
    let mut agents = 0;
    let told = records.iter().filter_map(|record| match record {
        Record::Joined { hello, time: 6 } => {
            agents += 1;
            Some((Some(&*hello.node), agents))
        }
        Record::Batch { agent, .. } => Some((None, *agent)),
        _ => None,
    });
    told.collect()
}

#[test]
fn an_agent_that_has_come_is_read_with_what_it_sent() {
    let files = Files::new();
    let (agent, first): (usize, Batch) = some_batches().swap_remove(0);
    let paths = record(&files, None, "node-new");
    let records = read(&paths);
    assert_eq!(
        told(&records),
        [(None, agent), (Some("node-new"), 1), (None, 2)]
    );
    let last = records.into_iter().rev().find_map(|record| match record {
        Record::Batch { batch, .. } => Some(*batch),
        _ => None,
    });
    assert_eq!(last, Some(first));
    let contents = Contents::of(&paths[0]).expect("a trace");
    assert_eq!(contents.head.nodes.len(), 3);
    assert_eq!(contents.hops[2], contents.hops[agent]);
}

#[test]
fn pieces_go_on_with_an_agent_that_has_come() {
    let files = Files::new();
    let pieces = record(&files, Some(1), "node-new");
    assert!(pieces.len() > 2, "{pieces:?}");
    let whole = read(&pieces);
    assert_eq!(told(&whole).len(), 3);
    // The last piece alone has the agent from its beginning, and what its streams had told.
    let alone = Recordings::open(&pieces[pieces.len() - 1..]).expect("a trace");
    assert_eq!(alone.head().nodes.len(), 3);
    let states = alone.filter(|record| matches!(record, Ok(Record::State { .. })));
    assert_eq!(states.count(), 3 * STREAMS);
}

#[test]
fn an_agent_whose_row_is_missing_joined_in_the_gap() {
    let files = Files::new();
    let pieces = record(&files, Some(1), "node-new");
    let bytes = std::fs::read(&pieces[1]).expect("a file");
    std::fs::write(&pieces[1], &bytes[..bytes.len() - 20]).expect("the same file");
    let records = read(&pieces);
    let came = records.iter().filter_map(|record| match record {
        Record::Joined { hello, .. } => Some(&*hello.node),
        _ => None,
    });
    assert_eq!(came.collect::<Vec<_>>(), ["node-new"]);
}

#[test]
fn recordings_side_by_side_number_an_agent_after_all_others() {
    let files = Files::new();
    let one = record(&files, None, "node-new");
    let path = files.path("b.arrows");
    let mut writer = Writer::create(&path, Rotation::default()).expect("a new file");
    let mut other = head();
    other.recording += 1;
    other.nodes.truncate(1);
    other.nodes[0].node = "node-other".to_owned();
    writer.begin(other).expect("room");
    writer.armed(5);
    writer.end(9).expect("room");
    let records = read(&[one[0].clone(), path]);
    let (agent, _) = some_batches().swap_remove(0);
    let batches = records.iter().filter_map(|record| match record {
        Record::Batch { agent, .. } => Some(*agent),
        _ => None,
    });
    let batches: Vec<usize> = batches.collect();
    assert_eq!(batches.len(), 2);
    // The nodes of the heads are 0 to 2, in whichever order.
    assert!(batches[0] < 3 && batches[1] == 3, "{agent}: {batches:?}");
    let ended = records.iter().filter_map(|record| match record {
        Record::Ended { agents, .. } => Some(agents.clone()),
        _ => None,
    });
    assert!(ended.flatten().any(|agent| agent == 3));
}

#[test]
fn an_agent_of_a_node_that_another_recording_has_is_refused() {
    let files = Files::new();
    let one = record(&files, None, "node-other");
    let path = files.path("b.arrows");
    let mut writer = Writer::create(&path, Rotation::default()).expect("a new file");
    let mut other = head();
    other.recording += 1;
    other.nodes.truncate(1);
    other.nodes[0].node = "node-other".to_owned();
    writer.begin(other).expect("room");
    writer.end(9).expect("room");
    let mut records = Recordings::open(&[one[0].clone(), path]).expect("traces");
    let error = records.find_map(Result::err).expect("both have that node");
    assert!(error.to_string().contains("node-other"), "{error}");
}
