//! Services as ends, with the followed packets on both sides of a translation.

use std::time::Instant;

use super::*;
use crate::inventory::tests::SERVICES;

/// Adds Services and their endpoints to the objects file.
fn resolve_with(line: &str, services: &str) -> Result<Settings, Failure> {
    let objects = format!("{OBJECTS}---{services}");
    resolve(&format!("--agent node-a=local {line}"), Some(&objects))
}

fn with_services(line: &str) -> Settings {
    resolve_with(line, SERVICES).expect("this can be followed")
}

fn refused(line: &str) -> String {
    match resolve_with(line, SERVICES).expect_err("this is no follow") {
        Failure::Other(sentence) | Failure::Syntax(sentence) => sentence,
        Failure::BrokenPipe => panic!("nothing is piped"),
    }
}

/// `A[:PORT] > B[:PORT] PROTO`, sorted.
fn pairs(settings: &Settings) -> Vec<String> {
    let end = |network: ipnet::IpNet, port: Option<u16>| match port {
        Some(port) => format!("{} {port}", network.addr()),
        None => network.addr().to_string(),
    };
    let pairs = settings.pairs.iter().map(|pair| {
        let proto = pair
            .proto
            .map_or_else(String::new, |proto| format!(" ({proto})"));
        let (a, b) = (end(pair.a, pair.a_port), end(pair.b, pair.b_port));
        format!("{a} > {b}{proto}")
    });
    let mut pairs: Vec<String> = pairs.collect();
    pairs.sort();
    pairs
}

fn masqueraded(settings: &Settings) -> Vec<(String, u16, Option<&str>)> {
    let all = settings.masqueraded.iter();
    let all = all.map(|one| {
        let port = one.port.unwrap_or_default();
        (one.to.addr().to_string(), port, one.node.as_deref())
    });
    all.collect()
}

#[test]
fn a_services_packets_are_followed_before_and_after_their_translation() {
    for name in ["--dst-service shop/outside", "--dst shop:svc/outside:5432"] {
        let settings = with_services(&format!("--src-pod web {name}"));
        assert_eq!(
            pairs(&settings),
            [
                "10.244.1.5 > 10.96.0.21 5432 (6)",
                "10.244.1.5 > 192.0.2.9 15432 (6)",
            ]
        );
        // The endpoint is outside of the cluster. The pod's node therefore masquerades packets to
        // it, also those that the node has not translated.
        let node = Some("node-a");
        assert_eq!(
            masqueraded(&settings),
            [
                ("10.96.0.21".to_owned(), 5432, node),
                ("192.0.2.9".to_owned(), 15432, node),
            ]
        );
        assert_eq!(settings.besides, []);
    }
}

#[test]
fn a_port_is_that_of_the_service_or_that_of_the_endpoint() {
    let dns = [
        "10.244.1.5 > 10.244.1.5 5353 (17)",
        "10.244.1.5 > 10.244.2.7 5353 (17)",
        "10.244.1.5 > 10.96.0.20 53 (17)",
        "10.244.1.5 > 198.51.100.7 53 (17)",
        "10.244.1.5 > 203.0.113.80 53 (17)",
        // No endpoint has this family, so no node translates the packet.
        "fd00:1::5 > fd00:96::20 53 (17)",
    ];
    for line in [
        "--src-pod web --dst-service shop/pair:53",
        "--src-pod web --dst-service shop/pair:dns",
        "--src-pod web --dst-service shop/pair --dst-port 53",
        "--src-pod web --dst-service shop/pair --dst-port 5353",
        "--src-pod web --dst-service shop/pair --proto udp",
        "--src-pod web -n shop --dst svc/pair:dns --src-port 999",
    ] {
        let line = line.replace("web -n", "default/web -n");
        let mut settings = with_services(&line);
        for pair in &mut settings.pairs {
            let given = line.contains("999").then_some(999);
            assert_eq!(pair.a_port.take(), given, "{line}");
        }
        assert_eq!(pairs(&settings), dns, "{line}");
    }
    // The user names the pod, so its own port counts as well.
    let pod = |port| {
        let line = format!("--src-pod web --dst-pod shop/cart --dst-port {port}");
        let pairs = pairs(&with_services(&line));
        let to_pod = pairs
            .into_iter()
            .filter(|pair| pair.contains("> 10.244.2.7"));
        to_pod.collect::<Vec<_>>()
    };
    assert_eq!(
        pod(53),
        [
            "10.244.1.5 > 10.244.2.7 53",
            "10.244.1.5 > 10.244.2.7 5353 (17)"
        ]
    );
    assert_eq!(pod(9), ["10.244.1.5 > 10.244.2.7 9"]);
}

