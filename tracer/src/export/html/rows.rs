//! Journeys, as rows for the page's script.

use std::{io, rc::Rc};

use hashbrown::HashMap;
use tracer_core::{
    journey::{Class, Drop, Journey, Scene, Step},
    model::{Cause, Proto},
    verdict::{Confidence, Verdict},
};

use super::{embedded, number_of};
use crate::view::{
    evidence::sentences,
    packet_words,
    places::{drop_place, party},
    translation,
};

/// Limit of journeys on a page.
const MOST: usize = 200_000;

/// Values that many rows repeat; rows have their numbers.
#[derive(Default)]
pub(super) struct Seen {
    /// Numbers begin with 1; 0 is the empty string.
    strings: HashMap<Rc<str>, u32>,
    by_number: Vec<Option<Rc<str>>>,
    /// Numbers whose strings no row has any more.
    free: Vec<u32>,
    points: HashMap<(usize, usize), u32>,
}

impl Seen {
    /// The number of a string, which is also added to `own`.
    fn string(&mut self, text: &str, own: &mut Vec<u32>) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let number = self.strings.get(text).copied();
        let number = number.unwrap_or_else(|| self.add(text));
        own.push(number);
        number
    }

    fn add(&mut self, text: &str) -> u32 {
        let text: Rc<str> = text.into();
        let number = self.free.pop().unwrap_or_else(|| {
            self.by_number.push(None);
            u32::try_from(self.by_number.len()).unwrap_or(u32::MAX)
        });
        self.by_number[number as usize - 1] = Some(Rc::clone(&text));
        self.strings.insert(text, number);
        number
    }

    /// Forgets the strings of all other rows.
    fn keep<'a>(&mut self, rows: impl Iterator<Item = &'a Row>) {
        let mut is_used = vec![false; self.by_number.len()];
        for number in rows.flat_map(|row| &row.strings) {
            is_used[*number as usize - 1] = true;
        }
        for (number, is_used) in (1..).zip(is_used) {
            let text = &mut self.by_number[number as usize - 1];
            if let Some(text) = text.take_if(|_| !is_used) {
                self.strings.remove(&text);
                self.free.push(number);
            }
        }
    }

    fn point(&mut self, node: usize, point: usize) -> u32 {
        let next = u32::try_from(self.points.len()).unwrap_or(u32::MAX);
        *self.points.entry((node, point)).or_insert(next)
    }

    /// Notes all points, also those that saw no packet.
    pub(super) fn all_points(&mut self, scene: &Scene) {
        for (node, hello) in scene.nodes.iter().enumerate() {
            for point in 0..hello.points.len() {
                self.point(node, point);
            }
        }
    }

    /// Strings by number; 0 is the empty string.
    pub(super) fn strings(&self) -> Vec<&str> {
        let all = self.by_number.iter();
        let all = all.map(|text| text.as_deref().unwrap_or_default());
        [""].into_iter().chain(all).collect()
    }

    /// Points by number.
    pub(super) fn points(&self) -> Vec<(usize, usize)> {
        let mut points = vec![(0, 0); self.points.len()];
        for (point, number) in &self.points {
            points[*number as usize] = *point;
        }
        points
    }
}

/// A journey, as JSON for the script.
pub(super) struct Row {
    /// The sort key: time since the start, ns, and the journey's number.
    order: (i64, u64),
    pub(super) json: Box<str>,
    /// Numbers of its strings.
    strings: Box<[u32]>,
}

/// The names of confidences, by number.
pub(super) const CONFIDENCES: [&str; 3] = ["low", "high", "confirmed"];

