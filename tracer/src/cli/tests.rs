//! Whole command lines: what they mean, and the sentence for those that mean nothing.

use std::{fs, net::IpAddr, path::Path, process, time::Duration};

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};

use super::{
    AgentSpec, Arguments, Command, End, Failure, FollowArgs, Output, Place, Settings, settings,
};
use crate::inventory::{Inventory, tests::OBJECTS};

/// A namespace that is there on every machine.
const SELF: &str = "node-a=netns:/proc/self/ns/net";

fn arguments(line: &str) -> Result<Box<FollowArgs>, clap::Error> {
    let words = ["tracer", "follow"].into_iter().chain(line.split_whitespace());
    match Arguments::try_parse_from(words)?.command {
        Command::Follow(args) => Ok(args),
        other => panic!("{other:?} is no follow"),
    }
}

fn resolve(line: &str, objects: Option<&str>) -> Result<Settings, Failure> {
    let args = arguments(line).expect("the syntax is right");
    let path = Path::new("objects.yaml");
    let inventory = objects.map(|text| {
        Inventory::parse(path, text.as_bytes()).expect("the objects are fine")
    });
    settings::check(&args)?;
    Ok(Settings::with(&args, inventory.as_ref())?)
}

/// With the objects file, and this machine for node-a.
fn settings(line: &str) -> Settings {
    resolve(&format!("--agent node-a=local {line}"), Some(OBJECTS)).expect("this can be followed")
}

/// What is said of a line without and with the objects file.
fn failure(line: &str) -> Failure {
    resolve(line, None).expect_err("this means nothing")
}

fn failure_in_cluster(line: &str) -> Failure {
    resolve(line, Some(OBJECTS)).expect_err("this means nothing")
}

fn other(sentence: &str) -> Failure {
    Failure::Other(sentence.to_owned())
}

fn syntax(sentence: &str) -> Failure {
    Failure::Syntax(sentence.to_owned())
}

fn end(network: &str, name: Option<&str>, node: Option<&str>) -> End {
    End {
        network: network.parse().expect("a network"),
        name: name.map(str::to_owned),
        node: node.map(str::to_owned),
    }
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
    let what_a_hop_is = "A hop is one packet seen at one observation point";
    assert!(help(&command).contains(what_a_hop_is));
    for command in command.get_subcommands() {
        let name = command.get_name();
        let help = help(command);
        assert!(name == "help" || help.contains("\nEXAMPLES\n"), "{name}");
        assert_eq!(help.contains(what_a_hop_is), name == "follow", "{name}");
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
    assert_eq!(settings.hold, Duration::from_secs(5));
    assert_eq!(settings.output, Output::Text);
    assert!(!settings.dry_run && !settings.pod_interfaces);
    assert_eq!(settings.vxlan_ports, [8472, 4789]);
    assert_eq!(settings.ring_size, 8 << 20);
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
         --duration 90s --count 7 --hold 500ms -o json --dry-run --pod-interfaces \
         --vxlan-port 5000 --vxlan-port 4789 --ring-size 64KiB --budget 1000 --agent node-b=netns:/proc/1/ns/net",
    );
    assert_eq!(settings.proto, Some(6));
    assert_eq!((settings.src_port, settings.dst_port), (Some(40000), Some(8080)));
    assert_eq!(settings.duration, Some(Duration::from_secs(90)));
    assert_eq!(settings.count, Some(7));
    assert_eq!(settings.hold, Duration::from_millis(500));
    assert_eq!(settings.output, Output::Json);
    assert!(settings.dry_run && settings.pod_interfaces);
    assert_eq!(settings.vxlan_ports, [5000, 4789, 8472]);
    assert_eq!((settings.ring_size, settings.budget), (65536, 1000));
}
