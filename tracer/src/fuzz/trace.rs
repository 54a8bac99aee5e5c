//! Traces: files that other people send.

use std::{io, path::Path, sync::LazyLock};

use tracer_core::{
    collect::Core,
    input::{Gained, Lost, OwnersChange, Record},
    journal::{self, View},
    model::Owner,
};

use crate::{
    store::{Event, Reader, TraceError, plain},
    view::{Json, Look, Text},
};

/// What every trace begins with; input that begins so is one.
const BEGIN: [u8; 4] = [0xff; 4];
/// How long a change is: where, 24 bits, little endian, and what is there then.
const CHANGE: usize = 4;

/// A trace with hops, drops, reports, and an address that changes hands.
static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/fixtures/no-route-4.arrows"
    );
    let reader = Reader::open(Path::new(path)).expect("a recorded trace");
    let head = reader.head();
    let (address, owner) = head.owners.all_at(head.time).next().expect("an owner");
    let change = OwnersChange {
        time: head.time,
        lost: vec![Lost {
            address,
            name: owner.name.clone(),
            kind: owner.kind,
        }],
        gained: vec![Gained {
            address,
            owner: Owner {
                name: "default/another".to_owned(),
                ..owner.clone()
            },
        }],
        asked: Vec::new(),
    };
    plain(reader, &change)
});

/// Reads a trace, and replays it as far as it can be read: `data` is the file,
/// or how long a sound one shall be, 24 bits, and changes to it.
///
/// # Panics
/// If the reader or anything behind it does, or the reader goes on after an
/// error.
pub fn trace(data: &[u8]) {
    if data.starts_with(&BEGIN) {
        // What is said is of no interest.
        let _: Result<(), TraceError> = replay(data, &mut Json::new(io::sink()));
        return;
    }
    let mut file = WHOLE.clone();
    let (len, changes) = data.split_at(data.len().min(3));
    file.truncate(number(len));
    for change in changes.chunks_exact(CHANGE) {
        if let Some(byte) = file.get_mut(number(&change[..3])) {
            *byte = change[3];
        }
    }
    let replayed = if data.len().is_multiple_of(2) {
        replay(&file, &mut Json::new(io::sink()))
    } else {
        replay(&file, &mut Text::new(io::sink(), Look::plain()))
    };
    if file == *WHOLE {
        replayed.expect("it is as it was written");
    }
}

fn number(bytes: &[u8]) -> usize {
    let digits = bytes.iter().rev();
    digits.fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// Shows what can be read of a trace.
fn replay(file: &[u8], view: &mut impl View) -> Result<(), TraceError> {
    const SINK: &str = "a sink takes all";
    let mut reader = Reader::new(Path::new("a trace"), file)?;
    let mut core = Core::new(reader.head().beginning());
    let shown = &mut journal::Reader::new(view, None);
    let mut broken = Ok(());
    for event in reader.by_ref() {
        match event {
            Ok(Event::Batch { agent, batch }) => core.take(Record::Batch { agent, batch }),
            Ok(Event::State {
                agent,
                stream,
                watermark,
                report,
            }) => core.take(Record::State {
                agent,
                stream,
                watermark,
                report,
            }),
            Ok(Event::Owners(change)) => core.take(Record::Owners(change)),
            Ok(Event::Armed(time)) => core.take(Record::Armed(time)),
            Ok(Event::Joined { hello, time }) => core.take(Record::Joined { hello, time }),
            Ok(Event::Gone { agent, time }) => core.take(Record::Gone { agent, time }),
            Ok(Event::Clock { .. } | Event::End(_)) => {}
            Err(error) => broken = Err(error),
        }
        core.show(shown).expect(SINK);
    }
    assert!(reader.next().is_none(), "it goes on after its end");
    assert!(reader.position() <= file.len() as u64);
    core.end(shown).expect(SINK);
    core.sum_up(shown).expect(SINK);
    broken
}
