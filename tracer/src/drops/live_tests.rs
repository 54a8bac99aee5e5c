//! Pods and nodes that come and go while drops are watched.

use std::{
    net::IpAddr,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc as std_mpsc,
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, from_value, json};
use tokio::time::timeout;
use tracer_core::model::Owners;

use super::*;
use crate::{
    cli::drops_settings,
    cluster::fake::{Answer, Fake},
    inventory::Inventory,
};

/// The time limit for an update, on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Time at which all pods were started, Unix time, ns.
const STARTED: i64 = 1_772_368_496_000_000_000;

const WEB: &str = "10.244.1.5";
const CART: &str = "10.244.2.7";
const DB: &str = "10.244.3.9";

fn node(name: &str) -> Node {
    let address = format!("192.168.7.{}", name.as_bytes()[name.len() - 1]);
    from_value(json!({
        "metadata": {"name": name},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    }))
    .expect("a node")
}

fn pod(name: &str, node: &str, address: &str) -> PodPlace {
    let (namespace, name) = name.split_once('/').expect("a namespace and a name");
    let pod: k8s_openapi::api::core::v1::Pod = from_value(json!({
        "spec": {"nodeName": node, "containers": []},
        "status": {"podIPs": [{"ip": address}]},
    }))
    .expect("a pod");
    PodPlace {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        pod: (&pod).into(),
        since: Some(STARTED),
    }
}

/// The pods of the beginning, on two nodes.
fn pods() -> Vec<PodPlace> {
    vec![
        pod("default/web", "node-a", WEB),
        pod("shop/cart", "node-b", CART),
    ]
}

/// A watch that has begun with [`pods`], and has heard of them once more.
fn begun(line: &str) -> Replan {
    let mut inventory = Inventory::of_cluster("https://192.168.7.9", "default");
    for name in ["node-a", "node-b"] {
        inventory.take_node(&node(name)).expect("an address");
    }
    for PodPlace {
        namespace,
        name,
        pod,
        ..
    } in pods()
    {
        inventory.take_watched(&namespace, &name, pod);
    }
    let settings = drops_settings(line, Some(inventory)).expect("all of it is there");
    let live = settings.live.clone().expect("the objects are the API's");
    let mut replan = Replan::new(settings, live, Key([0, 0]));
    let update = change(&mut replan, &pods());
    assert!(update.is_empty(), "{update:?}");
    replan
}

fn change(replan: &mut Replan, pods: &[PodPlace]) -> Update {
    let each = pods.iter().flat_map(|place| {
        let addresses = place.pod.addresses.iter();
        addresses.map(|address| (*address, STARTED))
    });
    replan.replan(pods.iter(), &each.collect())
}

/// The owner of an address after a change, at its start and now.
fn names(replan: &Replan, update: &Update, address: &str) -> [Option<String>; 2] {
    let mut known = begun(if replan.settings.all_nodes {
        "--all-nodes"
    } else {
        "--node node-a"
    })
    .settings
    .owners;
    for change in &update.owners {
        change.apply(&mut known);
    }
    let address: IpAddr = address.parse().expect("an address");
    let name = |time| known.at(address, time).map(|owner| owner.name.clone());
    [name(STARTED), name(Owners::LATEST)]
}

/// Nodes, and the names of the pods that their agents are to look for.
fn looks(update: &Update) -> Vec<(&str, Vec<&str>)> {
    let looks = update.looks.iter();
    let looks = looks.map(|(node, look)| {
        let names = look.pods.iter().map(|(_, name)| &**name);
        (&**node, names.collect())
    });
    looks.collect()
}

fn joins(update: &Update) -> Vec<(&str, Vec<&str>)> {
    let joins = update.joins.iter();
    let joins = joins.map(|(_, start)| {
        let names = start.pods.iter().map(|(_, name)| &**name);
        (&*start.node, names.collect())
    });
    joins.collect()
}

fn idle(nodes: &[&str]) -> Option<BTreeSet<String>> {
    Some(nodes.iter().map(|node| (*node).to_owned()).collect())
}

