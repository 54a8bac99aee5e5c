//! The points where a follow would attach: `--dry-run`.

use std::{
    io::{self, Write},
    net::IpAddr,
};

use schemars::JsonSchema;
use serde::Serialize;

use super::{Look, json, look::Palette, text::Flow};
use crate::{collector::Plan, interfaces};

/// The plan of each agent, with the name of its node.
pub(super) type Nodes = [(String, interfaces::Plan)];

/// Writes the plan as text for people.
///
/// # Errors
/// The errors of `out`.
pub fn plan_text(out: &mut impl Write, look: &Look, plan: &Plan, nodes: &Nodes) -> io::Result<()> {
    let plain = Palette::PLAIN.plain;
    let mut flow = Flow::new(look.width);
    flow.indent(2);
    flow.words(plain, &format!("would follow {}", plan.description));
    flow.line();
    for (node, found) in nodes {
        flow.line();
        flow.words(plain, node);
        flow.line();
        for interface in &found.interfaces {
            let kind = if interface.link_kind.is_empty() {
                "physical"
            } else {
                &interface.link_kind
            };
            row(
                &mut flow,
                &interface.name,
                kind,
                interface.xdp_hook,
                &interface.why,
            );
            if let Some(program) = interface.xdp {
                warn(
                    &mut flow,
                    &format!(
                        "XDP program {program} runs before tracer there: what it drops is not seen"
                    ),
                );
            }
            if !interface.up {
                warn(&mut flow, "it is down");
            }
        }
        for pod in &found.pod_namespaces {
            let why = format!("the interface of pod {}", pod.pod);
            row(&mut flow, &pod.name, "pod", None, &why);
        }
        for note in &found.notes {
            warn(&mut flow, note);
        }
    }
    for warning in &plan.warnings {
        warn(&mut flow, warning);
    }
    flow.line();
    flow.words(plain, "nothing was attached");
    flow.line();
    out.write_all(flow.finish().as_bytes())
}

/// An interface, and in the next line how the agent found it.
fn row(flow: &mut Flow, name: &str, kind: &str, xdp: Option<&str>, why: &str) {
    let plain = Palette::PLAIN.plain;
    flow.tab(2);
    flow.left(plain, 16, name);
    flow.left(plain, 10, kind);
    let places = xdp.map_or_else(
        || "in and out".to_owned(),
        |hook| format!("{hook}, in and out"),
    );
    flow.words(plain, &places);
    flow.line();
    flow.indent(6);
    flow.tab(6);
    flow.words(plain, why);
    flow.line();
}

fn warn(flow: &mut Flow, text: &str) {
    flow.indent(4);
    flow.tab(2);
    flow.words(Palette::PLAIN.plain, "!");
    flow.words(Palette::PLAIN.plain, text);
    flow.line();
}

/// Writes the plan as JSON: one `tracer.plan/1` object.
///
/// # Errors
/// The errors of `out`.
pub fn plan_json(out: &mut impl Write, plan: &Plan, nodes: &Nodes) -> io::Result<()> {
    let document = DryRun::of(&plan.description, &plan.warnings, nodes);
    out.write_all(&json::line(&document)?)
}

/// The document `tracer.plan/1`: where a follow would attach programs.
#[derive(JsonSchema, Serialize)]
pub(super) struct DryRun<'a> {
    /// Kind and version of the document.
    #[schemars(extend("const" = "tracer.plan/1"))]
    schema: &'static str,
    /// What tracer would follow, in words for people.
    follow: &'a str,
    /// The nodes with an agent in this process, in the order of the agents.
    nodes: Vec<PlannedNode<'a>>,
    /// What may hide packets, one sentence each.
    warnings: &'a [String],
}

/// A node, and where its agent would attach programs.
#[derive(JsonSchema, Serialize)]
struct PlannedNode<'a> {
    /// Name of the node.
    node: &'a str,
    /// Interfaces of the node's own network namespace, those of pods first and uplinks last.
    interfaces: Vec<PlannedInterface<'a>>,
    /// The pods' own interfaces that the agent would observe.
    pod_interfaces: Vec<PlannedPod<'a>>,
    /// What was not found, or is unusual, one sentence each.
    notes: &'a [String],
}

/// An interface that an agent would observe, in both directions.
#[derive(JsonSchema, Serialize)]
struct PlannedInterface<'a> {
    /// Name of the interface.
    interface: &'a str,
    /// Kind of the interface, by the kernel's name; empty for a physical device.
    kind: &'a str,
    /// MTU, in bytes.
    mtu: u32,
    /// Whether the interface is up and has a carrier.
    up: bool,
    /// Id of another program at XDP. Packets that it drops are not seen.
    foreign_xdp: Option<u32>,
    /// Hook at which the agent would see packets at XDP; null if it would not.
    xdp: Option<&'static str>,
    /// How the agent found the interface, in a phrase.
    why: &'a str,
}

/// A pod's own end of its interface.
#[derive(JsonSchema, Serialize)]
struct PlannedPod<'a> {
    /// Address of the pod.
    pod: IpAddr,
    /// Name of the interface in the pod's network namespace.
    interface: &'a str,
}

impl<'a> DryRun<'a> {
    pub(super) fn of(follow: &'a str, warnings: &'a [String], nodes: &'a Nodes) -> Self {
        let pods = |found: &'a interfaces::Plan| {
            let pods = found.pod_namespaces.iter().map(|pod| PlannedPod {
                pod: pod.pod,
                interface: &pod.name,
            });
            pods.collect()
        };
        let nodes = nodes.iter().map(|(node, found)| PlannedNode {
            node,
            interfaces: found
                .interfaces
                .iter()
                .map(PlannedInterface::from)
                .collect(),
            pod_interfaces: pods(found),
            notes: &found.notes,
        });
        Self {
            schema: "tracer.plan/1",
            follow,
            nodes: nodes.collect(),
            warnings,
        }
    }
}

impl<'a> From<&'a interfaces::Interface> for PlannedInterface<'a> {
    fn from(found: &'a interfaces::Interface) -> Self {
        Self {
            interface: &found.name,
            kind: &found.link_kind,
            mtu: found.mtu,
            up: found.up,
            foreign_xdp: found.xdp,
            xdp: found.xdp_hook,
            why: &found.why,
        }
    }
}
