//! An address that gets another owner during a recording.

use std::{fs, net::IpAddr, path::PathBuf};

use jiff::Timestamp;
use serde_json::Value;
use tracer_core::{
    input::{Gained, Lost, OwnersChange},
    journal,
    model::{Owner, OwnerKind, Owners},
};

use super::fixtures;
use crate::{
    playback::replay,
    store::{Event, Reader, Recordings, Rotation, Writer},
    view::{Json, Look, Text},
};

/// A file that the test removes.
struct Recorded(PathBuf);

impl Drop for Recorded {
    fn drop(&mut self) {
        // If the file cannot be removed, it stays in the system's temporary directory.
        let _ = fs::remove_file(&self.0);
    }
}

/// Records a receiver's address that becomes another pod's halfway through.
fn handed_over() -> (Recorded, OwnersChange) {
    let read = || Reader::open(&fixtures().join("clean.arrows")).expect("a trace");
    let head = read().head().clone();
    let events: Vec<Event> = read().map(|event| event.expect("sound")).collect();
    let mut times: Vec<i64> = events
        .iter()
        .filter_map(|event| match event {
            Event::Batch { agent, batch } => {
                let offset = head.nodes[*agent].realtime_offset;
                Some(i64::try_from(batch.latest()?).expect("a time") + offset)
            }
            _ => None,
        })
        .collect();
    times.sort_unstable();
    let owners = head.owners.all_at(Owners::LATEST);
    let pods = owners.filter(|(_, owner)| owner.kind == OwnerKind::Pod);
    let asks = |address: &IpAddr| head.sources.iter().any(|net| net.contains(address));
    let (addresses, owners): (Vec<_>, Vec<_>) = pods.filter(|(address, _)| !asks(address)).unzip();
    let owner = owners.first().copied().expect("a receiver");
    let lost = |address: &IpAddr| Lost {
        address: *address,
        name: owner.name.clone(),
        kind: owner.kind,
    };
    let gained = |address: &IpAddr| Gained {
        address: *address,
        owner: Owner {
            name: "default/another".to_owned(),
            ..owner.clone()
        },
    };
    let change = OwnersChange {
        time: times[times.len() / 2],
        lost: addresses.iter().map(lost).collect(),
        gained: addresses.iter().map(gained).collect(),
        asked: Vec::new(),
    };
    let name = format!("tracer-owners-{:016x}.arrows", crate::random());
    let recorded = Recorded(std::env::temp_dir().join(name));
    let mut writer = Writer::create(&recorded.0, Rotation::default()).expect("a new file");
    writer.begin(head).expect("room");
    let mut end = 0;
    for event in events {
        match event {
            Event::Batch { agent, batch } => writer.batch(agent, &batch).expect("room"),
            Event::Armed(time) => {
                writer.armed(time);
                // The recording tells of the change before its time.
                writer.owners_changed(&change);
            }
            Event::End(time) => end = time,
            Event::State { .. }
            | Event::Owners(_)
            | Event::Gone { .. }
            | Event::Joined { .. }
            | Event::Clock { .. } => {
                unreachable!("a first piece of one kernel has none")
            }
        }
    }
    writer.end(end).expect("room");
    (recorded, change)
}

#[test]
fn each_journey_names_who_had_the_address() {
    let (recorded, change) = handed_over();
    let open = || Recordings::open(std::slice::from_ref(&recorded.0)).expect("a trace");
    let (before, after) = (&change.lost[0].name, &change.gained[0].owner.name);

    let mut json = Vec::new();
    let mut view = Json::new(&mut json);
    replay(&mut open(), &mut journal::Reader::new(&mut view, None)).expect("memory takes all");
    let mut named = [0, 0];
    for line in String::from_utf8(json).expect("text").lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        if line["hops"].as_array().is_none() {
            continue;
        }
        let time = line["time"].as_str().expect("a time");
        let time: Timestamp = time.parse().expect("RFC 3339");
        let later = time.as_nanosecond() >= i128::from(change.time);
        for (end, pod) in [("src", "src_pod"), ("dst", "dst_pod")] {
            let end = line["packet"][end].as_str().expect("an address");
            if change
                .lost
                .iter()
                .any(|lost| lost.address.to_string() == end)
            {
                let expected = if later { after } else { before };
                assert_eq!(line[pod], **expected, "{line}");
                named[usize::from(later)] += 1;
            }
        }
        let says = line["verdict"]["text"].as_str().expect("a sentence");
        let wrong = if later { before } else { after };
        assert!(!says.contains(&**wrong), "{line}");
    }
    assert!(named.iter().all(|journeys| *journeys > 0), "{named:?}");

    let mut text = Vec::new();
    let mut view = Text::new(&mut text, Look::plain());
    replay(&mut open(), &mut journal::Reader::new(&mut view, None)).expect("memory takes all");
    let text = String::from_utf8(text).expect("text");
    let first = text.find(&**after).expect("a journey to whom has it now");
    assert!(text[..first].contains(&**before), "{text}");
    assert!(text.contains(&format!("→ {after}:")), "{text}");
}
