//! Whole command lines: the settings they lead to, and the sentences for wrong ones.

mod examples;
mod refusals;
mod services;

use std::{path::Path, slice, time::Duration};

use clap::{CommandFactory as _, Parser as _};

use tracer_core::model::Pair;

use super::{
    AgentSpec, Arguments, Command, End, EndKind, Failure, FollowArgs, Settings, Shape, ShapeArgs,
    agents, load::Objects, settings,
};
use crate::{
    inventory::{Inventory, tests::OBJECTS},
    link::Place,
};

fn arguments(line: &str) -> Result<Box<FollowArgs>, clap::Error> {
    let words = ["tracer", "follow"]
        .into_iter()
        .chain(line.split_whitespace());
    match Arguments::try_parse_from(words)?.command {
        Command::Follow(args) => Ok(args),
        other => panic!("{other:?} is no follow"),
    }
}

fn resolve(line: &str, objects: Option<&str>) -> Result<Settings, Failure> {
    let args = arguments(line).expect("the syntax is right");
    let path = Path::new("objects.yaml");
    let inventory =
        objects.map(|text| Inventory::parse(path, text.as_bytes()).expect("the objects are fine"));
    settings::check(&args.watch)?;
    let objects = Objects {
        inventory,
        ..Objects::default()
    };
    Ok(Settings::with(&args, &objects)?)
}

/// Settings with the objects file, and with this machine as node-a.
fn settings(line: &str) -> Settings {
    resolve(&format!("--agent node-a=local {line}"), Some(OBJECTS)).expect("this can be followed")
}

fn end(network: &str, name: Option<&str>, node: Option<&str>) -> End {
    End {
        network: network.parse().expect("a network"),
        name: name.map(str::to_owned),
        node: node.map(str::to_owned),
        kind: EndKind::Named,
        ports: Vec::new(),
    }
}

/// The two networks of each pair.
fn ends(pairs: &[Pair]) -> Vec<(String, String)> {
    let ends = pairs.iter().map(|pair| (pair.a, pair.b));
    ends.map(|(a, b)| (a.to_string(), b.to_string())).collect()
}

const ADDRESSES: &str = "--src-ip 10.244.1.5 --dst-ip 10.244.2.7";

#[test]
fn the_command_is_well_formed() {
    Arguments::command().debug_assert();
}

#[test]
fn every_help_has_examples_and_says_what_a_hop_is() {
    let mut command = Arguments::command();
    command.build();
    let help = |command: &clap::Command| command.clone().render_long_help().to_string();
    let has = |help: &str, sentence: &str| {
        // The comparison ignores how lines are wrapped.
        let words: Vec<_> = help.split_whitespace().collect();
        words.join(" ").contains(sentence)
    };
    let what_a_hop_is = "A hop is one packet seen at one observation point";
    assert!(has(&help(&command), what_a_hop_is));
    for command in command.get_subcommands() {
        let name = command.get_name();
        let help = help(command);
        assert!(name == "help" || help.contains("\nEXAMPLES\n"), "{name}");
        assert_eq!(has(&help, what_a_hop_is), name == "follow", "{name}");
    }
}

#[test]
fn defaults_are_filled_in() {
    let settings = resolve(ADDRESSES, None).expect("addresses need nothing else");
    assert_eq!(settings.sources, [end("10.244.1.5/32", None, None)]);
    assert_eq!(settings.destinations, [end("10.244.2.7/32", None, None)]);
    assert_eq!(settings.proto, None);
    assert_eq!((settings.src_port, settings.dst_port), (None, None));
    assert_eq!((settings.duration, settings.count), (None, None));
    assert_eq!(settings.query, None);
    assert_eq!(settings.hold, Duration::from_secs(5));
    assert_eq!(settings.shape, ShapeArgs::default());
    assert!(!settings.dry_run && !settings.pod_interfaces);
    assert_eq!(settings.xdp, None);
    assert_eq!(settings.vxlan_ports, [8472, 4789]);
    assert_eq!(settings.ring_size, 4 << 20);
    assert_eq!(settings.budget, 50_000);
    assert!(settings.owners.is_empty() && settings.node_addresses.is_empty());
    assert!(settings.warnings.is_empty());
    let [agent] = &settings.agents[..] else {
        panic!("one agent: {:?}", settings.agents);
    };
    assert_eq!(agent.place, Place::Local);
    assert!(!agent.node.is_empty());
}

#[test]
fn every_argument_reaches_the_settings() {
    let settings = settings(
        "--src-pod web --dst-pod shop/cart --proto tcp --src-port 40000 --dst-port 8080 \
         --where port:80 --duration 90s --count 7 --hold 500ms -o json --dry-run --pod-interfaces \
         --xdp=eth0,eth1 --xdp-mode generic --vxlan-port 5000 --vxlan-port 4789 --ring-size 64KiB \
         --budget 1000",
    );
    assert_eq!(settings.proto, Some(6));
    assert_eq!(
        (settings.src_port, settings.dst_port),
        (Some(40000), Some(8080))
    );
    assert_eq!(settings.duration, Some(Duration::from_secs(90)));
    assert_eq!(settings.count, Some(7));
    assert_eq!(settings.query, Some("port:80".parse().expect("a query")));
    assert_eq!(settings.hold, Duration::from_millis(500));
    assert_eq!(settings.shape.output, Some(Shape::Json));
    assert!(settings.dry_run && settings.pod_interfaces);
    let xdp = settings.xdp.expect("it was asked for");
    assert_eq!(
        (xdp.interfaces.join(" "), xdp.generic),
        ("eth0 eth1".to_owned(), true)
    );
    assert_eq!(settings.vxlan_ports, [5000, 4789, 8472]);
    assert_eq!((settings.ring_size, settings.budget), (65536, 1000));
}

