//! What a server is asked, and what its answers mean.

use std::{
    sync::{Mutex, mpsc},
    time::Duration,
};

use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Heard, Known, Subject, Watch};
use crate::cluster::fake::{Answer, Fake};

fn pod(name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "2"},
        "spec": {"nodeName": "node-a", "containers": []},
        "status": {"podIPs": [{"ip": address}], "startTime": "2026-03-01T12:34:56Z"},
    })
}

fn node(name: &str) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {"name": name, "uid": name, "resourceVersion": "2"},
    })
}

/// The reports until each watch has told its first state.
async fn until_complete(watch: &mut Watch) -> Vec<Heard> {
    let mut reports = Vec::new();
    while !watch.watches.are_complete() {
        reports.push(watch.next().await.expect("something is watched"));
    }
    reports
}

/// Names of the known nodes.
fn nodes(watch: &Watch) -> Vec<&str> {
    watch.nodes().map(|(name, _)| name).collect()
}

fn names(watch: &Watch) -> Vec<&str> {
    watch.pods().map(|place| &*place.name).collect()
}

#[tokio::test]
async fn pods_of_a_node_are_listed_from_memory_and_nodes_without_their_status() {
    let (sender, events) = mpsc::channel();
    let events = Mutex::new(Some(events));
    let fake = Fake::start(move |path| match path {
        path if path.starts_with("/api/v1/pods") && path.contains("watch=true") => {
            let events = events.lock().expect("no thread has panicked").take();
            Answer::Events(events.expect("pods are watched once"))
        }
        path if path.contains("watch=true") => Answer::Silence,
        path if path.starts_with("/api/v1/pods") => Answer::List(vec![pod("cart", "10.244.1.5")]),
        _ => Answer::List(vec![node("node-a"), node("node-b")]),
    });
    let mut watch = Watch::new(fake.cluster());
    for subject in [Subject::PodsOn("node-a".to_owned()), Subject::AllNodes] {
        watch
            .add(&subject, &Known::default())
            .await
            .expect("nothing is looked up");
    }
    until_complete(&mut watch).await;
    assert_eq!(names(&watch), ["cart"]);
    assert_eq!(nodes(&watch), ["node-a", "node-b"]);
    let requests = fake.requests();
    let asked = |path: &str| {
        let mut all = requests.iter();
        let found = all.find(|request| request.starts_with(path) && !request.contains("watch="));
        found.unwrap_or_else(|| panic!("{path} is not in {requests:#?}"))
    };
    let pods = asked("/api/v1/pods?");
    assert!(
        pods.contains("fieldSelector=spec.nodeName%3Dnode-a"),
        "{pods}"
    );
    assert!(pods.contains("resourceVersion=0"), "{pods}");
    let of_nodes = asked("/api/v1/nodes?");
    assert!(of_nodes.contains("PartialObjectMetadataList"), "{of_nodes}");

    let come = json!({"type": "ADDED", "object": pod("db-0", "10.244.1.6")});
    sender.send(come).expect("the server runs");
    while watch.next().await.expect("something is watched") != Heard::Changed {}
    assert_eq!(names(&watch), ["cart", "db-0"]);
    let address = "10.244.1.6".parse().expect("an address");
    assert_eq!(
        watch.since().get(&address),
        Some(&1_772_368_496_000_000_000)
    );
}

/// A pod that has ended may name an address that another pod has by now.
#[tokio::test]
async fn an_address_is_a_pods_since_that_pod_has_it() {
    let mut ended = pod("report-1", "10.244.1.5");
    ended["status"]["phase"] = "Succeeded".into();
    ended["status"]["startTime"] = "2026-03-01T11:00:00Z".into();
    let fake = Fake::start(move |path| match path {
        path if path.contains("watch=true") => Answer::Silence,
        _ => Answer::List(vec![pod("cart", "10.244.1.5"), ended.clone()]),
    });
    let mut watch = Watch::new(fake.cluster());
    let added = watch
        .add(&Subject::PodsOn("node-a".to_owned()), &Known::default())
        .await;
    added.expect("nothing is looked up");
    until_complete(&mut watch).await;
    let address = "10.244.1.5".parse().expect("an address");
    let since = watch.since().get(&address).copied();
    assert_eq!(since, Some(1_772_368_496_000_000_000));
}

/// Somebody who may list nodes learns which right is missing. Who may not even list pods has
/// learned that before.
#[tokio::test]
async fn a_refused_watch_is_told_once_and_leaves_what_was_listed() {
    let fake = Fake::start(|path| match path {
        path if path.contains("watch=true") => Answer::Forbidden,
        path if path.starts_with("/api/v1/pods") => Answer::Forbidden,
        _ => Answer::List(vec![node("node-a")]),
    });
    let mut watch = Watch::new(fake.cluster());
    for subject in [Subject::AllPods, Subject::AllNodes] {
        watch
            .add(&subject, &Known::default())
            .await
            .expect("nothing is looked up");
    }
    let mut reports = until_complete(&mut watch).await;
    // Each watch ends with its refusal.
    while let Some(report) = watch.next().await {
        reports.push(report);
    }
    reports.retain(|report| *report != Heard::Changed);
    let [Heard::Refused(why)] = &reports[..] else {
        panic!("{reports:?}");
    };
    assert!(why.contains("verbs: [\"watch\"]"), "{why}");
    assert_eq!(nodes(&watch), ["node-a"]);
    assert_eq!(names(&watch), [""; 0]);
}

/// After the failure, nothing changes any more.
#[tokio::test]
async fn a_watch_that_resumes_is_told_once_the_server_answers_it() {
    let (sender, events) = mpsc::channel();
    let events = Mutex::new(Some(events));
    let fake = Fake::start(move |path| match path {
        path if path.contains("watch=true") => {
            let first = events.lock().expect("no thread has panicked").take();
            first.map_or(Answer::Silence, Answer::Events)
        }
        _ => Answer::List(vec![node("node-a")]),
    });
    let mut watch = Watch::new(fake.cluster());
    let added = watch.add(&Subject::AllNodes, &Known::default()).await;
    added.expect("nothing is looked up");
    until_complete(&mut watch).await;
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "the database is away", "reason": "InternalError", "code": 500,
    });
    let failed = sender.send(json!({"type": "ERROR", "object": status}));
    failed.expect("the server runs");
    // The server closes the connection.
    drop(sender);
    let mut reports = Vec::new();
    while reports.last() != Some(&Heard::Back) {
        reports.push(watch.next().await.expect("something is watched"));
    }
    reports.retain(|report| *report != Heard::Changed);
    assert!(
        matches!(&reports[..], [Heard::Lost(why), Heard::Back] if why.contains("database")),
        "{reports:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_is_reported_when_it_is_due() {
    let fake = Fake::start(|_| Answer::Silence);
    let mut watch = Watch::new(fake.cluster());
    let (sender, told) = futures::channel::mpsc::unbounded();
    watch.events.push(told.boxed());
    let begin = Instant::now();
    watch.remind(begin + Duration::from_secs(60));
    assert_eq!(watch.next().await, Some(Heard::Changed));
    assert!(begin.elapsed() >= Duration::from_secs(60));
    drop(sender);
    assert_eq!(watch.next().await, None, "it was due once");
}
