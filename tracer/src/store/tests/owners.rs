//! Who owned an address, as pieces of a recording and recordings made apart know it
//! together.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    slice,
};

use proptest::{collection::vec, prelude::*};
use tracer_core::{
    input::{Gained, Lost, OwnersChange, Record},
    model::{Owned, Owner, OwnerKind, Owners},
};

use super::{Files, given, head, hello};
use crate::store::{Head, JoinError, Reader, Recordings, Rotation, Writer};

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 1, 5));
const S: i64 = 1_000_000_000;
/// How long packets are waited for, by the head of all recordings here.
const HOLD: i64 = 5 * S;

fn pod(name: &str) -> Owner {
    Owner {
        name: name.to_owned(),
        kind: OwnerKind::Pod,
        node: "node-a".to_owned(),
    }
}

/// A recording of one node: from when to when, whose the address is then, and to whom it
/// goes, when.
struct Made {
    from: i64,
    to: i64,
    owners: Owners,
    changes: Vec<OwnersChange>,
}

fn made(from: i64, to: i64, owner: &'static str, changes: &[(i64, &'static str)]) -> Made {
    let mut before = owner;
    let mut change = |(time, after): &(i64, &'static str)| OwnersChange {
        time: *time,
        lost: vec![Lost {
            address: ADDRESS,
            name: std::mem::replace(&mut before, after).to_owned(),
            kind: OwnerKind::Pod,
        }],
        gained: vec![Gained {
            address: ADDRESS,
            owner: pod(after),
        }],
        asked: Vec::new(),
    };
    Made {
        from,
        to,
        owners: Owners::from_iter([(ADDRESS, pod(owner))]),
        changes: changes.iter().map(&mut change).collect(),
    }
}

/// All of them as one, gone through to the end: who owned what in the beginning, and in
/// the end.
fn joined(all: &[Made]) -> Result<(Owners, Owners), JoinError> {
    let files = Files::new();
    let path = |index: usize| files.path(&format!("{index}.arrows"));
    for (index, made) in all.iter().enumerate() {
        let mut node = hello(&format!("node-{index}"));
        node.realtime_offset = 0;
        let head = Head {
            recording: index as u64,
            time: made.from,
            hold: HOLD,
            nodes: vec![node],
            owners: made.owners.clone(),
            ..head()
        };
        let mut writer = Writer::create(&path(index), Rotation::default()).expect("a new file");
        writer.begin(head).expect("room");
        writer.armed(made.from);
        for change in &made.changes {
            writer.owners_changed(change);
        }
        writer.end(made.to).expect("room");
    }
    let paths: Vec<_> = (0..all.len()).map(path).collect();
    let recordings = Recordings::open(&paths)?;
    let first = recordings.head().owners.clone();
    let mut owners = first.clone();
    for record in recordings {
        if let Record::Owners(change) = record? {
            change.apply(&mut owners);
        }
    }
    Ok((first, owners))
}

fn names(owners: &Owners, times: &[i64]) -> Vec<String> {
    let name = |time: &i64| owners.at(ADDRESS, *time).map(|owner| owner.name.clone());
    times
        .iter()
        .map(|time| name(time).unwrap_or_default())
        .collect()
}

#[test]
fn two_recordings_of_different_times_may_name_different_owners() {
    let earlier = made(100 * S, 200 * S, "default/web", &[]);
    let later = made(300 * S, 400 * S, "shop/cart", &[]);
    let times = [100 * S, 200 * S, 250 * S, 300 * S, 400 * S];
    for all in [
        [earlier, later],
        [
            made(300 * S, 400 * S, "shop/cart", &[]),
            made(100 * S, 200 * S, "default/web", &[]),
        ],
    ] {
        let (first, last) = joined(&all).expect("each is right at its time");
        assert_eq!(first, last);
        let web = "default/web";
        assert_eq!(
            names(&first, &times),
            [web, web, "", "shop/cart", "shop/cart"]
        );
    }
}

#[test]
fn a_recording_may_begin_after_an_address_has_changed_hands_in_another() {
    let whole = made(0, 400 * S, "default/web", &[(200 * S, "shop/cart")]);
    let later = made(300 * S, 500 * S, "shop/cart", &[(450 * S, "shop/db")]);
    let (first, last) = joined(&[whole, later]).expect("they agree");
    assert_eq!(first, last);
    assert_eq!(
        names(&first, &[0, 199 * S, 200 * S, 350 * S, 449 * S, 450 * S]),
        [
            "default/web",
            "default/web",
            "shop/cart",
            "shop/cart",
            "shop/cart",
            "shop/db"
        ]
    );
}