#[test]
fn both_families_have_their_own_endpoints_and_ports() {
    let settings = with_services("--src-pod web --dst-service shop/pair:http");
    assert_eq!(
        pairs(&settings),
        [
            "10.244.1.5 > 10.244.1.5 8080 (6)",
            "10.244.1.5 > 10.244.2.7 8080 (6)",
            "10.244.1.5 > 10.96.0.20 80 (6)",
            "10.244.1.5 > 198.51.100.7 80 (6)",
            "10.244.1.5 > 203.0.113.80 80 (6)",
            "fd00:1::5 > fd00:1::5 8081 (6)",
            "fd00:1::5 > fd00:96::20 80 (6)",
        ]
    );
    assert_eq!(
        settings.services,
        [
            None,
            Some("service shop/pair:http (2 ready endpoints)".to_owned())
        ]
    );
}

#[test]
fn a_pod_may_reach_itself_by_a_service() {
    let services = SERVICES.replace("externalIPs: [203.0.113.80]", "externalIPs: []");
    let services = services.replace("[{ip: 198.51.100.7}, {hostname: lb.example}]", "[]");
    let settings =
        resolve_with("--src-pod web --dst-pod web", &services).expect("this can be followed");
    assert_eq!(
        pairs(&settings),
        [
            "10.244.1.5 > 10.244.1.5 5353 (17)",
            "10.244.1.5 > 10.244.1.5 8080 (6)",
            "10.244.1.5 > 10.244.2.7 5353 (17)",
            "10.244.1.5 > 10.244.2.7 8080 (6)",
            "10.244.1.5 > 10.96.0.20 53 (17)",
            "10.244.1.5 > 10.96.0.20 80 (6)",
            "fd00:1::5 > fd00:1::5 8081 (6)",
            "fd00:1::5 > fd00:96::20 53 (17)",
            "fd00:1::5 > fd00:96::20 80 (6)",
        ]
    );
    // Then the packets have an address of the source's own node.
    let node = Some("node-a");
    assert_eq!(
        masqueraded(&settings),
        [
            ("10.244.1.5".to_owned(), 8080, node),
            ("10.244.1.5".to_owned(), 5353, node),
            ("fd00:1::5".to_owned(), 8081, node),
            ("10.96.0.20".to_owned(), 80, node),
            ("10.96.0.20".to_owned(), 53, node),
            ("fd00:96::20".to_owned(), 80, node),
            ("fd00:96::20".to_owned(), 53, node),
            ("10.244.2.7".to_owned(), 8080, node),
            ("10.244.2.7".to_owned(), 5353, node),
        ]
    );
}

#[test]
fn who_is_no_pod_may_use_the_nodes_ports() {
    for source in ["--src node/node-a", "--src-ip 198.18.0.9"] {
        let settings = with_services(&format!("{source} --dst-service shop/pair:http"));
        let pairs = pairs(&settings);
        let ports = pairs.iter().filter(|pair| pair.contains(" 30080 (6)"));
        // Every address of both nodes is a destination, from every address of the source.
        let sources = if source.contains("node") { 2 } else { 1 };
        assert_eq!(ports.count(), 3 * sources, "{pairs:?}");
        assert_eq!(
            masqueraded(&settings),
            [
                ("10.244.1.5".to_owned(), 8080, None),
                ("10.244.2.7".to_owned(), 8080, None),
            ]
        );
    }
}

