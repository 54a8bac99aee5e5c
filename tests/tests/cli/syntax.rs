use anyhow::Result;
use tracer_tests::program::tracer;
use tracer_tests::{Lab, LabSpec};

use crate::{assert_refused, attached, full_name};

const PORT: &str = "not a port; give a number from 1 to 65535";
const TIME: &str = "not a time span; give a number and its unit, such as 30s, 5m or 500ms";
const BOUNDS: &str = "give a time between 1ms and one year";
const COUNT: &str = "give a whole number from 1 on, such as 100";
const RING: &str = "not a size of a ring buffer; give a power of two from the page size to 1GiB, \
                    such as 65536, 512KiB or 8MiB";
const SNAPLEN: &str = "give a number of bytes from 1 to 2048, such as 256";
const ADDRESS: &str = "not an IP address; give one such as 10.244.1.5 or fd00::5 (--src and --dst \
                       take networks)";
const END: &str = "neither an address nor an object; give [NAMESPACE:]pod/NAME, service/NAME, labels such as app=web, \
                   an address such as 10.244.1.5, or a network such as 10.244.1.0/24";
const NETWORK: &str =
    "not a network; the prefix length after / goes to 32 for IPv4 and 128 for IPv6";
const NO_AGENT: &str =
    "not an agent; give NODE=pod, NODE=local, NODE=netns:PATH, NODE=ssh:HOST or NODE=exec:COMMAND";
const NOWHERE: &str = "no packet between two pods carries this address; give a pod's or a node's";

/// Wrong options of an otherwise right follow: the option, clap's name of its value, a wrong value,
/// and the message.
const NONSENSE: &[(&str, &str, &str, &str)] = &[
    ("--src-port", "PORT", "0", PORT),
    ("--src-port", "PORT", "-1", PORT),
    ("--dst-port", "PORT", "65536", PORT),
    ("--dst-port", "PORT", "http", PORT),
    ("--vxlan-port", "PORT", "8472x", PORT),
    ("--vxlan-port", "PORT", "0", PORT),
    ("--duration", "TIME", "30", TIME),
    ("--duration", "TIME", "soon", TIME),
    ("--duration", "TIME", "-5s", TIME),
    ("--duration", "TIME", "0s", BOUNDS),
    ("--hold", "TIME", "2years", BOUNDS),
    ("--count", "N", "0", COUNT),
    ("--count", "N", "many", COUNT),
    ("--budget", "N", "4294967296", COUNT),
    ("--ring-size", "BYTES", "5000", RING),
    ("--ring-size", "BYTES", "2GiB", RING),
    ("--snaplen", "BYTES", "0", SNAPLEN),
    ("--snaplen", "BYTES", "2049", SNAPLEN),
    ("--agent", "NODE=SPEC", "node-a", NO_AGENT),
    ("--agent", "NODE=SPEC", "=local", NO_AGENT),
    (
        "--agent",
        "NODE=SPEC",
        "a=tcp:b",
        "unknown agent type `tcp:b`; give a=pod, a=local (this machine), a=netns:PATH (a network \
         namespace here), a=ssh:HOST or a=exec:COMMAND (it runs `tracer agent --stdio` there)",
    ),
    (
        "--agent",
        "NODE=SPEC",
        "a=ssh:-oProxyCommand=b",
        "`-oProxyCommand=b` is no host; give ssh:HOST or ssh:USER@HOST, as ssh takes it",
    ),
];

/// Wrong sources, in the same form.
const NO_SOURCE: &[(&str, &str, &str, &str)] = &[
    ("--src-ip", "IP", "10.244.1.256", ADDRESS),
    ("--src-ip", "IP", "fd00::zz", ADDRESS),
    ("--src-ip", "IP", "10.244.1.0/24", ADDRESS),
    ("--src-ip", "IP", "0.0.0.0", NOWHERE),
    ("--src", "END", "::1", NOWHERE),
    ("--src", "END", "web", END),
    ("--src", "END", "10.244.1.0/33", NETWORK),
    (
        "--src",
        "END",
        "ingress/cart",
        "the kind ingress cannot be followed; give [NAMESPACE:]pod/NAME, service/NAME, \
         deployment/NAME, statefulset/NAME, daemonset/NAME, labels such as app=web, node/NAME, an \
         address or a network",
    ),
    (
        "--src-pod",
        "POD",
        "a/b/c",
        "invalid pod name; give NAME or NAMESPACE/NAME",
    ),
];