#[test]
fn who_hears_of_a_change_later_does_not_contradict() {
    let change = |time| made(0, 400 * S, "default/web", &[(time, "shop/cart")]);
    let mut other = change(100 * S + HOLD);
    // They begin with different knowledge.
    other.owners.add(
        ADDRESS,
        Owned {
            owner: pod("shop/gone"),
            from: None,
            until: Some(-S),
        },
    );
    let (first, last) = joined(&[change(100 * S), other]).expect("they agree soon");
    for owners in [first, last] {
        let names = names(&owners, &[99 * S, 100 * S]);
        assert_eq!(names, ["default/web", "shop/cart"]);
    }
}

#[test]
fn two_owners_of_an_address_at_one_time_are_of_two_clusters() {
    let sentence = |one: Made, other: Made| {
        let refused = joined(&[one, other]).map(drop).expect_err("refused");
        refused.to_string()
    };
    // The one ends as the other begins.
    let overlap = sentence(
        made(0, 200 * S, "default/web", &[]),
        made(200 * S, 300 * S, "shop/cart", &[]),
    );
    assert!(
        overlap.contains("both at 1970-01-01T00:03:20Z"),
        "{overlap}"
    );
    assert!(
        overlap.contains("shop/cart in") && overlap.contains("default/web in"),
        "{overlap}"
    );
    // The same in the end, but it takes too long.
    let slow = sentence(
        made(
            0,
            400 * S,
            "default/web",
            &[(100 * S, "shop/db"), (110 * S, "shop/cart")],
        ),
        made(
            0,
            400 * S,
            "shop/web",
            &[(50 * S, "default/web"), (111 * S, "shop/cart")],
        ),
    );
    assert!(slow.contains("both at 1970-01-01T00:00:00Z"), "{slow}");
}

/// What has changed in rows that are missing, the next piece knows.
#[test]
fn owners_that_changed_in_a_gap_are_told_after_it() {
    let files = Files::new();
    let path = files.path("a.arrows");
    let always = Rotation {
        size: Some(1),
        ..Rotation::default()
    };
    let mut writer = Writer::create(&path, always).expect("a new file");
    let Made {
        owners, changes, ..
    } = made(0, 9, "default/web", &[(70, "default/api")]);
    writer.begin(Head { owners, ..head() }).expect("room");
    writer.armed(5);
    writer.owners_changed(&changes[0]);
    writer.flush().expect("room");
    writer.end(9).expect("room");
    let next = files.path("a.1.arrows");
    let told = |paths: &[PathBuf]| {
        let all = Recordings::open(paths).expect("traces");
        let told = all.filter_map(|record| match record.expect("sound") {
            Record::Owners(change) => Some(*change),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    assert_eq!(told(&[path.clone(), next.clone()]), changes);
    // Of the first piece only the head is left.
    let whole = fs::read(&path).expect("a file");
    let reader = Reader::new(&path, &*whole).expect("a trace");
    let head = usize::try_from(reader.position()).expect("small");
    fs::write(&path, &whole[..head + 4]).expect("room");
    assert_eq!(told(&[path, next.clone()]), changes);
    // Alone, the next piece names the owner that there is by then.
    let alone = Recordings::open(slice::from_ref(&next)).expect("a trace");
    let owners = &alone.head().owners;
    assert_eq!(names(owners, &[69, 70]), ["default/web", "default/api"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Nobody is named whom no recording names at that time.
    #[test]
    fn joined_recordings_name_whom_one_of_them_names(
        spans in vec((0..20_i64, 0..20_i64, given::owners(), vec(given::owners_change(), 0..3)), 2..4),
    ) {
        let all: Vec<Made> = spans
            .into_iter()
            .map(|(from, length, owners, mut changes)| {
                changes.sort_by_key(|change| change.time);
                Made { from, to: from + length, owners, changes }
            })
            .collect();
        let Ok((_, last)) = joined(&all) else {
            return Ok(());
        };
        let each = all.iter().map(|made| {
            let mut owners = made.owners.clone();
            made.changes.iter().for_each(|change| change.apply(&mut owners));
            owners
        });
        let each: Vec<Owners> = each.collect();
        for time in 0..40 {
            for (address, owner) in last.all_at(time) {
                let names = |owned: &Owned| {
                    let began = owned.from.is_none_or(|from| from <= time);
                    let lasts = owned.until.is_none_or(|until| time < until);
                    owned.owner == *owner && began && lasts
                };
                let known = each.iter().any(|owners| owners.of(address).iter().any(names));
                prop_assert!(known, "{address} at {time}: {owner:?}");
            }
        }
    }
}