fn owned(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[test]
fn a_pod_that_comes_has_its_name_and_its_agent_looks_for_it() {
    let mut replan = begun("--all-nodes");
    let mut now = pods();
    now.push(pod("shop/db-0", "node-b", DB));
    let update = change(&mut replan, &now);
    assert_eq!(
        names(&replan, &update, DB),
        [owned("shop/db-0"), owned("shop/db-0")]
    );
    assert_eq!(looks(&update), [("node-b", vec!["shop/cart", "shop/db-0"])]);
    assert!(
        update.joins.is_empty() && update.idle.is_none(),
        "{update:?}"
    );
    assert!(change(&mut replan, &now).is_empty(), "nothing has changed");
}

#[test]
fn a_pod_that_restarts_elsewhere_loses_its_old_address() {
    let mut replan = begun("--all-nodes");
    let now = [pods()[0].clone(), pod("shop/cart", "node-a", DB)];
    let update = change(&mut replan, &now);
    assert_eq!(
        names(&replan, &update, DB),
        [owned("shop/cart"), owned("shop/cart")]
    );
    // What was dropped before belongs to the pod all the same.
    assert_eq!(names(&replan, &update, CART), [owned("shop/cart"), None]);
    assert_eq!(
        looks(&update),
        [
            ("node-a", vec!["default/web", "shop/cart"]),
            ("node-b", vec![])
        ]
    );
}

#[test]
fn a_node_that_joins_gets_an_agent_and_one_that_leaves_loses_it() {
    let mut replan = begun("--all-nodes");
    let known = &mut replan.nodes.known;
    known.take_node(&node("node-c")).expect("an address");
    let mut now = pods();
    now.push(pod("shop/db-0", "node-c", DB));
    let update = change(&mut replan, &now);
    assert_eq!(joins(&update), [("node-c", vec!["shop/db-0"])]);
    assert_eq!(looks(&update), []);
    assert_eq!(update.idle, None);
    assert!(change(&mut replan, &now).is_empty(), "it joins once");

    replan.nodes.known.forget_node("node-b");
    // Its pod is still known for a while, and nothing runs it.
    let update = change(&mut replan, &now);
    assert_eq!(update.idle, idle(&["node-b"]));
    assert_eq!(names(&replan, &update, CART)[1], None);
    assert_eq!(joins(&update), []);

    let known = &mut replan.nodes.known;
    known.take_node(&node("node-b")).expect("an address");
    let update = change(&mut replan, &now);
    assert_eq!(update.idle, idle(&[]));
    assert_eq!(joins(&update), [], "the session starts its agent again");
    assert_eq!(looks(&update), [("node-b", vec!["shop/cart"])]);
}

/// A node's name counts until the node leaves, and again from its return on.
#[test]
fn an_address_has_its_nodes_name_while_the_node_is_there() {
    let address = "192.168.7.98";
    let mut replan = begun("-n shop");
    replan.nodes.known.forget_node("node-b");
    let update = change(&mut replan, &pods());
    assert_eq!(names(&replan, &update, address), [owned("node-b"), None]);
    let mut owners = replan.settings.owners.clone();
    let known = &mut replan.nodes.known;
    known.take_node(&node("node-b")).expect("an address");
    for change in &change(&mut replan, &pods()).owners {
        change.apply(&mut owners);
    }
    let address = address.parse().expect("an address");
    let name = |time| owners.at(address, time).map(|owner| owner.name.clone());
    assert_eq!([STARTED, Owners::LATEST].map(name), [None, owned("node-b")]);
}

#[test]
fn an_agent_that_was_named_leaves_with_its_node() {
    let mut replan = begun("--all-nodes --agent node-b=exec:false");
    replan.nodes.known.forget_node("node-b");
    let update = change(&mut replan, &pods());
    assert_eq!(update.idle, idle(&["node-b"]));
    assert_eq!(update.notices, [""; 0]);
}

#[test]
fn agents_go_along_with_the_pods_of_a_namespace() {
    let mut replan = begun("-n shop");
    assert_eq!(replan.watched, BTreeSet::from(["node-b".to_owned()]));
    // A pod of another namespace is nobody's concern.
    let mut now = pods();
    now.push(pod("default/more", "node-a", "10.244.1.6"));
    assert_eq!(joins(&change(&mut replan, &now)), []);

    now.push(pod("shop/db-0", "node-c", DB));
    let homes = BTreeSet::from(["node-b", "node-c"].map(str::to_owned));
    assert_eq!(replan.homes(now.iter()), homes);
    replan.nodes.known.expect_node("node-c");
    let update = change(&mut replan, &now);
    assert_eq!(joins(&update), [("node-c", vec!["shop/db-0"])]);

    now.retain(|place| place.name != "cart");
    let update = change(&mut replan, &now);
    assert_eq!(update.idle, idle(&["node-b"]));
    // Without any pod, all stays as it is.
    now.retain(|place| place.namespace != "shop");
    let update = change(&mut replan, &now);
    assert_eq!(update.idle, None);
    assert!(
        update.notices[0].contains("namespace shop has no pod"),
        "{:?}",
        update.notices
    );
}

#[test]
fn while_the_only_pod_is_gone_the_others_have_right_names() {
    let mut replan = begun("--pod shop/cart");
    // Another pod gets its address.
    let now = [pods()[0].clone(), pod("default/other", "node-b", CART)];
    let update = change(&mut replan, &now);
    assert_eq!(
        names(&replan, &update, CART),
        [owned("default/other"), owned("default/other")]
    );
    assert_eq!(
        update.notices,
        ["the same nodes are watched for now: there is no pod shop/cart"]
    );
    assert_eq!(looks(&update), [("node-b", vec!["default/other"])]);
    assert!(change(&mut replan, &now).is_empty(), "it was told");

    let now = [now.to_vec(), vec![pod("shop/cart", "node-a", DB)]].concat();
    let update = change(&mut replan, &now);
    assert_eq!(
        update.notices,
        [format!("shop/cart is at {DB} on node-a now")]
    );
    assert_eq!(
        joins(&update),
        [("node-a", vec!["default/web", "shop/cart"])]
    );
    assert_eq!(update.idle, idle(&["node-b"]));
}

#[test]
fn no_more_is_watched_than_what_was_asked_for() {
    let of = |node: &str| {
        let pods = Subject::PodsOn(node.to_owned());
        [pods, Subject::Node(node.to_owned())]
    };
    let pod = Subject::Pod {
        namespace: "shop".to_owned(),
        name: "cart".to_owned(),
    };
    let all = begun("--all-nodes -n shop");
    assert_eq!(all.subjects(), [Subject::AllNodes, Subject::AllPods]);
    // The start reads the chosen pods' nodes only. Here it has read two.
    let both = ["node-a", "node-b"].map(of).concat();
    let of_pod = begun("--pod shop/cart").subjects();
    assert_eq!(of_pod, [&[pod][..], &both].concat());
    assert_eq!(begun("--node node-a").subjects(), both);
    let of_namespace = begun("-n shop").subjects();
    assert!(
        matches!(&of_namespace[0], Subject::Group(group) if group.to_string() == "namespace shop")
    );
}

/// A pod as the API tells of it.
fn told(name: &str, node: &str, address: &str) -> Value {
    let (namespace, name) = name.split_once('/').expect("a namespace and a name");
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace, "uid": format!("{name} on {node}"),
            "resourceVersion": "2",
        },
        "spec": {"nodeName": node, "containers": []},
        "status": {"podIPs": [{"ip": address}], "startTime": "2026-03-01T12:34:56Z"},
    })
}

