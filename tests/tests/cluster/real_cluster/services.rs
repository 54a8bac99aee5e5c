//! kube-proxy's translation of packets to Services, and CoreDNS behind a Service.

use anyhow::Result;
use serde_json::Value;
use tracer_tests::{
    cluster::{Agents, Cluster},
    program::{Finished, LIMIT, Tracer},
};

use super::clean::failed;

/// The target port of the shop's Service.
const BEHIND: u64 = 8080;

/// Follows from the shop's web to an end, on all nodes.
fn follow(cluster: &Cluster, to: [&str; 2]) -> Result<Tracer> {
    let mut tracer = cluster.tracer()?;
    tracer.args(["follow", "-o", "json", "--src-pod", "shop/web"]);
    tracer.args(to);
    for node in cluster.nodes()? {
        tracer.args(["--agent", &cluster.agent(&node, Agents::Netns)?]);
    }
    Tracer::start(&mut tracer)
}

/// Makes the shop's web send requests to a Service. Returns the names of the pods that answered.
fn ask(cluster: &Cluster, name: &str, times: usize) -> Result<Vec<String>> {
    let web = cluster.pod("web", None)?;
    let script = format!(
        "set -e; for i in $(seq {times}); do curl -sS -m 5 {name}.shop.svc.cluster.local; done"
    );
    let answers = cluster.in_pod(&web, &script)?;
    Ok(answers.lines().map(str::to_owned).collect())
}

/// Waits until servers have closed so many connections of the web.
fn wait_for_ends(tracer: &mut Tracer, connections: usize) -> Result<()> {
    let mut ends = 0;
    let last = |value: &Value| {
        let flags = value["packet"]["tcp"]["flags"].as_str().unwrap_or_default();
        ends += usize::from(flags.contains("FIN") && value["direction"] == "reply");
        ends == connections
    };
    tracer.wait_for(last, LIMIT).map(drop)
}

/// The translations on a journey's way.
fn translations(journey: &Value) -> Vec<&Value> {
    let hops = journey["hops"].as_array().into_iter().flatten();
    let lists = hops.filter_map(|hop| hop["translations"].as_array());
    lists.flatten().collect()
}

/// The names of the pods to which SYNs were translated, in order.
fn backends(finished: &Finished) -> Vec<String> {
    let is_syn = |journey: &&Value| journey["packet"]["tcp"]["flags"] == "SYN";
    let syns = finished.journeys.iter().filter(is_syn);
    let mut names: Vec<String> = syns
        .map(|syn| match &translations(syn)[..] {
            [dnat] if dnat["kind"] == "dnat" && dnat["to"]["port"] == BEHIND => {
                dnat["name"].as_str().expect("a pod").to_owned()
            }
            others => panic!("{others:?} of {syn}"),
        })
        .collect();
    names.sort_unstable();
    names
}

fn check(finished: &Finished) {
    let lost: Vec<_> = finished.journeys.iter().filter(|one| failed(one)).collect();
    assert!(lost.is_empty(), "{lost:#?}\n{}", finished.stderr);
    let data = |journey: &&Value| journey["packet"]["proto"] == "tcp";
    for journey in finished.journeys.iter().filter(data) {
        let kind = match journey["direction"].as_str() {
            Some("request") => "dnat",
            _ => "reverse-dnat",
        };
        let seen = translations(journey);
        assert!(
            matches!(&seen[..], [one] if one["kind"] == kind),
            "{journey}"
        );
    }
    assert!(finished.status.success(), "{}", finished.stderr);
}

#[test]
fn every_packet_to_a_service_is_one_journey_to_the_pod_that_answers() -> Result<()> {
    const TIMES: usize = 12;
    let cluster = Cluster::up()?;
    let mut tracer = follow(&cluster, ["--dst-service", "shop/cart:80"])?;
    tracer.wait_started(LIMIT)?;
    let mut answers = ask(&cluster, "cart", TIMES)?;
    wait_for_ends(&mut tracer, TIMES)?;
    let finished = tracer.stop()?;
    check(&finished);
    answers.sort_unstable();
    let expected: Vec<String> = answers.iter().map(|name| format!("shop/{name}")).collect();
    assert_eq!(backends(&finished), expected);
    // The summary's others say nothing here: the kubelet probes these pods every 3 s from a node's
    // address, by which a masqueraded packet of web's would come, too.
    Ok(())
}

#[test]
fn of_a_pod_behind_a_service_only_its_own_packets_are_shown() -> Result<()> {
    const TIMES: usize = 20;
    let cluster = Cluster::up()?;
    let cart = cluster.pod("cart-", Some("node-b"))?;
    let path = cart.path();
    let mut tracer = follow(&cluster, ["--dst-pod", &path])?;
    tracer.wait_started(LIMIT)?;
    let mut own = 0;
    let mut others = 0;
    // kube-proxy chooses the pod at random.
    while own == 0 || others == 0 {
        let answers = ask(&cluster, "cart", TIMES)?;
        let mine = answers.iter().filter(|name| **name == cart.name).count();
        own += mine;
        others += answers.len() - mine;
    }
    wait_for_ends(&mut tracer, own)?;
    let finished = tracer.stop()?;
    check(&finished);
    assert_eq!(backends(&finished), vec![path; own]);
    let counted = finished.summary["others"].as_u64().unwrap_or(0);
    // A connection has eight packets at least.
    assert!(counted >= 8 * others as u64, "{counted} of {others} others");
    Ok(())
}

#[test]
fn a_question_to_the_clusters_dns_is_answered_over_its_service() -> Result<()> {
    let cluster = Cluster::up()?;
    let web = cluster.pod("web", None)?;
    let mut tracer = follow(&cluster, ["--dst-service", "kube-system/kube-dns:dns"])?;
    tracer.wait_started(LIMIT)?;
    cluster.in_pod(&web, "curl -sS -m 5 cart.shop.svc.cluster.local")?;
    let is_answer =
        |value: &Value| !value["answers"].is_null() && value["packet"]["src_port"] == 53;
    tracer.wait_for(is_answer, LIMIT)?;
    let finished = tracer.stop()?;
    let is_query = |journey: &&Value| journey["packet"]["dst_port"] == 53;
    let queries: Vec<&Value> = finished.journeys.iter().filter(is_query).collect();
    assert!(!queries.is_empty());
    for query in queries {
        let seen = translations(query);
        let name = |one: &Value| one["name"].as_str().unwrap_or_default().to_owned();
        let is_coredns = |one: &Value| name(one).starts_with("kube-system/coredns-");
        assert!(matches!(&seen[..], [one] if is_coredns(one)), "{query}");
        assert_eq!(query["dst_service"], "kube-system/kube-dns");
        assert_eq!(query["verdict"]["kind"], "delivered");
    }
    Ok(())
}