#[test]
fn nonsense_is_refused_with_what_would_do() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let agents = lab.agent_args()?;
    let [from, to] = [0, 1].map(|pod| full_name(&lab.pods[pod]));
    let check = |source: &[&str], (option, value, text, sentence): (&str, &str, &str, &str)| {
        let mut command = tracer(["follow"])?;
        command.args(&agents).args(["--dst-pod", &to]);
        command.args(source).args([option, text]);
        let sentence = format!("invalid value '{text}' for '{option} <{value}>': {sentence}");
        assert_refused(&mut command, 2, &sentence)
    };
    for nonsense in NONSENSE {
        check(&["--src-pod", &from], *nonsense)?;
    }
    for nonsense in NO_SOURCE {
        check(&[], *nonsense)?;
    }
    assert_eq!(attached(&lab)?, [""; 0]);
    Ok(())
}

#[test]
fn xdp_takes_names_that_interfaces_can_have() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let agents = lab.agent_args()?;
    let [from, to] = [0, 1].map(|pod| full_name(&lab.pods[pod]));
    let no_name = |text: &str| {
        format!(
            "invalid value '{text}' for '--xdp[=<IFACE>...]': not the name of an interface, which \
             has 1 to 15 characters; give names such as eth0 or eth0,eth1, or --xdp alone for the \
             uplinks"
        )
    };
    let long = "a-name-too-long-by-1";
    for (args, sentence) in [
        (vec!["--xdp=".to_owned()], no_name("")),
        (vec!["--xdp=eth0,,eth1".to_owned()], no_name("")),
        (vec!["--xdp=eth0/1".to_owned()], no_name("eth0/1")),
        (vec![format!("--xdp=eth0,{long}")], no_name(long)),
        (
            ["--xdp-mode", "generic"].map(str::to_owned).to_vec(),
            "the following required arguments were not provided: --xdp[=<IFACE>...] (see --help)"
                .to_owned(),
        ),
    ] {
        let mut command = tracer(["follow"])?;
        command.args(&agents).args(args);
        command.args(["--src-pod", &from, "--dst-pod", &to]);
        assert_refused(&mut command, 2, &sentence)?;
    }
    assert_eq!(attached(&lab)?, [""; 0]);
    Ok(())
}

#[test]
fn contradictions_are_refused() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let agents = lab.agent_args()?;
    let [from, to] = [&lab.pods[0], &lab.pods[1]];
    let [from_name, to_name] = [from, to].map(full_name);
    let [v4, v6] = [from.v4.to_string(), to.v6.to_string()];
    let node = &lab.nodes[0];
    let second_agent = format!("{}=local", node.name);
    let pods = ["--src-pod", &*from_name, "--dst-pod", &*to_name];
    let ports: Vec<&str> = ["--vxlan-port", "4790"].repeat(5);
    let cases: [(&[&str], &[&str], String); 7] = [
        (
            &["--src-pod", &from_name, "--dst-pod", &from_name],
            &[],
            format!("source and destination are both {from_name}: give two different ends"),
        ),
        (
            &["--src-pod", &from_name, "--dst-ip", &v4],
            &[],
            format!("source and destination are both {from_name}: give two different ends"),
        ),
        (
            &["--src", "10.99.0.0/16", "--dst", "10.99.0.0/16"],
            &[],
            "source and destination are both 10.99.0.0/16: give two different ends".to_owned(),
        ),
        (
            &["--src-ip", &v4, "--dst-ip", &v6],
            &[],
            format!(
                "{from_name} has only IPv4 addresses and {to_name} only IPv6: give two ends of one \
                 family"
            ),
        ),
        (
            &pods,
            &["--proto", "icmp", "--dst-port", "80"],
            "ICMP has no ports: leave out --src-port and --dst-port, or choose another --proto"
                .to_owned(),
        ),
        (
            &pods,
            &ports,
            "5 VXLAN ports are too many: give --vxlan-port at most 4 times".to_owned(),
        ),
        (
            &pods,
            &["--agent", &second_agent],
            format!(
                "node {} has two agents: give --agent once per node",
                node.name
            ),
        ),
    ];
    for (ends, rest, sentence) in cases {
        let mut command = tracer(["follow"])?;
        command.args(&agents).args(ends).args(rest);
        assert_refused(&mut command, 2, &sentence)?;
    }
    assert_eq!(attached(&lab)?, [""; 0]);
    Ok(())
}

