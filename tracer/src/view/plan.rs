//! The points where a follow would attach: `--dry-run`.

use std::{
    io::{self, Write},
    net::IpAddr,
};

use serde::Serialize;

use super::{Look, json, look::Palette, text::Flow};
use crate::{collector::Plan, interfaces};

/// The plan of each agent, with the name of its node.
type Nodes = [(String, interfaces::Plan)];

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
    let document = Document {
        schema: "tracer.plan/1",
        follow: &plan.description,
        nodes: nodes
            .iter()
            .map(|(node, found)| Node {
                node,
                interfaces: found.interfaces.iter().map(Interface::from).collect(),
                pod_interfaces: found
                    .pod_namespaces
                    .iter()
                    .map(|pod| PodInterface {
                        pod: pod.pod,
                        interface: &pod.name,
                    })
                    .collect(),
                notes: &found.notes,
            })
            .collect(),
        warnings: &plan.warnings,
    };
    out.write_all(&json::line(&document)?)
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    follow: &'a str,
    nodes: Vec<Node<'a>>,
    warnings: &'a [String],
}

#[derive(Serialize)]
struct Node<'a> {
    node: &'a str,
    interfaces: Vec<Interface<'a>>,
    pod_interfaces: Vec<PodInterface<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Interface<'a> {
    interface: &'a str,
    kind: &'a str,
    mtu: u32,
    up: bool,
    foreign_xdp: Option<u32>,
    xdp: Option<&'static str>,
    why: &'a str,
}

#[derive(Serialize)]
struct PodInterface<'a> {
    pod: IpAddr,
    interface: &'a str,
}

impl<'a> From<&'a interfaces::Interface> for Interface<'a> {
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
