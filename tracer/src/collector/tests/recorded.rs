//! What must hold of recordings of which not all is there, or that were made
//! apart: nothing is said that the whole would not say.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;

use super::{
    choices,
    delivery::{Choices, Reports, Shown, sent},
    nothing_is_claimed_that_is_not_so,
    traffic::world,
    world::{MS, S, START, World, beginning},
};
use crate::{
    link::Batch,
    replay::replay,
    store::{Head, Recordings, Rotation, Writer},
};

/// A directory for the files of a test.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        let path = env::temp_dir().join(format!("tracer-recorded-{:016x}", crate::random()));
        fs::create_dir(&path).expect("a directory of its own");
        Self(path)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What cannot be removed is in the system's directory for such.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn head(recording: u64) -> Head {
    let beginning = beginning();
    Head {
        version: String::new(),
        recording,
        piece: 0,
        armed: None,
        last: None,
        anonymized: false,
        key: 1,
        time: beginning.time,
        follow: String::new(),
        warnings: Vec::new(),
        pairs: Vec::new(),
        sources: beginning.sources,
        hold: beginning.limits.hold,
        open: beginning.limits.open,
        count: None,
        nodes: beginning.nodes,
        owners: beginning.owners,
    }
}

/// The recording of one node, as its clock tells, which is ahead by so much.
fn head_of(node: usize, ahead: i64) -> Head {
    let mut head = head(u64::try_from(node).expect("small"));
    head.nodes = vec![head.nodes[node].clone()];
    head.nodes[0].realtime_offset += ahead;
    head.time += ahead;
    head
}

/// Records, in pieces that end where `ends` says; returns the pieces.
fn record(
    path: &Path,
    head: Head,
    batches: &[(usize, Batch)],
    mut ends: impl FnMut() -> bool,
) -> Vec<PathBuf> {
    let rotation = Rotation {
        size: Some(1),
        ..Rotation::default()
    };
    let armed = head.time;
    let mut writer = Writer::create(path, rotation).expect("a new file");
    writer.begin(head).expect("room");
    writer.armed(armed);
    for (agent, batch) in batches {
        writer.batch(*agent, batch).expect("room");
        if ends() {
            writer.flush().expect("room");
        }
    }
    let written = writer.end(START + 3600 * S).expect("room");
    let named = |piece| match piece {
        0 => path.to_owned(),
        piece => path.with_extension(format!("{piece}.arrows")),
    };
    (0..written.files).map(named).collect()
}

/// Cuts a file somewhere behind its head.
fn cut(path: &Path, part: usize) {
    let bytes = fs::read(path).expect("a file");
    let sound = |len: usize| crate::store::Reader::new(path, &bytes[..len]).is_ok();
    let mut least = bytes.len() - 1;
    while sound(least / 2) {
        least /= 2;
    }
    let len = least + (bytes.len() - least) * part / 100;
    fs::write(path, &bytes[..len]).expect("the same file");
}

fn shown(paths: &[PathBuf]) -> Shown {
    let mut recordings = Recordings::open(paths).expect("they belong together");
    let mut shown = Shown::default();
    let replayed = replay(&mut recordings, &mut shown).expect("memory");
    assert!(replayed.broken.is_none());
    shown
}

/// What one node sends.
fn of_node(sent: &[(usize, Batch)], node: usize) -> Vec<(usize, Batch)> {
    let own = sent.iter().filter(|(agent, _)| *agent == node);
    own.map(|(_, batch)| (0, batch.clone())).collect()
}

fn all_of(world: &World, choices: &mut Choices) -> Vec<(usize, Batch)> {
    sent(world, &[], Reports::Honest, choices)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn pieces_say_what_is_so_without_the_end_of_one(
        world in world(),
        mut choices in choices(),
        part in 0..100_usize,
    ) {
        let files = Files::new();
        let sent = all_of(&world, &mut choices);
        let pieces = record(&files.0.join("a.arrows"), head(1), &sent, || choices.below(4) == 0);
        cut(&pieces[choices.below(pieces.len())], part);
        nothing_is_claimed_that_is_not_so(&world, &shown(&pieces))?;
    }

    #[test]
    fn pieces_say_what_is_so_without_those_before(
        world in world(),
        mut choices in choices(),
    ) {
        let files = Files::new();
        let sent = all_of(&world, &mut choices);
        let pieces = record(&files.0.join("a.arrows"), head(1), &sent, || choices.below(4) == 0);
        let first = choices.below(pieces.len());
        let last = first + choices.below(pieces.len() - first) + 1;
        nothing_is_claimed_that_is_not_so(&world, &shown(&pieces[first..last]))?;
    }

    /// Clocks differ by less than the hold time; one began later, or ended
    /// sooner, or is cut.
    #[test]
    fn recordings_made_apart_say_what_is_so(
        world in world(),
        mut choices in choices(),
        ahead in -4_900..4_900_i64,
        part in 0..200_usize,
    ) {
        let files = Files::new();
        let sent = all_of(&world, &mut choices);
        let mut all = Vec::new();
        for (node, ahead) in [(0, 0), (1, ahead * MS)] {
            let path = files.0.join(format!("{node}.arrows"));
            let own = of_node(&sent, node);
            let mut pieces = record(&path, head_of(node, ahead), &own, || choices.below(6) == 0);
            pieces.drain(..choices.below(pieces.len()));
            pieces.truncate(choices.below(pieces.len()) + 1);
            if part < 100 {
                cut(&pieces[choices.below(pieces.len())], part);
            }
            all.extend(pieces);
        }
        nothing_is_claimed_that_is_not_so(&world, &shown(&all))?;
    }
}
