//! The pieces of a recording.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::PathBuf,
    slice, thread,
    time::Instant,
};

use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use tracer_core::{
    input::{Batch, Change, Record},
    model::Point,
};

use super::{Files, POINTS, STREAMS, given, head, point, some_batches};
use crate::store::{
    Anonymizer, Contents, JoinError, Reader, RecordError, Recordings, Rotation, TraceError, Writer,
};

/// A file for every flush.
const ALWAYS: Rotation = Rotation {
    size: Some(1),
    time: None,
    keep: None,
};

/// Records each batch into a piece of its own; the last one is for the end.
fn record(files: &Files, batches: &[(usize, Batch)]) -> Vec<PathBuf> {
    let path = files.path("a.arrows");
    let mut writer = Writer::create(&path, ALWAYS).expect("a new file");
    writer.begin(head()).expect("room");
    writer.armed(5);
    for (agent, batch) in batches {
        writer.batch(*agent, batch).expect("room");
        writer.flush().expect("room");
    }
    let written = writer.end(9).expect("room");
    let named = |piece| match piece {
        0 => path.clone(),
        piece => files.path(&format!("a.{piece}.arrows")),
    };
    (0..written.files).map(named).collect()
}

fn read(paths: &[PathBuf]) -> (Vec<Record>, Option<JoinError>) {
    let (mut read, mut broken) = (Vec::new(), None);
    for recorded in Recordings::open(paths).expect("traces") {
        match recorded {
            Ok(recorded) => read.push(recorded),
            Err(error) => broken = Some(error),
        }
    }
    (read, broken)
}

fn batches(read: Vec<Record>) -> Vec<(usize, Batch)> {
    let batch = |recorded| match recorded {
        Record::Batch { agent, batch } => Some((agent, *batch)),
        _ => None,
    };
    read.into_iter().filter_map(batch).collect()
}

/// Batches with hops and drops in them.
fn full_batches() -> Vec<(usize, Batch)> {
    let some = vec((0..2_usize, given::batch()), 4..8);
    let tree = some.new_tree(&mut TestRunner::deterministic());
    tree.expect("nothing is refused").current()
}

#[test]
fn rotated_pieces_give_what_one_file_does() {
    let files = Files::new();
    let pieces = record(&files, &some_batches());
    assert_eq!(pieces.len(), 4, "the last one has the end");
    let backwards: Vec<PathBuf> = pieces.iter().rev().cloned().collect();
    let (all, broken) = read(&backwards);
    assert!(broken.is_none());
    assert!(matches!(all[0], Record::Armed(5)), "{all:?}");
    assert_eq!(batches(all), some_batches());
    let refused = |paths: &[_]| Recordings::open(paths).map(drop).expect_err("refused");
    let gap = [pieces[1].clone(), pieces[3].clone()];
    assert!(refused(&gap).to_string().contains("in between"));
    let twice = [pieces[1].clone(), pieces[1].clone()];
    assert!(refused(&twice).to_string().contains("once"));

    // A later piece alone knows what its streams had told.
    let (alone, _) = read(slice::from_ref(&pieces[2]));
    let states = alone
        .iter()
        .filter(|recorded| matches!(recorded, Record::State { .. }));
    assert_eq!(states.count(), 2 * STREAMS);
    assert!(Contents::of(&pieces[2]).expect("a trace").ended.is_none());
}

#[test]
fn a_later_piece_counts_from_after_the_latest_row_before_it() {
    let files = Files::new();
    let mut sent = full_batches();
    // Watermarks say less than what is there.
    sent.iter_mut().for_each(|(_, batch)| batch.watermark = 0);
    for (_, batch) in &mut sent {
        batch.report = None;
    }
    let pieces = record(&files, &sent);
    let offset = head().nodes[0].realtime_offset;
    let latest = sent[..2]
        .iter()
        .filter_map(|(_, batch)| batch.latest())
        .max();
    let latest = i64::try_from(latest.expect("they are not empty")).expect("a time") + offset;
    let (alone, _) = read(slice::from_ref(&pieces[2]));
    let later = alone.iter().find_map(|recorded| match recorded {
        Record::Later(before) => Some(*before),
        _ => None,
    });
    assert_eq!(later, Some(latest));
    let armed = alone.iter().find_map(|recorded| match recorded {
        Record::Armed(time) => Some(*time),
        _ => None,
    });
    assert_eq!(armed, Some(latest));
    assert!(Contents::of(&pieces[2]).expect("a trace").armed.is_some());
}

