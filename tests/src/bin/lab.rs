//! Holds a lab up for a user who wants to look around in it, until standard input ends: `lab [NODES
//! [PODS_PER_NODE]]`. Machines that each play a node of a lab run `lab serve`, and `lab relay
//! SOCKET` leads to one of their serial lines.

use std::env;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};
use tracer_tests::machines::{relay, serve};
use tracer_tests::{Lab, LabSpec};

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["serve"] => serve::run(),
        ["relay", socket] => relay::run(Path::new(socket)),
        _ => hold(&words),
    }
}

fn hold(words: &[&str]) -> Result<()> {
    let mut numbers = words.iter().map(|text| {
        text.parse::<usize>()
            .with_context(|| format!("`{text}` is no number: use `lab [NODES [PODS_PER_NODE]]`"))
    });
    let mut spec = LabSpec::default();
    spec.nodes = numbers.next().transpose()?.unwrap_or(spec.nodes);
    spec.pods_per_node = numbers.next().transpose()?.unwrap_or(spec.pods_per_node);
    let lab = Lab::new(&spec)?;

    println!("middle box {}", lab.middle.name);
    for node in &lab.nodes {
        println!("node {} {} {}", node.name, node.underlay, node.netns.name);
        for pod in lab.pods_on(node) {
            println!(
                "pod {}/{} {} {}",
                pod.namespace, pod.name, pod.v4, pod.netns.name
            );
        }
    }
    println!("tracer follow {} …", lab.agent_args()?.join(" "));
    eprintln!("Ctrl-D takes the lab down.");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
