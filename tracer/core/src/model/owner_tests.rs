use std::net::IpAddr;

use proptest::{collection::vec, prelude::*};

use super::{MAX_INTERVALS, Owned, Owner, OwnerKind, Owners};

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 244, 1, 5));

fn pod(name: &str) -> Owner {
    Owner {
        name: name.to_owned(),
        kind: OwnerKind::Pod,
        node: "node-a".to_owned(),
    }
}

fn name(owners: &Owners, time: i64) -> Option<&str> {
    owners.at(ADDRESS, time).map(|owner| owner.name.as_str())
}

/// From `lost` to `gained` at a time.
fn hand(owners: &mut Owners, time: i64, lost: &str, gained: &str) {
    owners.lost(ADDRESS, lost, OwnerKind::Pod, time);
    owners.gained(ADDRESS, pod(gained), time);
}

#[test]
fn an_address_that_another_pod_gets_is_its_former_owners_before() {
    let mut owners = Owners::from_iter([(ADDRESS, pod("web"))]);
    hand(&mut owners, 100, "web", "cart");
    assert_eq!(name(&owners, i64::MIN), Some("web"));
    assert_eq!(name(&owners, 99), Some("web"));
    assert_eq!(name(&owners, 100), Some("cart"));
    assert_eq!(name(&owners, Owners::LATEST), Some("cart"));
    // Told again, by another recording of the same cluster, a little later.
    let once = owners.clone();
    hand(&mut owners, 100, "web", "cart");
    hand(&mut owners, 105, "web", "cart");
    assert_eq!(owners, once);
    // And back.
    hand(&mut owners, 200, "cart", "web");
    hand(&mut owners, 100, "web", "cart");
    assert_eq!(name(&owners, 199), Some("cart"));
    assert_eq!(name(&owners, 200), Some("web"));
    assert_eq!(owners.len(), 1);
    assert_eq!(owners.of(ADDRESS).len(), 3);
}

#[test]
fn an_address_can_be_nobodys_for_a_time() {
    let mut owners = Owners::default();
    owners.gained(ADDRESS, pod("web"), 10);
    owners.lost(ADDRESS, "web", OwnerKind::Node, 15);
    owners.lost(ADDRESS, "web", OwnerKind::Pod, 20);
    owners.gained(ADDRESS, pod("web"), 30);
    let names = [9, 10, 19, 20, 29, 30].map(|time| name(&owners, time).is_some());
    assert_eq!(names, [false, true, true, false, false, true]);
    assert_eq!(owners.all_at(25).count(), 0);
    assert_eq!(owners.all_at(30).count(), 1);
    // One that was lost as it was gained never had it.
    owners.lost(ADDRESS, "web", OwnerKind::Pod, 30);
    owners.lost(ADDRESS, "web", OwnerKind::Pod, 10);
    assert!(owners.is_empty());
}

#[test]
fn the_latest_owner_of_an_address_counts_or_the_first_of_equals() {
    let mut owners = Owners::from_iter([(ADDRESS, pod("web"))]);
    owners.gained(ADDRESS, pod("cart"), 10);
    assert_eq!(name(&owners, 5), Some("web"));
    assert_eq!(name(&owners, 10), Some("cart"));
    owners.lost(ADDRESS, "cart", OwnerKind::Pod, 20);
    assert_eq!(name(&owners, 20), Some("web"));
    let always = |name: &str| Owned {
        owner: pod(name),
        from: None,
        until: None,
    };
    let both = Owners::from_iter([(ADDRESS, always("web")), (ADDRESS, always("cart"))]);
    assert_eq!(name(&both, 0), Some("web"));
}

#[test]
fn a_pod_that_moves_is_on_one_node_at_a_time() {
    let mut owners = Owners::from_iter([(ADDRESS, pod("web"))]);
    let moved = Owner {
        node: "node-b".to_owned(),
        ..pod("web")
    };
    owners.gained(ADDRESS, moved, 10);
    let node = |time| owners.at(ADDRESS, time).map(|owner| owner.node.as_str());
    assert_eq!((node(9), node(10)), (Some("node-a"), Some("node-b")));
    let on_a = owners.of(ADDRESS).first().expect("the first");
    assert_eq!(on_a.until, Some(10));
}

#[test]
fn what_is_known_of_an_address_is_bounded() {
    let mut owners = Owners::default();
    owners.gained(ADDRESS, pod("stays"), -1);
    for time in 0..200 {
        let name = format!("pod-{time}");
        owners.gained(ADDRESS, pod(&name), time);
        owners.lost(ADDRESS, &name, OwnerKind::Pod, time + 1);
    }
    assert_eq!(owners.of(ADDRESS).len(), MAX_INTERVALS);
    assert_eq!(name(&owners, 199), Some("pod-199"));
    assert_eq!(name(&owners, 200), Some("stays"));
}

fn owned() -> impl Strategy<Value = Owned> {
    let time = || proptest::option::of(0..20_i64);
    (0..3_u8, time(), time()).prop_map(|(number, from, until)| Owned {
        owner: pod(&format!("pod-{number}")),
        from,
        until,
    })
}

proptest! {
    /// Whatever overlaps is one interval, and nothing is gained or lost by that.
    #[test]
    fn what_is_added_is_known_at_each_time(all in vec(owned(), 0..6)) {
        let owners: Owners = all.iter().map(|owned| (ADDRESS, owned.clone())).collect();
        for time in -1..21 {
            let mut expected: Vec<_> = all.iter().filter(|owned| owned.holds(time)).collect();
            let mut known: Vec<_> = owners.of(ADDRESS).iter().filter(|owned| owned.holds(time)).collect();
            let name = |owned: &&Owned| owned.owner.name.clone();
            expected.sort_by_key(name);
            expected.dedup_by_key(|owned| name(owned));
            known.sort_by_key(name);
            prop_assert_eq!(
                known.iter().map(name).collect::<Vec<_>>(),
                expected.iter().map(name).collect::<Vec<_>>()
            );
            prop_assert_eq!(owners.at(ADDRESS, time).is_some(), !expected.is_empty());
        }
    }

    #[test]
    fn owners_are_read_as_they_were_written(all in vec(owned(), 0..6)) {
        let owners: Owners = all.iter().map(|owned| (ADDRESS, owned.clone())).collect();
        let json = serde_json::to_string(&owners).expect("names and numbers");
        let read: Owners = serde_json::from_str(&json).expect("what was written");
        prop_assert_eq!(read, owners);
    }
}
