//! Recordings of every fault and odd case, with the expected verdicts.
//!
//! `tests/fixtures` has the recordings, and a readable digest beside each: one paragraph for all
//! journeys of one kind. After an intended change of verdicts, `UPDATE_EXPECT=1` writes the digests
//! again, and a reviewer looks at the difference. `cargo xtask fixtures` records all of them again.

mod lossy;
mod owners;
mod selected;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    slice,
};

use expect_test::expect_file;
use tracer_core::{
    journal::{Changed, Reader, Selected, Started, View},
    journey::{Journey, Scene},
    model::{Cause, Direction, Packet, Point, Transport},
    verdict::{Parts, Summary, Verdict},
};

use crate::{
    playback::replay,
    store::Recordings,
    view::{evidence::sentences, outcome},
};

/// The digest of a recording, with journeys of one kind together.
#[derive(Default)]
struct Digest {
    text: String,
    kinds: BTreeMap<String, u64>,
}

impl View for Digest {
    fn started(&mut self, _: &Scene, started: &Started) -> io::Result<()> {
        writeln!(self.text, "{}", started.follow).expect("a string takes all");
        for warning in &started.warnings {
            writeln!(self.text, "! {warning}").expect("a string takes all");
        }
        Ok(())
    }

    fn changed(&mut self, scene: &Scene, changed: &Changed) -> io::Result<()> {
        let hello = &scene.nodes[changed.node];
        let mut say = |what: &str, point: &Point| {
            let Point {
                interface,
                direction,
                ..
            } = point;
            writeln!(
                self.text,
                "{what} {interface} {direction} on {}",
                hello.node
            )
        };
        for at in &changed.gone {
            say("-", &hello.points[*at]).expect("a string takes all");
        }
        for point in &hello.points[changed.points.clone()] {
            say("+", point).expect("a string takes all");
        }
        Ok(())
    }

    fn journey(
        &mut self,
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        parts: &Parts,
    ) -> io::Result<()> {
        let kind = kind(scene, journey, verdict, *parts);
        *self.kinds.entry(kind).or_default() += 1;
        Ok(())
    }

    fn summary(&mut self, _: &Scene, summary: &Summary, _: Option<&Selected>) -> io::Result<()> {
        for (kind, journeys) in &self.kinds {
            write!(self.text, "\n{journeys} × {kind}").expect("a string takes all");
        }
        let accounting = &summary.accounting;
        writeln!(
            self.text,
            "\n{} hops, {} joined, {} late, {} lost; {} drops, {} joined, {} late, {} of others",
            accounting.hops,
            accounting.joined,
            accounting.late,
            accounting.lost(),
            accounting.drops.freed,
            accounting.drops.joined,
            accounting.drops.late,
            accounting.drops.alone,
        )
        .expect("a string takes all");
        Ok(())
    }
}

/// The text on a journey, without numbers that only this journey has.
fn kind(scene: &Scene, journey: &Journey, verdict: &Verdict, parts: Parts) -> String {
    let mut text = String::new();
    let mut say = |line: String| {
        text.push_str(&without_numbers(&line));
        text.push('\n');
    };
    say(packet(scene, &journey.packet, journey.start()));
    for node in 0..scene.nodes.len() {
        let steps = journey.steps.iter().filter(|step| step.node == node);
        let points: Vec<String> = steps
            .map(|step| {
                let point = scene.point(step);
                let way = match point.direction {
                    Direction::Ingress => "in",
                    Direction::Egress => "out",
                };
                format!("{} {way}", point.interface)
            })
            .collect();
        if !points.is_empty() {
            say(format!(
                "  {}: {}",
                scene.nodes[node].node,
                points.join(", ")
            ));
        }
    }
    let confidence = format!("{:?}", verdict.confidence).to_lowercase();
    let cause = verdict.cause.map_or("-", Cause::name);
    let what = outcome::text(scene, journey, verdict, &parts);
    say(format!("  {what} ({confidence}, {cause})"));
    for sentence in sentences(scene, journey, verdict) {
        say(format!("    {sentence}"));
    }
    if parts.sent > 1 && parts.delivered < parts.sent {
        say(format!("    {parts:?}"));
    }
    text
}

fn packet(scene: &Scene, packet: &Packet, time: i64) -> String {
    let name = |address| {
        let pod = scene.pod(address, time);
        pod.map_or_else(|| address.to_string(), str::to_owned)
    };
    let what = match &packet.transport {
        Transport::Tcp(tcp) if tcp.payload_len > 0 => "data".to_owned(),
        Transport::Tcp(tcp) => tcp.flags.to_string(),
        Transport::Icmp(icmp) => format!("type {} code {}", icmp.kind, icmp.code),
        _ => String::new(),
    };
    let (src, dst) = (name(packet.src), name(packet.dst));
    format!("{} {what} {src} → {dst}", packet.proto())
}

/// Replaces the numbers of journeys, counts and sizes, which differ between packets of a kind.
fn without_numbers(line: &str) -> String {
    let mut text = String::new();
    let mut words = line.split(' ').peekable();
    while let Some(word) = words.next() {
        let number = word
            .trim_start_matches('#')
            .trim_end_matches([',', '.', ';', ')']);
        let is_number = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
        // The code and type of an ICMP message distinguish kinds.
        let tells = text.ends_with("code ") || text.ends_with("type ");
        if is_number && !tells {
            text.push_str(&word.replace(number, "N"));
        } else {
            text.push_str(word);
        }
        if words.peek().is_some() {
            text.push(' ');
        }
    }
    text
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
}

#[test]
fn recorded_cases_are_judged_as_before() {
    let mut cases = 0;
    for file in fs::read_dir(fixtures()).expect("there are fixtures") {
        let path = file.expect("a file").path();
        if path
            .extension()
            .is_none_or(|extension| extension != "arrows")
        {
            continue;
        }
        cases += 1;
        let mut recordings = Recordings::open(slice::from_ref(&path)).expect("a trace");
        let mut digest = Digest::default();
        let replayed = replay(&mut recordings, &mut Reader::new(&mut digest, None))
            .expect("a string takes all");
        assert!(replayed.broken.is_none(), "{}", path.display());
        expect_file![path.with_extension("txt")].assert_eq(&digest.text);
    }
    assert!(cases > 0, "no fixture is there");
}