#[test]
fn xdp_alone_names_no_interface_and_is_in_the_driver() {
    let xdp = settings("--xdp --src-pod web --dst-pod shop/cart").xdp;
    assert_eq!(xdp, Some(tracer_core::request::Xdp::default()));
}

#[test]
fn pods_become_their_addresses_with_a_partner() {
    let one_family = settings("--src-pod web --dst-pod shop/cart");
    let web = end("10.244.1.5/32", Some("default/web"), Some("node-a"));
    let cart = end("10.244.2.7/32", Some("shop/cart"), Some("node-b"));
    // cart has no IPv6 address, so the IPv6 address of web has no partner.
    assert_eq!(one_family.sources, slice::from_ref(&web));
    assert_eq!(one_family.destinations, slice::from_ref(&cart));
    let pair = |source: &str, destination: &str| (source.to_owned(), destination.to_owned());
    let only = [pair("10.244.1.5/32", "10.244.2.7/32")];
    assert_eq!(ends(&one_family.pairs), only);
    assert_eq!(one_family.node_addresses["node-b"].len(), 1);
    assert_eq!(one_family.owners.len(), 7);

    let objects = OBJECTS.replace(
        "[{ip: 10.244.2.7}]",
        r#"[{ip: 10.244.2.7}, {ip: "fd00:2::7"}]"#,
    );
    let line = "--agent node-a=local --src-pod web --dst-pod shop/cart";
    let both = resolve(line, Some(&objects)).expect("this can be followed");
    assert_eq!((both.sources.len(), both.destinations.len()), (2, 2));
    assert_eq!(
        ends(&both.pairs),
        [
            pair("10.244.1.5/32", "10.244.2.7/32"),
            pair("fd00:1::5/128", "fd00:2::7/128"),
        ]
    );
}

#[test]
fn all_ways_to_name_an_end_mean_the_same() {
    let expected = settings("--src-pod web --dst-pod shop/cart");
    for line in [
        "--src-pod default/web --dst-pod shop/cart",
        "--src pod/web --dst shop:pod/cart",
        "--src-ip 10.244.1.5 --dst-ip 10.244.2.7",
        "--src 10.244.1.5 --dst 10.244.2.7/32",
        "-n shop --src-pod default/web --dst-pod cart",
        "--namespace shop --src default:pod/web --dst po/cart",
    ] {
        assert_eq!(settings(line), expected, "{line}");
    }
}

#[test]
fn a_network_lives_on_the_node_that_holds_all_of_it() {
    let settings = settings("--src 10.244.1.99/25 --dst 10.0.0.0/8");
    assert_eq!(
        settings.sources,
        [end("10.244.1.0/25", None, Some("node-a"))]
    );
    assert_eq!(settings.destinations, [end("10.0.0.0/8", None, None)]);
    assert_eq!(settings.sources[0].address(), None);
    assert_eq!(settings.sources[0].to_string(), "10.244.1.0/25");
}

#[test]
fn protocols_are_numbers() {
    for (name, number) in [
        ("any", None),
        ("tcp", Some(6)),
        ("udp", Some(17)),
        ("icmp", Some(1)),
        ("sctp", Some(132)),
    ] {
        let settings = resolve(&format!("{ADDRESSES} --proto {name}"), None).expect("a protocol");
        assert_eq!(settings.proto, number);
    }
}

#[test]
fn an_end_on_an_unwatched_node_is_warned_of() {
    let warnings = |line| settings(line).warnings;
    let of = |end: &str| {
        format!(
            "{end} runs on node-b, which no agent watches: packets to it are shown as left, \
             unless they are answered"
        )
    };
    let cart = [of("shop/cart")];
    assert_eq!(warnings("--src-pod web --dst-pod shop/cart"), cart);
    assert_eq!(warnings("--src-pod web --dst-ip 10.244.2.7"), cart);
    let other = [of("10.244.2.99")];
    assert_eq!(warnings("--src-pod web --dst-ip 10.244.2.99"), other);
    assert!(warnings("--src-pod web --dst-ip 10.244.1.9").is_empty());
    assert!(warnings("--src-pod web --dst-ip 8.8.8.8").is_empty());

    let objects = Inventory::parse(Path::new("o"), OBJECTS.as_bytes()).expect("they are fine");
    let agents = ["node-a", "node-b"].map(|node| AgentSpec {
        node: node.to_owned(),
        place: Place::Local,
    });
    let web = end("10.244.1.5/32", Some("default/web"), Some("node-a"));
    let cart = end("10.244.2.7/32", Some("shop/cart"), Some("node-b"));
    let warnings = agents::unwatched(&agents, Some(&objects), &[web, cart].iter());
    assert!(warnings.expect("both are watched").is_empty());
}
