//! Command lines of `tracer drops`.

use std::path::Path;

use clap::Parser as _;

use super::*;
use crate::{
    cli::{Arguments, Command},
    inventory::tests::OBJECTS,
};

/// The settings of a command line, with these objects.
pub(crate) fn settings(line: &str, inventory: Option<Inventory>) -> Result<DropsSettings, String> {
    let words = ["tracer", "drops"]
        .into_iter()
        .chain(line.split_whitespace());
    let args = match Arguments::try_parse_from(words).map(|arguments| arguments.command) {
        Ok(Command::Drops(args)) => args,
        Ok(other) => panic!("{other:?} is not about drops"),
        Err(error) => return Err(error.to_string()),
    };
    let objects = Objects {
        inventory,
        ..Objects::default()
    };
    DropsSettings::with(&args, &objects).map_err(|error| error.to_string())
}

fn resolve(line: &str, objects: bool) -> Result<DropsSettings, String> {
    let inventory = objects.then(|| {
        Inventory::parse(Path::new("objects.yaml"), OBJECTS.as_bytes())
            .expect("the objects are fine")
    });
    settings(line, inventory)
}

#[test]
fn without_arguments_it_is_this_machine() {
    let settings = resolve("", false).expect("nothing is needed");
    assert_eq!(settings.agents.len(), 1);
    assert_eq!(
        (settings.chosen, settings.count, settings.duration),
        (None, None, None)
    );
    assert_eq!(settings.vxlan_ports, [8472, 4789]);
}

#[test]
fn a_pod_and_its_node_are_looked_up() {
    let settings = resolve(
        "--agent node-a=local --pod web --node node-a --count 3 --duration 2s",
        true,
    )
    .expect("all of it is there");
    assert_eq!(settings.chosen, Some(Chosen::Pod("default/web".to_owned())));
    assert_eq!(settings.count, Some(3));
    assert!(settings.live.is_none(), "a file does not change");
}

#[test]
fn a_namespace_is_looked_up_with_its_nodes() {
    let settings = resolve("-n shop --agent node-b=local", true).expect("it has pods");
    assert_eq!(settings.chosen, Some(Chosen::Namespace("shop".to_owned())));
    assert_eq!(settings.warnings, [""; 0]);
    let settings = resolve("-n shop --agent node-a=local", true).expect("one node is watched");
    let [warning] = &settings.warnings[..] else {
        panic!("{:?}", settings.warnings);
    };
    assert!(warning.starts_with("no agent watches node-b"), "{warning}");
    let error = resolve("-n nowhere --agent node-a=local", true).expect_err("it has no pods");
    assert!(error.starts_with("namespace nowhere has no pod"), "{error}");
}

#[test]
fn explaining_can_be_switched_on_and_off() {
    let explain = |line| resolve(line, false).map(|settings| settings.explain);
    assert_eq!(explain("--explain"), Ok(true));
    assert_eq!(explain("--explain=true"), Ok(true));
    assert_eq!(explain("--explain=false"), Ok(false));
    assert!(explain("--explain=perhaps").is_err());
}

#[test]
fn what_is_not_there_is_named() {
    let refused = |line| resolve(line, true).expect_err("not there");
    assert!(refused("--agent node-a=local --pod nobody").contains("default/nobody"));
    assert!(refused("").contains("--agent NODE=local"));
    let unwatched = refused("--agent node-a=local --node node-b");
    assert!(unwatched.contains("--agent node-b=local"), "{unwatched}");
    assert!(refused("--agent node-a=local --node nowhere").contains("nowhere"));
    assert!(refused("--pod a/b/c").contains("NAMESPACE/NAME"));
    assert!(refused("--count 0").contains("from 1 on"));
}

#[test]
fn all_nodes_of_a_file_need_an_agent_each() {
    let settings = resolve("--all-nodes --agent node-a=local", true).expect("one is watched");
    assert_eq!(settings.agents.len(), 1);
    let [warning] = &settings.warnings[..] else {
        panic!("{:?}", settings.warnings);
    };
    assert!(warning.starts_with("no agent watches node-b"), "{warning}");
    let error = resolve("--all-nodes --node node-a", true).expect_err("it is one or the other");
    assert!(error.contains("cannot be used with"), "{error}");
}