impl Row {
    pub(super) fn new(
        scene: &Scene,
        journey: &Journey,
        verdict: &Verdict,
        text: &str,
        begin: i64,
        seen: &mut Seen,
    ) -> io::Result<Self> {
        let start = journey.start();
        let time = start.saturating_sub(begin);
        let mut own = Vec::new();
        let evidence = sentences(scene, journey, verdict).into_iter();
        let evidence: Vec<u32> = evidence.map(|one| seen.string(&one, &mut own)).collect();
        let mut hops = Vec::with_capacity(3 * journey.steps.len());
        let mut previous = None;
        for step in &journey.steps {
            let note = note(scene, journey, previous, step);
            hops.push(i64::from(seen.point(step.node, step.point)));
            hops.push(step.time.saturating_sub(start));
            hops.push(i64::from(seen.string(&note, &mut own)));
            previous = Some(step);
        }
        // The drop of a packet that had arrived would look like a fault.
        let drops = journey.drops.iter();
        let drops = drops.filter(|drop| drop.judgement.class != Class::Delivered);
        let drops: Vec<i64> = drops
            .flat_map(|drop| {
                let text = seen.string(&freed(scene, drop), &mut own);
                [i64::from(text), drop.time.saturating_sub(start)]
            })
            .collect();
        let confidence = match verdict.confidence {
            Confidence::Low => 0,
            Confidence::High => 1,
            Confidence::Confirmed => 2,
        };
        // The script names these columns.
        let columns = (
            journey.id,
            time,
            number_of(verdict.kind),
            seen.string(&party(scene, journey.packet.src, start), &mut own),
            seen.string(&party(scene, journey.packet.dst, start), &mut own),
            packet_words(&journey.packet),
            seen.string(text, &mut own),
            confidence,
            seen.string(verdict.cause.map_or("", Cause::name), &mut own),
            evidence,
            hops,
            drops,
            journey.answers.unwrap_or_default(),
            journey.retransmits.unwrap_or_default(),
            u8::from(journey.ambiguous),
        );
        Ok(Self {
            order: (time, journey.id),
            json: embedded(&columns)?.into(),
            strings: own.into(),
        })
    }
}

/// Notes on a hop besides its place and time.
fn note(scene: &Scene, journey: &Journey, previous: Option<&Step>, step: &Step) -> String {
    let changes = translation::of(scene, journey, previous, step);
    let mut notes: Vec<String> = changes
        .iter()
        .map(|change| match &change.name {
            Some(name) => format!("{} {} → {} ({name})", change.kind, change.from, change.to),
            None => format!("{} {} → {}", change.kind, change.from, change.to),
        })
        .collect();
    if journey.packet.proto() != Proto::Arp {
        notes.push(format!("ttl {}", step.ttl));
    }
    notes.push(format!("{} B", step.len));
    if step.segments > 1 {
        notes.push(format!("{} segments", step.segments));
    }
    if step.seen < journey.size() {
        notes.push(format!("only {} of {} bytes", step.seen, journey.size()));
    }
    if let Some(vlan) = step.vlan {
        notes.push(format!("vlan {vlan}"));
    }
    if let Some(encap) = &step.encap {
        let vni = encap.vni.map_or_else(String::new, |vni| format!(" {vni}"));
        let levels = match encap.levels {
            0 | 1 => String::new(),
            levels => format!(", the innermost of {levels} tunnels"),
        };
        notes.push(format!(
            "in {}{vni} {} → {}{levels}",
            encap.kind, encap.outer_src, encap.outer_dst
        ));
    }
    notes.join(", ")
}

/// Where a kernel freed the packet, or a copy of it.
fn freed(scene: &Scene, drop: &Drop) -> String {
    let what = match drop.judgement.class {
        Class::Loss => "dropped",
        Class::Refusal => "refused",
        Class::Unknown => "freed, which may be its loss,",
        Class::Duplicate | Class::Delivered | Class::Flooded => "a copy was freed",
    };
    let place = drop_place(scene, drop);
    format!("{what} {place}: {} in {}", drop.reason, drop.function)
}

/// Journeys with problems, and a sample of the others, evenly spread.
pub(super) struct Rows {
    most: usize,
    problems: Vec<Row>,
    more_problems: u64,
    others: Vec<Row>,
    /// Number of other journeys, and how many of them one kept journey stands for.
    seen: u64,
    stride: u64,
}

