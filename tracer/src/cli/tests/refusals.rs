//! Command lines that are refused.

use clap::error::ErrorKind;

use super::{ADDRESSES, arguments, resolve};
use crate::{
    cli::{Failure, Settings},
    inventory::tests::OBJECTS,
};

/// The failure of a command line without the objects file.
fn failure(line: &str) -> Failure {
    resolve(line, None).expect_err("this means nothing")
}

/// The failure of a command line with the objects file.
fn failure_in_cluster(line: &str) -> Failure {
    resolve(line, Some(OBJECTS)).expect_err("this means nothing")
}

fn other(sentence: &str) -> Failure {
    Failure::Other(sentence.to_owned())
}

fn syntax(sentence: &str) -> Failure {
    Failure::Syntax(sentence.to_owned())
}

#[test]
fn a_cluster_that_cannot_be_asked_is_a_failure() {
    let line = "--src-pod web --dst-ip 10.244.2.7 --kubeconfig /nonexistent/config";
    let error = Settings::resolve(&arguments(line).expect("the syntax is right"));
    let sentence = error.expect_err("no such file").to_string();
    assert_eq!(
        sentence,
        "the kubeconfig /nonexistent/config cannot be read (No such file or directory (os error \
         2)): name another with --kubeconfig FILE"
    );
}

#[test]
fn pods_that_are_named_together_are_in_no_file() {
    assert_eq!(
        failure_in_cluster("--agent node-a=local --src deploy/web --dst-pod shop/cart"),
        other(
            "only the Kubernetes API lists the pods of deployment default/web, and \
             objects.yaml does not: name a pod, or leave out --inventory"
        )
    );
}

#[test]
fn names_that_nobody_has_are_failures() {
    assert_eq!(
        failure_in_cluster("--agent node-a=local --src-pod wep --dst-pod shop/cart"),
        other("objects.yaml holds no pod default/wep: did you mean default/web?")
    );
    assert_eq!(
        failure_in_cluster(&format!("{ADDRESSES} --agent node-x=local")),
        other("objects.yaml holds no node node-x: it has node-a and node-b")
    );
    let line = format!("{ADDRESSES} --inventory /nonexistent/objects.yaml");
    let error = Settings::resolve(&arguments(&line).expect("the syntax is right"));
    let sentence = error.expect_err("no such file").to_string();
    assert!(sentence.starts_with("the objects file /nonexistent/objects.yaml cannot be read ("));
}

#[test]
fn somebody_must_look_somewhere() {
    assert_eq!(
        failure_in_cluster("--src-pod web --dst-pod shop/cart"),
        other(
            "no agent for node-a and node-b: add --agent node-a=local if this machine is node-a, or \
             --agent node-a=exec:COMMAND"
        )
    );
    assert_eq!(
        failure_in_cluster("--agent node-a=local --src-pod shop/cart --dst-ip 10.244.2.8"),
        other(
            "no agent for node-b: add --agent node-b=local if this machine is node-b, or --agent \
             node-b=exec:COMMAND"
        )
    );
    assert_eq!(
        failure_in_cluster("--src-ip 8.8.8.8 --dst-ip 1.1.1.1"),
        other(
            "no known node has 8.8.8.8 or 1.1.1.1: name a node with \
             --agent NODE=local or --agent NODE=exec:COMMAND"
        )
    );
}

#[test]
fn an_agent_needs_a_namespace_of_its_own() {
    let with = |agent: &str| failure(&format!("{ADDRESSES} {agent}"));
    assert_eq!(
        with("--agent a=netns:/nonexistent/ns"),
        other(
            "the network namespace /nonexistent/ns of node a cannot be opened (No such file or \
             directory (os error 2)): `ip netns list` shows those with names, and opening others \
             takes root"
        )
    );
    for path in ["/proc", "/dev/null", "/"] {
        assert_eq!(
            with(&format!("--agent a=netns:{path}")),
            other(&format!(
                "{path}, given for node a, is no network namespace: give a file such as \
                 /run/netns/NAME or /proc/PID/ns/net"
            ))
        );
    }
    assert_eq!(
        with("--agent a=local --agent b=netns:/proc/self/ns/net"),
        other("the agents of a and b are in the same network namespace: give each node its own")
    );
    assert_eq!(
        with("--agent a=local --agent a=netns:/proc/self/ns/net"),
        syntax("node a has two agents: give --agent once per node")
    );
}

