//! The contents of a recording: `tracer show`.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;
use tracer_core::model::Kernel;

use super::{
    Look, json,
    look::Palette,
    moment::{Moment, Span},
    text::Flow,
};
use crate::store::{Contents, SCHEMA};

/// Writes the contents as text for people.
///
/// # Errors
/// The errors of `out`.
pub fn contents_text(out: &mut impl Write, look: &Look, contents: &Contents) -> io::Result<()> {
    let Contents {
        head,
        bytes,
        hops,
        drops,
        batches: _,
        span,
        armed: _,
        ended,
        cut,
    } = contents;
    let plain = Palette::PLAIN.plain;
    let zone = &look.zone;
    let mut flow = Flow::new(look.width);
    let mut say = |title: &str, words: &str| {
        flow.indent(12);
        flow.left(plain, 12, title);
        flow.words(plain, words);
        flow.line();
    };
    say("follow", &head.follow);
    match span {
        Some((first, last)) => {
            let (first, last) = (*first, *last);
            let length = Span(last.saturating_sub(first));
            say(
                "packets",
                &format!("from {}", zone.date_time(Moment(first))),
            );
            say(
                "",
                &format!("to   {} ({length})", zone.date_time(Moment(last))),
            );
        }
        None => say("packets", "none"),
    }
    for ((hello, hops), drops) in head.nodes.iter().zip(hops).zip(drops) {
        let points = hello.points.len();
        let kernel = hello.kernel.as_ref();
        let kernel = kernel.map_or_else(String::new, |kernel| format!(", on {kernel}"));
        say(
            "node",
            &format!(
                "{}: {hops} hops at {points} observation points, {drops} drops{kernel}",
                hello.node
            ),
        );
    }
    let captured = head.nodes.iter().map(|hello| hello.snaplen).max();
    if let Some(bytes) = captured.filter(|bytes| *bytes > 0) {
        say(
            "payload",
            &format!("inside: the first {bytes} bytes of each frame were captured (--snaplen)"),
        );
    }
    say(
        "objects",
        &format!(
            "{} addresses of pods, nodes and Services",
            head.owners.len()
        ),
    );
    say(
        "file",
        &format!(
            "{bytes} bytes of {SCHEMA}, written by tracer {}, file {} of the recording",
            head.version,
            u64::from(head.piece) + 1
        ),
    );
    let end = match (ended, cut) {
        (_, true) => {
            "incomplete: the recorder still runs or was killed, the disk was full, or the file was \
             cut"
            .to_owned()
        }
        (Some(time), false) => format!("complete at {}", zone.date_time(Moment(*time))),
        (None, false) => "continues in the next file".to_owned(),
    };
    say("end", &end);
    for warning in &head.warnings {
        say("warning", warning);
    }
    out.write_all(flow.finish().as_bytes())
}

/// Writes the contents as JSON: one `tracer.contents/1` object.
///
/// # Errors
/// The errors of `out`.
pub fn contents_json(out: &mut impl Write, contents: &Contents) -> io::Result<()> {
    let head = &contents.head;
    let nodes = head.nodes.iter().zip(&contents.hops).zip(&contents.drops);
    let recording = Recording {
        schema: "tracer.contents/1",
        trace: SCHEMA,
        version: &head.version,
        follow: &head.follow,
        recording: format!("{:016x}", head.recording),
        piece: head.piece,
        bytes: contents.bytes,
        first: contents.span.map(|(first, _)| Moment(first)),
        last: contents.span.map(|(_, last)| Moment(last)),
        armed: contents.armed.map(Moment),
        ended: contents.ended.map(Moment),
        cut: contents.cut,
        nodes: nodes
            .map(|((hello, hops), drops)| Agent {
                node: &hello.node,
                kernel: hello.kernel.as_ref(),
                points: hello.points.len(),
                snaplen: hello.snaplen,
                hops: *hops,
                drops: *drops,
            })
            .collect(),
        batches: contents.batches,
        addresses: head.owners.len(),
        warnings: &head.warnings,
    };
    out.write_all(&json::line(&recording)?)
}

/// The document `tracer.contents/1`: the contents of a file, without any packet.
#[derive(JsonSchema, Serialize)]
pub(super) struct Recording<'a> {
    /// Kind and version of the document.
    #[schemars(extend("const" = "tracer.contents/1"))]
    schema: &'static str,
    /// Kind and version of the file.
    trace: &'static str,
    /// Version of tracer that wrote the file.
    version: &'a str,
    /// What tracer followed, in words for people.
    follow: &'a str,
    /// 16 hexadecimal digits, the same in all files of a recording, and in no other.
    recording: String,
    /// Number of this file in the recording, from 0.
    piece: u32,
    /// Size of the file, in bytes.
    bytes: u64,
    /// Time of the first hop or drop in the file; null if there is none.
    first: Option<Moment>,
    /// Time of the last hop or drop in the file; null if there is none.
    last: Option<Moment>,
    /// Time from which all points were observed; null if they never were.
    armed: Option<Moment>,
    /// When the recording ended; null if it continues in another file, or was cut.
    ended: Option<Moment>,
    /// Whether the file ends in the middle.
    cut: bool,
    /// The agents, one per node.
    nodes: Vec<Agent<'a>>,
    /// Number of batches of all agents.
    batches: u64,
    /// Number of known addresses of pods, nodes and Services.
    addresses: usize,
    /// What may have hidden packets, one sentence each.
    warnings: &'a [String],
}

/// An agent, and what it saw.
#[derive(JsonSchema, Serialize)]
struct Agent<'a> {
    /// Name of the node, as the cluster knows it.
    node: &'a str,
    /// The node's kernel; null if it is not known.
    kernel: Option<&'a Kernel>,
    /// Number of the agent's observation points.
    points: usize,
    /// Number of each frame's first bytes that the agent captured, so that the file holds payload;
    /// 0 without captured bytes.
    snaplen: u32,
    /// Number of packets that passed the points.
    hops: u64,
    /// Number of packets that the node's kernel freed.
    drops: u64,
}