impl Default for Rows {
    fn default() -> Self {
        Self {
            most: MOST,
            problems: Vec::new(),
            more_problems: 0,
            others: Vec::new(),
            seen: 0,
            stride: 1,
        }
    }
}

impl Rows {
    /// Whether the next journey is kept.
    pub(super) fn wants(&mut self, is_problem: bool) -> bool {
        if is_problem {
            let room = self.problems.len() < self.most;
            self.more_problems += u64::from(!room);
            return room;
        }
        self.seen += 1;
        self.problems.len() < self.most && (self.seen - 1).is_multiple_of(self.stride)
    }

    pub(super) fn push(&mut self, is_problem: bool, row: Row, seen: &mut Seen) {
        if is_problem {
            self.problems.push(row);
        } else {
            self.others.push(row);
        }
        while self.problems.len() + self.others.len() > self.most {
            if self.others.len() == 1 {
                self.others.clear();
            }
            let mut keep = false;
            self.others.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride = self.stride.saturating_mul(2);
            seen.keep(self.problems.iter().chain(&self.others));
        }
    }

    /// A sentence on the journeys that are left out; `None` if none is.
    pub(super) fn sentence(&self) -> Option<String> {
        let others = self.others.len() as u64;
        if self.more_problems > 0 {
            return Some(format!(
                "This page lists the first {} journeys with problems of {}, and none of {} others; \
                 sums are of all.",
                self.problems.len(),
                self.problems.len() as u64 + self.more_problems,
                self.seen
            ));
        }
        (others < self.seen).then(|| {
            format!(
                "This page lists all {} journeys with problems, and of {} others a sample of {others}; \
                 sums are of all.",
                self.problems.len(),
                self.seen
            )
        })
    }

    /// All rows, in the order of time.
    pub(super) fn in_order(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.problems.iter().chain(&self.others).collect();
        rows.sort_unstable_by_key(|row| row.order);
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, Rows, Seen};

    fn filled(problems: i64, others: i64) -> Rows {
        let mut rows = Rows {
            most: 100,
            ..Rows::default()
        };
        let mut seen = Seen::default();
        for number in 0..problems.max(others) {
            for (is_problem, count) in [(true, problems), (false, others)] {
                if number < count && rows.wants(is_problem) {
                    let row = Row {
                        order: (number, 0),
                        json: "".into(),
                        strings: [seen.string(&number.to_string(), &mut Vec::new())].into(),
                    };
                    rows.push(is_problem, row, &mut seen);
                }
            }
        }
        // No more strings than those of the rows stay, and each row still has its own.
        assert!(
            seen.by_number.len() <= 2 * rows.most,
            "{}",
            seen.by_number.len()
        );
        let strings = seen.strings();
        for row in rows.in_order() {
            assert_eq!(strings[row.strings[0] as usize], row.order.0.to_string());
        }
        rows
    }

    #[test]
    fn all_problems_stay_and_of_others_a_sample() {
        let rows = filled(60, 10_000);
        assert_eq!(rows.problems.len(), 60);
        let others: Vec<i64> = rows.others.iter().map(|row| row.order.0).collect();
        assert!((20..=40).contains(&others.len()), "{others:?}");
        let step = others[1] - others[0];
        assert!(others.windows(2).all(|pair| pair[1] - pair[0] == step));
        let told = rows.sentence().expect("something is left out");
        assert!(told.contains("all 60 journeys with problems"), "{told}");
        assert!(!told.contains("  "), "{told}");
        assert!(told.contains("of 10000 others a sample of"), "{told}");
        assert!(rows.in_order().is_sorted_by_key(|row| row.order));
    }

    #[test]
    fn more_problems_than_there_is_room_for_are_counted() {
        let rows = filled(150, 10_000);
        assert_eq!(rows.in_order().len(), 100);
        let told = rows.sentence().expect("something is left out");
        assert!(
            told.contains("first 100 journeys with problems of 150"),
            "{told}"
        );
    }

    #[test]
    fn nothing_is_said_where_all_is_there() {
        assert_eq!(filled(50, 50).sentence(), None);
        assert!(filled(50, 51).sentence().is_some());
    }
}