/// From the API's answers to the session's updates: a pod of the namespace comes to a node that
/// nobody knew, whose other pods are then known, too. The node has no address yet when it is first
/// read, and the server never lists the pods of another node.
#[tokio::test]
async fn the_pods_of_a_new_node_get_their_names() {
    let (events, watched) = std_mpsc::channel();
    let watched = Mutex::new(Some(watched));
    let reads = AtomicU32::new(0);
    let fake = Fake::start(move |path| match path {
        path if path.starts_with("/api/v1/nodes/node-c") => {
            let mut new = json!(node("node-c"));
            if reads.fetch_add(1, Ordering::Relaxed) == 0 {
                new["status"] = json!({});
            }
            Answer::Object(new)
        }
        path if path.starts_with("/api/v1/namespaces/shop/pods") && path.contains("watch=true") => {
            let watched = watched.lock().expect("no thread has panicked").take();
            Answer::Events(watched.expect("they are watched once"))
        }
        path if path.contains("watch=true") => Answer::Silence,
        path if path.starts_with("/api/v1/namespaces/shop/pods") => {
            Answer::List(vec![told("shop/cart", "node-b", CART)])
        }
        path if path.starts_with("/api/v1/nodes") => {
            let is_asked = |name: &&str| path.contains(*name);
            let name = ["node-a", "node-b", "node-c"].into_iter().find(is_asked);
            let name = name.expect("one node is asked for");
            Answer::List(vec![json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                "metadata": {"name": name, "uid": name, "resourceVersion": "2"},
            })])
        }
        path if path.contains("node-a") => Answer::Silence,
        path if path.contains("node-b") => Answer::List(vec![told("shop/cart", "node-b", CART)]),
        _ => Answer::List(vec![told("default/more", "node-c", "10.244.3.5")]),
    });
    let mut replan = begun("-n shop");
    let (to, mut updates) = mpsc::channel::<Update>(4);
    let mut gained = Vec::new();
    let session = async {
        let come = json!({"type": "ADDED", "object": told("shop/db-0", "node-c", DB)});
        events.send(come).expect("the server runs");
        let mut all = Vec::new();
        while !gained.contains(&"node-c".to_owned()) {
            let update = timeout(LIMIT, updates.recv()).await;
            let update = update.expect("the node is read again");
            let update = update.expect("the watch goes on");
            let owners = update.owners.iter();
            assert!(owners.clone().all(|change| change.lost.is_empty()));
            let owners = owners.flat_map(|change| &change.gained);
            gained.extend(owners.map(|one| one.owner.name.clone()));
            all.push(update);
        }
        all
    };
    let updates = tokio::select! {
        ended = replan.watch(fake.cluster(), &to) => panic!("{ended:?}"),
        heard = session => heard,
    };
    // What was known at the start has not changed, so the first update is the pod's.
    assert_eq!(joins(&updates[0]), [("node-c", vec!["shop/db-0"])]);
    assert_eq!(updates[0].notices, [""; 0]);
    assert_eq!(
        looks(&updates[1]),
        [("node-c", vec!["default/more", "shop/db-0"])]
    );
    assert_eq!(gained, ["shop/db-0", "default/more", "node-c"]);
}