#[test]
fn a_virtual_address_stands_for_its_service() {
    let settings = with_services("--src-pod web --dst-ip 10.96.0.21");
    assert_eq!(
        pairs(&settings),
        [
            "10.244.1.5 > 10.96.0.21",
            "10.244.1.5 > 192.0.2.9 15432 (6)",
        ]
    );
}

#[test]
fn a_source_that_is_a_service_is_its_pods_or_what_it_answers() {
    let settings = with_services("--src-service shop/pair --dst-ip 198.18.0.9");
    assert_eq!(
        pairs(&settings),
        ["10.244.1.5 > 198.18.0.9", "10.244.2.7 > 198.18.0.9"]
    );
    let settings = with_services("--src-service shop/outside:5432 --dst-pod web");
    let pairs = pairs(&settings);
    assert!(pairs.contains(&"10.96.0.21 5432 > 10.244.1.5 (6)".to_owned()));
    assert!(pairs.contains(&"192.0.2.9 15432 > 10.244.1.5 (6)".to_owned()));
}

#[test]
fn a_service_without_endpoints_is_followed_to_its_address() {
    let settings = with_services("--src-pod web --dst-service shop/empty");
    assert_eq!(pairs(&settings), ["10.244.1.5 > 10.96.0.22 80 (6)"]);
    assert_eq!(
        settings.warnings,
        [
            "service shop/empty has no ready endpoints: nothing that is sent to it can arrive (it \
             has none at all)"
        ]
    );
    assert_eq!(settings.services[1].as_deref(), Some("service shop/empty"));
}

/// The objects say why a Service leads nowhere, or not to all its endpoints.
#[test]
fn a_service_says_where_it_does_not_lead() {
    let warnings = |from: &str, to: &str| {
        assert!(SERVICES.contains(from), "{from}");
        let services = SERVICES.replace(from, to);
        let line = "--src-pod web --dst-service shop/outside";
        let settings = resolve_with(line, &services).expect("this can be followed");
        settings.warnings
    };
    assert_eq!(
        warnings(
            "addresses: [192.0.2.9]",
            "addresses: [192.0.2.9], conditions: {ready: false}"
        ),
        [
            "service shop/outside has no ready endpoints: nothing that is sent to it can arrive \
             (192.0.2.9 is not ready)"
        ]
    );
    assert_eq!(
        warnings("[{port: 15432}]", "[{name: pg, port: 15432}]"),
        [
            "service shop/outside has no endpoint for its port 5432/TCP: no EndpointSlice has that \
             port. Compare the Service's targetPort with the names of the pods' ports"
        ]
    );
    let port = "[{port: 5432, targetPort: 5432}]";
    assert_eq!(
        warnings(port, &format!("{port}, sessionAffinity: ClientIP")),
        [
            "service shop/outside has sessionAffinity ClientIP: all connections of a client go to \
             the same endpoint"
        ]
    );
    assert_eq!(
        warnings(port, &format!("{port}, internalTrafficPolicy: Local")),
        [
            "service shop/outside has internalTrafficPolicy Local and no ready endpoint on node-a: \
             packets to the Service from node-a are dropped"
        ]
    );
}

