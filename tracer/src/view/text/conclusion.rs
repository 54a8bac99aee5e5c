//! The end of a journey: its verdict, and the evidence.

use anstyle::Style;
use tracer_core::{
    journey::{Journey, Scene},
    model::{Cause, Transport},
    verdict::{Confidence, Kind, Parts, Verdict},
};

use super::flow::Flow;
use crate::view::{evidence::sentences, look::Palette, outcome};

pub(super) fn show(
    flow: &mut Flow,
    palette: Palette,
    scene: &Scene,
    journey: &Journey,
    verdict: &Verdict,
    parts: Parts,
) {
    flow.indent(4);
    flow.space(2);
    whole(flow, palette, scene, journey, verdict, parts);
    flow.line();

    if let Some(shares) = shares(journey, parts) {
        flow.space(4);
        flow.words(palette.odd, &shares);
        flow.line();
    }
    if verdict.kind == Kind::Delivered && verdict.confidence > Confidence::Low {
        return;
    }
    flow.indent(6);
    for sentence in sentences(scene, journey, verdict) {
        flow.space(4);
        flow.put(palette.dim, "-");
        flow.words(palette.plain, &sentence);
        flow.line();
    }
}

/// A verdict with its sign and its sentence.
pub(super) fn whole(
    flow: &mut Flow,
    palette: Palette,
    scene: &Scene,
    journey: &Journey,
    verdict: &Verdict,
    parts: Parts,
) {
    let kind = verdict.kind.name();
    let confidence = match (verdict.kind, verdict.confidence) {
        (Kind::Unknown, _) | (_, Confidence::High) => None,
        (_, Confidence::Low) => Some("low confidence"),
        (_, Confidence::Confirmed) => Some("confirmed"),
    };
    named(flow, palette, verdict, confidence, ":");
    // The sentence also stands alone elsewhere, so it may begin with the same word.
    let text = outcome::text(scene, journey, verdict, &parts);
    let rest = text.strip_prefix(kind);
    let rest = rest.and_then(|rest| rest.strip_prefix(": ").or(rest.strip_prefix(' ')));
    flow.words(palette.plain, rest.unwrap_or(&text));
}

/// A verdict's sign, name and cause.
pub(super) fn brief(flow: &mut Flow, palette: Palette, verdict: &Verdict) {
    named(flow, palette, verdict, None, "");
}

/// The same, with a further remark, and text directly after it.
fn named(flow: &mut Flow, palette: Palette, verdict: &Verdict, remark: Option<&str>, end: &str) {
    let (sign, style) = sign(palette, verdict);
    let cause = verdict.cause.map(Cause::name);
    let remarks: Vec<_> = cause.into_iter().chain(remark).collect();
    let kind = verdict.kind.name();
    // A sign must not stand alone at the end of a line.
    if remarks.is_empty() {
        flow.phrase(style, &[sign, &format!("{kind}{end}")]);
    } else {
        flow.phrase(style, &[sign, kind]);
        flow.words(style, &format!("({}){end}", remarks.join(", ")));
    }
}

const fn sign(palette: Palette, verdict: &Verdict) -> (&'static str, Style) {
    match verdict.kind {
        Kind::Delivered => ("✔", palette.good),
        Kind::Dropped | Kind::Refused | Kind::Lost => ("✘", palette.alarm),
        Kind::Partial => ("✘", palette.odd),
        Kind::Unanswered => ("!", palette.odd),
        Kind::Left => ("→", palette.other),
        Kind::Unknown => ("?", palette.odd),
    }
}

/// The parts of a journey, if they have different fates.
fn shares(journey: &Journey, parts: Parts) -> Option<String> {
    let Parts {
        sent,
        delivered,
        dropped,
        lost,
        unknown,
    } = parts;
    let shares = [
        (delivered, "delivered"),
        (dropped, "dropped"),
        (lost, "lost"),
        (unknown, "unknown"),
    ];
    let shares = shares.iter().filter(|(share, _)| *share > 0);
    if shares.clone().count() < 2 {
        return None;
    }
    let thing = match &journey.packet.transport {
        Transport::Tcp(tcp) if tcp.payload_len > 0 => "bytes",
        _ => "packets",
    };
    let shares: Vec<_> = shares
        .map(|(share, fate)| format!("{share} {fate}"))
        .collect();
    Some(format!("of {sent} {thing}: {}", shares.join(", ")))
}