#[test]
fn after_a_cut_piece_there_is_a_gap_in_every_stream() {
    let files = Files::new();
    let pieces = record(&files, &full_batches());
    let bytes = fs::read(&pieces[1]).expect("a file");
    fs::write(&pieces[1], &bytes[..bytes.len() - 20]).expect("the same file");
    let (all, broken) = read(&pieces);
    assert!(broken.is_none());
    let gaps: Vec<usize> = all
        .iter()
        .enumerate()
        .filter(|(_, recorded)| matches!(recorded, Record::Gap { .. }))
        .map(|(index, _)| index)
        .collect();
    assert_eq!(gaps.len(), 2 * STREAMS);
    let before = all[..gaps[0]]
        .iter()
        .filter(|recorded| matches!(recorded, Record::Batch { .. }));
    assert_eq!(before.count(), 1);
    let (alone, _) = read(&pieces[2..]);
    assert!(
        !alone
            .iter()
            .any(|recorded| matches!(recorded, Record::Gap { .. }))
    );
}

#[test]
fn what_changed_in_rows_that_are_missing_is_known_after_them() {
    let files = Files::new();
    let mut sent = some_batches();
    let (agent, batch) = &mut sent[1];
    batch.hops.clear();
    batch.change = Some(Change {
        time: 7,
        points: vec![Point {
            since: 7,
            ..point(POINTS)
        }],
        gone: vec![0],
        ..Change::default()
    });
    let (agent, change) = (*agent, batch.change.clone().expect("just put there"));
    let pieces = record(&files, &sent);
    let (whole, broken) = read(&pieces);
    assert!(broken.is_none());
    assert_eq!(batches(whole), sent);
    let bytes = fs::read(&pieces[1]).expect("a file");
    // The end's mark, and the last bytes of the rows.
    fs::write(&pieces[1], &bytes[..bytes.len() - 20]).expect("the same file");
    let (all, broken) = read(&pieces);
    assert!(broken.is_none());
    let known: Vec<_> = all
        .iter()
        .filter_map(|recorded| match recorded {
            Record::Known { agent, hello } => Some((*agent, hello)),
            _ => None,
        })
        .collect();
    assert_eq!(known.len(), 2, "each node");
    let mut changed = head().nodes[agent].clone();
    changed.change(&change);
    assert_eq!(*known[agent].1, Box::new(changed));
}

#[test]
fn a_first_piece_that_is_cut_before_it_says_so_is_armed_by_the_next() {
    let files = Files::new();
    let pieces = record(&files, &some_batches());
    let bytes = fs::read(&pieces[0]).expect("a file");
    // The end's mark, and all of the rows but their first bytes.
    let mut rows = 0;
    for len in (0..bytes.len()).rev() {
        let reader = Reader::new(&pieces[0], &bytes[..len]);
        if reader.is_ok_and(|reader| reader.count() == 0) {
            rows = len;
            break;
        }
    }
    fs::write(&pieces[0], &bytes[..rows]).expect("the same file");
    let (all, _) = read(&pieces);
    let armed = all
        .iter()
        .filter(|recorded| matches!(recorded, Record::Armed(5)));
    assert_eq!(armed.count(), 1, "{all:?}");
}