/// The note is about packets from outside. Packets of pods and nodes go to all endpoints.
#[test]
fn a_service_says_which_nodes_accept_packets_from_outside() {
    let local = "externalTrafficPolicy: Local\n    type: LoadBalancer";
    let services = SERVICES.replace("type: LoadBalancer", local);
    let warnings = |source: &str| {
        let line = format!("{source} --dst-service shop/pair:http");
        let settings = resolve_with(&line, &services).expect("this can be followed");
        let all = settings.warnings.into_iter();
        all.filter(|line| line.contains("Policy"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        warnings("--src-ip 198.18.0.9"),
        [
            "service shop/pair has externalTrafficPolicy Local: nodes without an endpoint drop \
             packets from outside (ready endpoints are on node-a, node-b)"
        ]
    );
    for inside in ["--src-pod web", "--src node/node-a"] {
        assert!(warnings(inside).is_empty(), "{inside}");
    }
}

/// A file of objects may lack EndpointSlices. Then it is unknown whether packets can arrive.
#[test]
fn a_service_whose_endpoints_were_not_read_is_not_said_to_have_none() {
    let objects = SERVICES.replace("service-name: empty", "service-name: another");
    let line = "--src-pod web --dst-service shop/empty";
    let settings = resolve_with(line, &objects).expect("this can be followed");
    assert_eq!(
        settings.warnings,
        [
            "no EndpointSlice of service shop/empty was read, so its endpoints are not known: \
          `kubectl get endpointslices` lists those that there are"
        ]
    );
}

#[test]
fn a_service_that_cannot_be_followed_is_refused() {
    let sentence = |name: &str| refused(&format!("--src-pod web --dst-service {name}"));
    assert_eq!(
        sentence("shop/alias"),
        "service shop/alias is of the type ExternalName and has no addresses: follow those of \
         db.example.com with --src-ip or --dst-ip"
    );
    let ports = "it has http 80/TCP and dns 53/UDP";
    assert_eq!(
        sentence("shop/pair:81"),
        format!("service shop/pair has no port 81: {ports}")
    );
    assert_eq!(
        sentence("shop/pair:htp"),
        format!("service shop/pair has no port htp: {ports}")
    );
    assert_eq!(
        sentence("shop/pair --proto sctp"),
        format!("service shop/pair has no port of this --proto: {ports}")
    );
    assert_eq!(
        sentence("shop/outsid"),
        "objects.yaml holds no service shop/outsid: did you mean shop/outside?"
    );
    assert_eq!(
        sentence("pair"),
        "objects.yaml holds no service default/pair, but shop/pair: name the service with its \
         namespace"
    );
    assert_eq!(
        refused("--src-service shop/empty --dst-pod web"),
        "service shop/empty has no endpoints, so there is no address to follow: `kubectl get \
         endpointslices` shows why"
    );
}

#[test]
fn a_large_cluster_is_planned_at_once() {
    let mut services = String::from("\nkind: List\nitems:\n");
    for service in 0..10_000 {
        let (a, b) = (service / 250, service % 250);
        let endpoints = (0..10).map(|n| {
            format!(
                "{{addresses: [10.{}.{}.{b}], nodeName: node-b}}",
                50 + n * 5 + a / 200,
                a % 200
            )
        });
        let endpoints: Vec<String> = endpoints.collect();
        services += &format!(
            "- {{kind: Service, metadata: {{name: s{service}, namespace: shop}}, spec: \
             {{clusterIPs: [10.97.{a}.{b}], ports: [{{port: 80}}]}}}}\n- {{kind: EndpointSlice, \
             metadata: {{name: s{service}, namespace: shop, labels: \
             {{kubernetes.io/service-name: s{service}}}}}, ports: [{{port: 8080}}], endpoints: \
             [{}]}}\n",
            endpoints.join(", ")
        );
    }
    let objects = format!("{OBJECTS}---{services}");
    let path = Path::new("objects.yaml");
    let inventory = Inventory::parse(path, objects.as_bytes()).expect("objects");
    for (line, expected) in [
        (
            "--agent node-a=local --src-pod web --dst-service shop/s9999",
            11,
        ),
        ("--agent node-a=local --src-pod web --dst-ip 10.50.3.7", 11),
        ("--agent node-a=local --src-pod web --dst-pod shop/cart", 1),
    ] {
        let args = arguments(line).expect("the syntax is right");
        let objects = Objects {
            inventory: Some(inventory.clone()),
            ..Objects::default()
        };
        let begin = Instant::now();
        let settings = Settings::with(&args, &objects).expect("this can be followed");
        // This is the limit of a debug build. A release build takes a hundredth.
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "{:?}",
            begin.elapsed()
        );
        assert_eq!(settings.pairs.len(), expected, "{line}");
    }
}
#[test]
fn a_pod_is_reached_by_each_service_that_leads_there() {
    // web is an endpoint as well, so its packets to the Service may come back to it.
    let settings = with_services("--src-pod web --dst-pod shop/cart");
    assert_eq!(
        pairs(&settings),
        [
            "10.244.1.5 > 10.244.1.5 5353 (17)",
            "10.244.1.5 > 10.244.1.5 8080 (6)",
            "10.244.1.5 > 10.244.2.7",
            "10.244.1.5 > 10.96.0.20 53 (17)",
            "10.244.1.5 > 10.96.0.20 80 (6)",
            "10.244.1.5 > 198.51.100.7 53 (17)",
            "10.244.1.5 > 198.51.100.7 80 (6)",
            "10.244.1.5 > 203.0.113.80 53 (17)",
            "10.244.1.5 > 203.0.113.80 80 (6)",
        ]
    );
    let names = |ends: &[End]| -> Vec<String> {
        let real = ends.iter().filter(|end| end.is_real());
        real.map(ToString::to_string).collect()
    };
    assert_eq!(names(&settings.destinations), ["shop/cart"]);
    assert_eq!(names(&settings.besides), ["default/web"]);
    assert_eq!(settings.services, [None, None]);
    // A pod's packets to an external address get the node's address.
    let node = Some("node-a");
    assert_eq!(
        masqueraded(&settings),
        [
            ("10.244.2.7".to_owned(), 8080, None),
            ("10.244.2.7".to_owned(), 5353, None),
            ("10.96.0.20".to_owned(), 80, node),
            ("10.96.0.20".to_owned(), 53, node),
            ("203.0.113.80".to_owned(), 80, node),
            ("203.0.113.80".to_owned(), 53, node),
            ("198.51.100.7".to_owned(), 80, node),
            ("198.51.100.7".to_owned(), 53, node),
            ("10.244.1.5".to_owned(), 8080, None),
            ("10.244.1.5".to_owned(), 5353, None),
        ]
    );
}

#[test]
fn dns_covers_any_server_and_the_endpoints_of_dns_services() {
    let settings = with_services("--src-pod web --dns");
    assert_eq!(
        pairs(&settings),
        [
            "10.244.1.5 > 0.0.0.0 53 (17)",
            "10.244.1.5 > 0.0.0.0 53 (6)",
            "10.244.1.5 > 10.244.1.5 5353 (17)",
            "10.244.1.5 > 10.244.2.7 5353 (17)",
            "fd00:1::5 > :: 53 (17)",
            "fd00:1::5 > :: 53 (6)",
        ]
    );
    let node = Some("node-a");
    let anybody = |address: &str| (address.to_owned(), 53, node);
    let masqueraded = masqueraded(&settings);
    for address in ["0.0.0.0", "::"] {
        let own = masqueraded.iter().filter(|one| **one == anybody(address));
        assert_eq!(own.count(), 2, "{masqueraded:?}");
    }
    assert_eq!(settings.by, [("shop".to_owned(), "pair".to_owned())]);
    let settings = with_services("--src-pod web --dns --proto tcp");
    assert_eq!(
        pairs(&settings),
        ["10.244.1.5 > 0.0.0.0 53 (6)", "fd00:1::5 > :: 53 (6)"]
    );
    assert_eq!(
        refused("--src-pod web --dns --dst-port 5353"),
        "DNS is asked at port 53, so --dns takes no --dst-port: leave one of them out"
    );
    for proto in ["icmp", "sctp"] {
        assert_eq!(
            refused(&format!("--src-pod web --dns --proto {proto}")),
            "DNS uses UDP and TCP: with --dns, leave out --proto, or give udp or tcp"
        );
    }
}

#[test]
fn what_leaves_the_cluster_may_have_its_nodes_address() {
    let node = Some("node-a");
    for (line, to, port) in [
        ("--dst-ip 203.0.113.9 --dst-port 443", "203.0.113.9", 443),
        ("--dst 203.0.113.0/24", "203.0.113.0", 0),
        ("--dst node/node-b", "192.168.7.2", 0),
    ] {
        let settings = with_services(&format!("--src-pod web {line}"));
        let all = masqueraded(&settings);
        assert_eq!(all, [(to.to_owned(), port, node)], "{line}");
    }
    // Packets between pods keep their addresses.
    for line in ["--dst-ip 10.244.2.99", "--dst 10.244.0.0/16"] {
        let settings = with_services(&format!("--src-pod web {line}"));
        assert_eq!(settings.masqueraded, [], "{line}");
    }
}
