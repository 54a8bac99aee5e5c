//! Runs `tracer drops`, and reads its output.

use anyhow::Result;
use nix::sys::signal::Signal;
use serde_json::Value;
use tracer_tests::{
    Lab, Pod,
    program::{LIMIT, Tracer, is, tracer},
};

/// A `tracer drops -o json` on all nodes of a lab.
pub(crate) struct Watch(Tracer);

/// All of its output.
pub(crate) struct Told {
    /// Its `tracer.drop/2` lines.
    pub(crate) drops: Vec<Value>,
    pub(crate) summary: Value,
}

impl Watch {
    /// Starts the program, and returns once it sees drops.
    pub(crate) fn start(lab: &Lab, args: &[&str]) -> Result<Self> {
        let mut command = tracer(["drops", "-o", "json"])?;
        command.args(lab.agent_args()?).args(args);
        let mut tracer = Tracer::start(&mut command)?;
        tracer.wait_for(|value| is(value, "tracer.drops_started/1"), LIMIT)?;
        Ok(Self(tracer))
    }

    /// The first line about a drop that `wanted` accepts.
    pub(crate) fn wait_for(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> Result<Value> {
        let drop = |value: &Value| is(value, "tracer.drop/2") && wanted(value);
        self.0.wait_for(drop, LIMIT)
    }

    /// Ends the program as Ctrl-C does, and returns all lines.
    pub(crate) fn stop(self) -> Result<Told> {
        self.0.signal(Signal::SIGINT)?;
        self.ended()
    }

    /// Waits until the program ends by itself, and returns all lines.
    pub(crate) fn ended(mut self) -> Result<Told> {
        let mut drops = Vec::new();
        let collect = |value: &Value| {
            if is(value, "tracer.drop/2") {
                drops.push(value.clone());
            }
            is(value, "tracer.drops_summary/1")
        };
        let summary = self.0.wait_for(collect, LIMIT)?;
        let status = self.0.finish(LIMIT)?.status;
        let suspects = [&summary["packets"]["loss"], &summary["packets"]["unknown"]];
        let nothing = suspects.iter().all(|count| **count == 0);
        assert_eq!(status.code(), Some(if nothing { 4 } else { 0 }));
        Ok(Told { drops, summary })
    }
}

/// The pod's name in the objects file.
pub(crate) fn name(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

/// A short description of each drop, for a message.
pub(crate) fn brief(drops: &[Value]) -> Vec<String> {
    const KEYS: [&str; 8] = [
        "total",
        "class",
        "reason",
        "function",
        "node",
        "netns",
        "interface",
        "known_by",
    ];
    let words = |drop: &Value| {
        let keys = KEYS.iter().map(|key| drop[key].to_string());
        let packet = &drop["packet"];
        let ends = ["src", "dst", "proto"]
            .iter()
            .map(|key| packet[key].to_string());
        keys.chain(ends).collect::<Vec<_>>().join(" ")
    };
    drops.iter().map(words).collect()
}