#[test]
fn what_is_before_the_damage_is_read() {
    let files = Files::new();
    let path = files.path("a.arrows");
    let mut writer = Writer::create(&path, Rotation::default()).expect("a new file");
    writer.begin(head()).expect("room");
    let begin = fs::metadata(&path).expect("a file").len();
    let mut ends = Vec::new();
    for (agent, batch) in some_batches() {
        writer.batch(agent, &batch).expect("room");
        writer.flush().expect("room");
        ends.push(fs::metadata(&path).expect("a file").len());
    }
    writer.end(9).expect("room");
    let file = File::options().write(true).open(&path).expect("a file");
    for left in (0..3).rev() {
        let end = if left == 0 { begin } else { ends[left - 1] };
        file.write_at(&[0x55; 8], end).expect("room");
        let (all, broken) = read(slice::from_ref(&path));
        assert!(matches!(
            broken,
            Some(JoinError::Trace(TraceError::Damaged { .. }))
        ));
        assert_eq!(batches(all), some_batches()[..left]);
    }
}

#[test]
fn of_many_pieces_few_are_open() {
    let files = Files::new();
    let many: Vec<_> = some_batches().into_iter().cycle().take(30).collect();
    let pieces = record(&files, &many);
    let recordings = Recordings::open(&pieces).expect("traces");
    let open = fs::read_dir("/proc/self/fd")
        .expect("it is Linux")
        .flatten();
    let open = open
        .filter(|entry| fs::read_link(entry.path()).is_ok_and(|path| path.starts_with(&files.0)));
    assert_eq!(open.count(), 1);
    assert_eq!(recordings.count(), 31);
}

#[test]
fn pieces_of_other_nodes_are_refused() {
    let files = Files::new();
    let pieces = record(&files, &some_batches());
    let other = Files::new();
    let mut changed = head();
    changed.piece = 1;
    changed.nodes.pop();
    fs::copy(other.record("a.arrows", changed, &[]), &pieces[1]).expect("a copy");
    let (_, broken) = read(&pieces[..2]);
    let sentence = broken.expect("it is told").to_string();
    assert!(sentence.contains("not of one recording"), "{sentence}");
}

#[test]
fn only_rows_make_a_file_too_large() {
    let files = Files::new();
    let path = files.path("a.arrows");
    let mut writer = Writer::create(&path, ALWAYS).expect("a new file");
    writer.begin(head()).expect("room");
    writer.flush().expect("room");
    writer.flush().expect("room");
    let (agent, batch) = &some_batches()[0];
    writer.batch(*agent, batch).expect("room");
    let written = writer.end(9).expect("room");
    assert_eq!(written.files, 1);
}

#[test]
fn pieces_of_an_earlier_recording_are_not_overwritten() {
    let files = Files::new();
    let path = files.path("a.arrows");
    fs::write(files.path("a.7.arrows"), "something").expect("room");
    let refused = Writer::create(&path, ALWAYS)
        .map(drop)
        .expect_err("refused");
    assert!(matches!(&refused, RecordError::Pieces { piece } if piece.ends_with("a.7.arrows")));
    assert!(!path.exists(), "nothing was begun");
    assert!(Writer::create(&path, Rotation::default()).is_ok());
}

#[test]
fn rows_are_written_when_due_whoever_else_keeps_the_writer_busy() {
    let files = Files::new();
    let path = files.path("a.arrows");
    let mut writer = Writer::create(&path, Rotation::default()).expect("a new file");
    writer.begin(head()).expect("room");
    let len = || fs::metadata(&path).expect("a file").len();
    let before = len();
    let (agent, batch) = &some_batches()[0];
    writer.batch(*agent, batch).expect("room");
    assert_eq!(len(), before);
    let due = writer.due().expect("a row waits");
    while Instant::now() < due {
        thread::yield_now();
    }
    writer.batch(*agent, batch).expect("room");
    assert!(len() > before);
}

