//! Where a follow would attach: `--dry-run`.

use std::{
    io::{self, Write},
    net::IpAddr,
};

use serde::Serialize;

use crate::{collector::Plan, node::discover};

/// What each agent would do, by node.
type Nodes = [(String, discover::Plan)];

/// For people.
///
/// # Errors
/// Those of the writer.
pub fn plan_text(out: &mut impl Write, plan: &Plan, nodes: &Nodes) -> io::Result<()> {
    writeln!(out, "would follow {}", plan.description)?;
    for (node, found) in nodes {
        writeln!(out, "\n{node}")?;
        for interface in &found.interfaces {
            let kind = if interface.link_kind.is_empty() {
                "physical"
            } else {
                &interface.link_kind
            };
            writeln!(
                out,
                "  {:<15} {:<8} in and out   {}",
                interface.name, kind, interface.why
            )?;
            if let Some(program) = interface.xdp {
                writeln!(
                    out,
                    "    ! XDP program {program} runs before tracer there: what it drops is not seen"
                )?;
            }
            if !interface.up {
                writeln!(out, "    ! it is down")?;
            }
        }
        for pod in &found.pod_namespaces {
            writeln!(
                out,
                "  {:<15} {:<8} in and out   the interface of pod {}",
                pod.name, "pod", pod.pod
            )?;
        }
        for note in &found.notes {
            writeln!(out, "  ! {note}")?;
        }
    }
    for warning in &plan.warnings {
        writeln!(out, "! {warning}")?;
    }
    writeln!(out, "\nnothing was attached")
}

/// For programs: one `tracer.plan/1` object.
///
/// # Errors
/// Those of the writer.
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
    serde_json::to_writer(&mut *out, &document)?;
    writeln!(out)
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
    why: &'a str,
}

#[derive(Serialize)]
struct PodInterface<'a> {
    pod: IpAddr,
    interface: &'a str,
}

impl<'a> From<&'a discover::Interface> for Interface<'a> {
    fn from(found: &'a discover::Interface) -> Self {
        Self {
            interface: &found.name,
            kind: &found.link_kind,
            mtu: found.mtu,
            up: found.up,
            foreign_xdp: found.xdp,
            why: &found.why,
        }
    }
}