#[test]
fn what_is_missing_or_unknown_is_named() -> Result<()> {
    let cases: &[(&[&str], &str)] = &[
        (
            &["folow"],
            "unrecognized subcommand 'folow'; a similar subcommand exists: 'follow' (see --help)",
        ),
        (
            &["follow", "--dst-ip", "10.0.0.1"],
            "the following required arguments were not provided: <--src <END>|--src-pod \
             <POD>|--src-service <SERVICE>|--src-ip <IP>> (see --help)",
        ),
        (
            &["follow", "--src-ip", "10.0.0.1"],
            "the following required arguments were not provided: <--dst <END>|--dst-pod \
             <POD>|--dst-service <SERVICE>|--dst-ip <IP>|--dns> (see --help)",
        ),
        (
            &["follow", "--src-ip", "10.0.0.1", "--dst-ip"],
            "a value is required for '--dst-ip <IP>' but none was supplied (see --help)",
        ),
        (
            &["follow", "--src-ip", "10.0.0.1", "--src", "10.0.0.2"],
            "the argument '--src-ip <IP>' cannot be used with '--src <END>' (see --help)",
        ),
        (
            &["follow", "--proto", "17"],
            "invalid value '17' for '--proto <PROTO>' [possible values: any, tcp, udp, icmp, \
             sctp] (see --help)",
        ),
        (
            &["follow", "-o", "xml"],
            "invalid value 'xml' for '--output <OUTPUT>' [possible values: live, text, json, pcapng] (see --help)",
        ),
        (
            &["replay", "--hops", "-o", "json", "trace.arrows"],
            "--hops is for text, and -o json and -o pcapng have all hops anyway: leave out --hops",
        ),
        (
            &["replay", "--hops", "-o", "live", "trace.arrows"],
            "--hops is for text, and the live view shows the hops of the journey that one opens: \
             leave out --hops, or use -o text",
        ),
        (
            &["import", "a.pcap", "--at", "eth0"],
            "invalid value 'eth0' for '--at <PLACE>': no place; give NODE/INTERFACE/DIRECTION, such \
             as node-a/eth0/in; DIRECTION is in, out or the interface's MAC address",
        ),
        (
            &["import", "a.pcap", "--at", "a/eth0/in,x=1"],
            "invalid value 'a/eth0/in,x=1' for '--at <PLACE>': `x=1` says nothing about a place; \
             give pod=NAMESPACE/NAME, pod=ADDRESS or role=ROLE",
        ),
        (
            &["import", "a.pcap", "--at", "a/eth0/in,role=wire"],
            "invalid value 'a/eth0/in,role=wire' for '--at <PLACE>': no role of an interface; give \
             role=pod, veth, bridge, overlay or uplink",
        ),
        (
            &["completions", "csh"],
            "invalid value 'csh' for '<SHELL>' [possible values: bash, elvish, fish, powershell, \
             zsh]; a similar value exists: 'zsh' (see --help)",
        ),
    ];
    for (args, sentence) in cases {
        assert_refused(&mut tracer(*args)?, 2, sentence)?;
    }
    Ok(())
}
