//! The interface as Wireshark shows it: its name, its link type, and a field for each of the most
//! needed options.

use std::fmt::Write as _;

use clap::ValueEnum as _;

use super::{INTERFACE, OPTIONS};
use crate::cli::args::Protocol;

/// The link type that Wireshark assumes. Each interface of the capture has its own.
pub(super) const DLTS: &str = "dlt {number=1}{name=EN10MB}{display=Ethernet}\n";

/// A field of the dialog for the interface's options.
struct Field {
    /// The option.
    call: &'static str,
    display: &'static str,
    /// The type of the field, with its settings.
    kind: &'static str,
    /// The tab of the dialog.
    group: &'static str,
    tooltip: &'static str,
}

const PACKETS: &str = "Packets";
const CLUSTER: &str = "Cluster";
const PROTOCOL: &str = "--proto";

/// The texts have no braces, because Wireshark ends a value there.
const FIELDS: &[Field] = &[
    Field {
        call: "--src",
        display: "Source",
        kind: "{type=string}{required=true}{placeholder=shop:pod/web}",
        group: PACKETS,
        tooltip: "[NAMESPACE:]pod/NAME, service/NAME, deployment/NAME, labels such as app=web, \
                  node/NAME, an IP address or a network",
    },
    Field {
        call: "--dst",
        display: "Destination",
        kind: "{type=string}{placeholder=shop:service/cart:http}",
        group: PACKETS,
        tooltip: "Written as a source is; a Service with :PORT, if wanted",
    },
    Field {
        call: "--dns",
        display: "DNS of the source",
        kind: "{type=boolflag}{default=false}",
        group: PACKETS,
        tooltip: "Instead of a destination: follow the source's DNS to any server",
    },
    Field {
        call: "--namespace",
        display: "Namespace",
        kind: "{type=string}{placeholder=that of the context}",
        group: PACKETS,
        tooltip: "Of objects that are named without one",
    },
    Field {
        call: PROTOCOL,
        display: "Protocol",
        kind: "{type=selector}",
        group: PACKETS,
        tooltip: "Follow only this protocol",
    },
    Field {
        call: "--dst-port",
        display: "Destination port",
        kind: "{type=string}{validation=^[0-9]*$}",
        group: PACKETS,
        tooltip: "Follow only packets to this port, and their answers",
    },
    Field {
        call: "--context",
        display: "Context",
        kind: "{type=string}{placeholder=the current one}",
        group: CLUSTER,
        tooltip: "The context in the kubeconfig",
    },
    Field {
        call: "--kubeconfig",
        display: "Kubeconfig",
        kind: "{type=fileselect}{mustexist=true}",
        group: CLUSTER,
        tooltip: "The file that names the cluster",
    },
    Field {
        call: "--inventory",
        display: "Objects from a file",
        kind: "{type=fileselect}{mustexist=true}",
        group: CLUSTER,
        tooltip: "The cluster's objects, as kubectl get -o yaml prints them, instead of a cluster",
    },
    Field {
        call: OPTIONS,
        display: "More options",
        kind: "{type=string}{placeholder=--snaplen 256 --xdp}",
        group: CLUSTER,
        tooltip: "Other options of tracer follow, as in a shell",
    },
];

/// The interfaces.
pub(super) fn interfaces() -> String {
    format!(
        "extcap {{version={}}}{{display=tracer}}\n\
         interface {{value={INTERFACE}}}{{display=tracer: packet path}}\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// The fields of the interface's options.
pub(super) fn fields() -> String {
    let mut text = String::new();
    for (number, field) in FIELDS.iter().enumerate() {
        let Field {
            call,
            display,
            kind,
            group,
            tooltip,
        } = field;
        let line = format!(
            "arg {{number={number}}}{{call={call}}}{{display={display}}}{kind}{{group={group}}}\
             {{tooltip={tooltip}}}"
        );
        writeln!(text, "{line}").expect("memory takes all");
        if *call == PROTOCOL {
            for protocol in Protocol::value_variants() {
                let is_default = *protocol == Protocol::default();
                let name = protocol.to_possible_value().expect("each has a name");
                let name = name.get_name();
                let value = format!(
                    "value {{arg={number}}}{{value={name}}}{{display={name}}}{{default={is_default}}}"
                );
                writeln!(text, "{value}").expect("memory takes all");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::args::Arguments;

    /// Wireshark reads `{key=value}`, and has no escape for a brace.
    #[test]
    fn every_line_is_a_word_and_pairs_in_braces() {
        for line in [interfaces(), fields(), DLTS.to_owned()].concat().lines() {
            let (word, pairs) = line.split_once(' ').expect("two parts");
            assert!(["extcap", "interface", "dlt", "arg", "value"].contains(&word));
            let inner = pairs
                .strip_prefix('{')
                .and_then(|pairs| pairs.strip_suffix('}'));
            for pair in inner.expect("braces around").split("}{") {
                assert!(pair.contains('='), "{line}");
                assert!(!pair.contains(['{', '}']), "{line}");
            }
        }
    }

    #[test]
    fn every_field_is_an_option_of_a_follow() {
        let command = Arguments::command();
        let follow = command.find_subcommand("follow").expect("a command");
        for field in FIELDS.iter().filter(|field| field.call != OPTIONS) {
            let name = field.call.trim_start_matches("--");
            let mut arguments = follow.get_arguments();
            let argument = arguments.find(|argument| argument.get_long() == Some(name));
            let argument = argument.expect(name);
            let takes_value = argument.get_action().takes_values();
            assert_eq!(takes_value, !field.kind.contains("boolflag"), "{name}");
        }
    }
}