#[test]
fn keeps_only_the_latest_pieces() {
    let files = Files::new();
    let rotation = Rotation {
        keep: Some(2),
        ..ALWAYS
    };
    let path = files.path("a.arrows");
    let mut writer = Writer::create(&path, rotation).expect("a new file");
    writer.begin(head()).expect("room");
    for (agent, batch) in some_batches() {
        writer.batch(agent, &batch).expect("room");
        writer.flush().expect("room");
    }
    let written = writer.end(9).expect("room");
    let left = fs::read_dir(&files.0).expect("a directory").count();
    assert!(written.files > 2 && left == 2, "{written:?}, {left} left");
}

/// Whoever reads a later piece alone must not take an agent that is gone for one that
/// saw nothing.
#[test]
fn that_an_agent_is_gone_is_told_until_it_is_back() {
    let files = Files::new();
    let path = files.path("a.arrows");
    let rotation = Rotation {
        size: Some(1),
        ..Rotation::default()
    };
    let mut writer = Writer::create(&path, rotation).expect("a new file");
    writer.begin(head()).expect("room");
    writer.armed(5);
    let sent = full_batches();
    let back = Batch {
        stream: STREAMS,
        change: Some(Change {
            time: 70,
            streams: STREAMS,
            points: vec![point(0)],
            ..Change::default()
        }),
        ..Batch::default()
    };
    let steps: [(usize, &Batch); 3] = [(1, &sent[0].1), (1, &sent[1].1), (0, &back)];
    for (number, (agent, batch)) in steps.into_iter().enumerate() {
        if number == 0 {
            writer.gone(0, 60);
        }
        writer.batch(agent, batch).expect("room");
        writer.flush().expect("room");
    }
    writer.end(9).expect("room");
    let piece = |number| files.path(&format!("a.{number}.arrows"));
    let gone = |read: Vec<Record>| {
        let gone = read.into_iter().filter_map(|record| match record {
            Record::Gone { agent, time } => Some((agent, time)),
            _ => None,
        });
        gone.collect::<Vec<_>>()
    };
    for number in [1, 2] {
        let (alone, broken) = read(&[piece(number)]);
        assert!(broken.is_none(), "{broken:?}");
        assert_eq!(gone(alone), [(0, 60)], "piece {number}");
    }
    let (alone, _) = read(&[piece(3)]);
    assert_eq!(gone(alone), [], "it is back");
    let hello = &Recordings::open(&[piece(3)]).expect("a trace").head().nodes[0].clone();
    assert_eq!(hello.streams, 2 * STREAMS);
}

/// One value replaces in all of them, so that they go on to be pieces of one.
#[test]
fn anonymized_pieces_are_pieces_of_one() {
    let files = Files::new();
    let pieces = record(&files, &full_batches());
    let mut anonymizer = Anonymizer::new();
    let copies: Vec<PathBuf> = (0..)
        .zip(&pieces)
        .map(|(number, piece)| {
            let copy = files.path(&format!("copy-{number}.arrows"));
            let reader = Reader::open(piece).expect("a trace");
            anonymizer.copy(reader, &copy).expect("room");
            copy
        })
        .collect();
    let (all, broken) = read(&pieces);
    assert!(broken.is_none());
    let (copied, broken) = read(&copies);
    assert!(broken.is_none(), "{broken:?}");
    let kinds = |read: &[Record]| read.iter().map(std::mem::discriminant).collect::<Vec<_>>();
    assert_eq!(kinds(&copied), kinds(&all));
    let counted = |read| {
        let all = batches(read).into_iter();
        let all = all.map(|(agent, batch)| {
            let (hops, freed) = (batch.hops.len(), batch.freed.len());
            (agent, batch.stream, batch.watermark, hops, freed)
        });
        all.collect::<Vec<_>>()
    };
    assert_eq!(counted(copied), counted(all));
    // Whoever begins with a later piece is told what was before it, too.
    let (later, copied) = (read(&pieces[2..]).0, read(&copies[2..]).0);
    assert!(matches!(copied[0], Record::State { .. }), "{copied:?}");
    assert_eq!(kinds(&copied), kinds(&later));
}