#[test]
fn arguments_that_contradict_each_other_are_bad_syntax() {
    for ports in ["--src-port 7", "--dst-port 7"] {
        assert_eq!(
            failure(&format!("{ADDRESSES} --proto icmp {ports}")),
            syntax(
                "ICMP has no ports: leave out --src-port and --dst-port, or choose another --proto"
            )
        );
    }
    assert_eq!(
        failure("--src-ip 10.244.1.5 --dst-ip fd00:1::5"),
        syntax(
            "10.244.1.5 has only IPv4 addresses and fd00:1::5 only IPv6: give two ends of one family"
        )
    );
    assert_eq!(
        failure_in_cluster("--agent node-b=local --src-pod shop/cart --dst-ip fd00:1::5"),
        syntax(
            "shop/cart has only IPv4 addresses and default/web only IPv6: give two ends of one family"
        )
    );
    let same = |end| {
        syntax(&format!(
            "source and destination are both {end}: give two different ends"
        ))
    };
    assert_eq!(
        failure("--src 10.0.0.0/24 --dst 10.0.0.9/24"),
        same("10.0.0.0/24")
    );
    assert_eq!(
        failure_in_cluster("--src-pod web --dst-pod default/web"),
        same("default/web")
    );
    assert_eq!(
        failure_in_cluster("--src-pod web --dst-ip fd00:1::5"),
        same("default/web")
    );
    assert_eq!(
        failure(&format!("{ADDRESSES}{}", " --vxlan-port 9000".repeat(5))),
        syntax("5 VXLAN ports are too many: give --vxlan-port at most 4 times")
    );
    let tiny = failure(&format!("{ADDRESSES} --ring-size 512"));
    let Failure::Syntax(sentence) = tiny else {
        panic!("{tiny:?}");
    };
    assert!(
        sentence.starts_with("a ring buffer of 512 bytes is less than a page here: give at least ")
    );
}

#[test]
fn clap_refuses_what_is_missing_or_too_much() {
    let kind = |line: &str| {
        let error = arguments(line).expect_err("this is no follow");
        assert_eq!(error.exit_code(), 2, "{line}");
        (error.kind(), error.to_string())
    };
    for line in ["", "--src-pod web", "--dst-ip 10.0.0.1"] {
        let (kind, text) = kind(line);
        assert_eq!(kind, ErrorKind::MissingRequiredArgument, "{line}");
        assert!(text.contains("Usage: tracer follow"), "{text}");
    }
    let twice = "--src-pod web --src-ip 10.0.0.1 --dst-ip 10.0.0.2";
    assert_eq!(kind(twice).0, ErrorKind::ArgumentConflict);
    for (argument, name, sentence) in [
        (
            "--src-port 0",
            "--src-port <PORT>",
            "not a port; give a number from 1 to 65535",
        ),
        (
            "--dst-port 65536",
            "--dst-port <PORT>",
            "not a port; give a number from 1 to 65535",
        ),
        (
            "--dst-port -1",
            "--dst-port <PORT>",
            "not a port; give a number from 1 to 65535",
        ),
        (
            "--vxlan-port 0",
            "--vxlan-port <PORT>",
            "not a port; give a number from 1 to 65535",
        ),
        (
            "--count 0",
            "--count <N>",
            "give a whole number from 1 on, such as 100",
        ),
        (
            "--budget many",
            "--budget <N>",
            "give a whole number from 1 on, such as 100",
        ),
        (
            "--duration 30",
            "--duration <TIME>",
            "not a time span; give a number and its unit",
        ),
        (
            "--hold 0s",
            "--hold <TIME>",
            "give a time between 1ms and one year",
        ),
        (
            "--ring-size 3MiB",
            "--ring-size <BYTES>",
            "not a size of a ring buffer; give a power of two",
        ),
        (
            "--agent node-a",
            "--agent <NODE=SPEC>",
            "not an agent; give NODE=pod, NODE=local, NODE=netns:PATH, NODE=ssh:HOST or NODE=exec:COMMAND",
        ),
    ] {
        let (kind, text) = kind(&format!("{ADDRESSES} {argument}"));
        assert_eq!(kind, ErrorKind::ValueValidation, "{argument}");
        let value = argument.rsplit(' ').next().expect("it has a value");
        let beginning = format!("error: invalid value '{value}' for '{name}': {sentence}");
        assert!(text.starts_with(&beginning), "{text}");
    }
    assert_eq!(
        kind(&format!("{ADDRESSES} --proto gre")).0,
        ErrorKind::InvalidValue
    );
    assert_eq!(
        kind(&format!("{ADDRESSES} -o yaml")).0,
        ErrorKind::InvalidValue
    );
}

#[test]
fn what_cannot_be_recorded_is_told() {
    assert_eq!(
        failure(&format!("{ADDRESSES} -w a.arrows --rotate-keep 3")),
        syntax(
            "--rotate-keep is of use with several files only: give --rotate-size or \
             --rotate-time, too"
        )
    );
    assert_eq!(
        failure(&format!("{ADDRESSES} -w a.arrows --dry-run")),
        syntax(
            "--dry-run attaches nothing, so there is nothing to record: leave out -w or --dry-run"
        )
    );
    assert_eq!(
        failure(&format!("{ADDRESSES} --expect-file flows.yaml --dry-run")),
        syntax(
            "--dry-run attaches nothing, so no flow can be compared: leave out --expect-file or \
             --dry-run"
        )
    );
    let Failure::Other(sentence) = failure(&format!(
        "{ADDRESSES} -w a.arrows --key-file /nonexistent/key"
    )) else {
        panic!("no such file");
    };
    assert!(
        sentence.starts_with("cannot read the key in /nonexistent/key"),
        "{sentence}"
    );
    assert_eq!(
        failure(&format!("{ADDRESSES} -w a.arrows --key-file /dev/null")),
        other("there is no key in /dev/null: write one line into it")
    );
}
