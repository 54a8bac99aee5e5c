//! The path of the packets as a diagram: requests go down in its left half, replies go up in its
//! right half.

use ratatui::{style::Style, text::Line};
use tracer_core::{journey::Scene, verdict::Evidence};

use super::{Pen, Theme, journeys, wrapped};
use crate::view::{
    evidence,
    live::{
        known::Known,
        spans::{bars, big, short},
        state::State,
    },
    moment::Moment,
    outcome,
    path::{Met, Passed, Problem, Station, Way},
};

/// Columns of the numbers of each direction.
const PACKETS: usize = 9;
const RATE: usize = 6;
const SPAN: usize = 8;
const WAY: usize = PACKETS + RATE + 2 * SPAN;

/// Columns of the frame, and of the light before a name.
const FRAME: usize = 3;
/// What the bars mean, displayed if there is room.
const RATES: &str = "packets/s, the latest at the right";

/// Columns of each part.
struct Columns {
    width: usize,
    name: usize,
    role: usize,
    /// Columns of the bars that show packets per second.
    bars: usize,
}

impl Columns {
    fn of(width: usize) -> Self {
        let rest = width.saturating_sub(FRAME + 2 * WAY);
        // An interface's name has up to 15 characters.
        let name = rest.clamp(1, 16);
        let role = if rest >= 16 + 12 { 12 } else { 0 };
        let rest = rest.saturating_sub(name + role);
        let bars = if rest >= 24 {
            (rest / 2).min(42) - 1
        } else {
            0
        };
        Self {
            width,
            name,
            role,
            bars,
        }
    }
}

pub(super) fn lines(
    state: &State,
    theme: Theme,
    width: usize,
    height: usize,
) -> Vec<Line<'static>> {
    let shown = state.shown();
    let scene: &Scene = state.scene();
    let way = state.way();
    let columns = Columns::of(width);
    let mut lines = headings(&columns);
    let mut node = None;
    for (index, station) in way.stations.iter().enumerate() {
        if node != Some(station.name.node) {
            node = Some(station.name.node);
            lines.push(node_line(shown, scene, theme, station, width));
        }
        let same_pod = |other: Option<&Station>| other.is_some_and(|one| one.pod == station.pod);
        let before = index
            .checked_sub(1)
            .and_then(|index| way.stations.get(index));
        if let Some(pod) = &station.pod
            && station.begins()
            && !same_pod(before)
        {
            lines.push(pod_line(pod, width));
        }
        lines.push(station_line(state, theme, &columns, station));
        for problem in &station.problems {
            lines.extend(problem_lines(shown, scene, theme, problem, width));
        }
        if let Some(pod) = &station.pod
            && !station.begins()
            && !same_pod(way.stations.get(index + 1))
        {
            lines.push(pod_line(pod, width));
        }
    }
    if !way.stations.is_empty() {
        lines.push(Line::styled("└", Theme::dim()));
    }
    nowhere(&mut lines, shown, scene, theme, &way, width);
    latest(&mut lines, state, theme, width, height);
    lines
}

/// The latest matching journeys, if there is room below the path.
fn latest(
    lines: &mut Vec<Line<'static>>,
    state: &State,
    theme: Theme,
    width: usize,
    height: usize,
) {
    /// With fewer journeys, a heading is not worth its line.
    const FEWEST: usize = 3;
    let room = height.saturating_sub(lines.len() + 2);
    if room < FEWEST || state.list.len() == 0 {
        return;
    }
    lines.push(Line::default());
    lines.push(Line::styled("The latest journeys", Theme::strong()));
    let numbers = (0..room).map_while(|row| state.list.at(row));
    let entries = numbers.filter_map(|number| state.journal.get(number));
    lines.extend(entries.map(|entry| journeys::line(state, theme, entry, width)));
}

fn nowhere(
    lines: &mut Vec<Line<'static>>,
    shown: &Known,
    scene: &Scene,
    theme: Theme,
    way: &Way,
    width: usize,
) {
    if !way.nowhere.is_empty() {
        lines.push(Line::styled("before the first point:", Theme::dim()));
        for problem in &way.nowhere {
            lines.extend(problem_lines(shown, scene, theme, problem, width));
        }
    }
    if shown.tally.more_problems > 0 {
        let text = format!(
            "and {} more problems, of too many kinds to tell apart",
            big(shown.tally.more_problems)
        );
        lines.push(Line::styled(text, theme.odd()));
    }
}

fn headings(columns: &Columns) -> Vec<Line<'static>> {
    let mut above = Pen::new(columns.width);
    let mut below = Pen::new(columns.width);
    above.left(Style::new(), FRAME + columns.name + columns.role, "");
    below.left(Style::new(), FRAME, "");
    below.left(Theme::dim(), columns.name + columns.role, "interface");
    for title in ["▼ requests", "▲ replies"] {
        above.right(
            Theme::strong(),
            WAY + columns.bars.min(1) * (columns.bars + 1),
            title,
        );
        for (width, title) in [
            (PACKETS, "packets"),
            (RATE, "/s"),
            (SPAN, "p50"),
            (SPAN, "p99"),
        ] {
            below.right(Theme::dim(), width, title);
        }
        if columns.bars > 0 {
            let title = if columns.bars > RATES.len() {
                RATES
            } else {
                "rate"
            };
            below.right(Theme::dim(), columns.bars + 1, title);
        }
    }
    vec![above.line(), below.line()]
}

fn node_line(
    shown: &Known,
    scene: &Scene,
    theme: Theme,
    station: &Station,
    width: usize,
) -> Line<'static> {
    let node = station.name.node;
    let mut pen = Pen::new(width);
    pen.put(Theme::dim(), "├─ ");
    pen.put(Theme::strong(), &scene.nodes[node].node);
    let standing = shown.standing.as_ref();
    if standing.is_some_and(|standing| standing.away.get(node) == Some(&true)) {
        pen.put(theme.alarm(), "  ✘ not watched for now");
    }
    if let Some(after) = &station.after {
        pen.put(theme.other(), &format!("  ↳ from {after}"));
    }
    pen.put(Style::new(), " ");
    let rest = pen.left_over();
    pen.put(Theme::dim(), &"─".repeat(rest));
    pen.line()
}

fn pod_line(pod: &str, width: usize) -> Line<'static> {
    let mut pen = Pen::new(width);
    pen.put(Theme::dim(), "│  ");
    pen.put(Theme::strong(), &format!("■ {pod}"));
    pen.line()
}

fn station_line(
    state: &State,
    theme: Theme,
    columns: &Columns,
    station: &Station,
) -> Line<'static> {
    let now = state.shown().now;
    let mut pen = Pen::new(columns.width);
    let passes = state.known.summary.is_none()
        && state.paused.is_none()
        && station.ways.iter().any(|way| way.seconds.lights(now));
    let (light, style) = if passes {
        ("●", theme.good())
    } else {
        ("○", Theme::dim())
    };
    pen.put(Theme::dim(), "│");
    pen.put(style, light).tab(FRAME);
    let unused = station.ways.iter().all(|way| way.packets == 0);
    let style = if unused { Theme::dim() } else { Style::new() };
    pen.left(style, columns.name, &station.interface());
    if columns.role > 0 {
        pen.left(Theme::dim(), columns.role, station.role());
    }
    if let Some(gone) = station.gone {
        let text = format!("gone since {}", state.zone.clock(Moment(gone)));
        if unused {
            pen.put(theme.odd(), &text);
            return pen.line();
        }
    } else if unused {
        pen.put(Theme::dim(), "  no packet yet");
        return pen.line();
    }
    for way in &station.ways {
        passed(&mut pen, theme, columns, way, now);
    }
    pen.line()
}

fn passed(pen: &mut Pen, theme: Theme, columns: &Columns, way: &Passed, now: i64) {
    if way.packets == 0 {
        pen.right(Theme::dim(), PACKETS, "-");
        pen.left(Style::new(), WAY - PACKETS, "");
    } else {
        pen.right(Style::new(), PACKETS, &big(way.packets));
        let rate = way.seconds.rate(now);
        pen.right(Theme::dim(), RATE, &rate_of(rate));
        let mark = if way.two_clocks { "~" } else { "" };
        for (part, style) in [(0.5, Style::new()), (0.99, theme.other())] {
            let span = way.spans.quantile(part);
            let span = span.map_or_else(String::new, |span| format!("{mark}{}", short(span)));
            pen.right(style, SPAN, &span);
        }
    }
    if columns.bars > 0 {
        pen.put(Style::new(), " ");
        let counts = way.seconds.until(now, columns.bars);
        pen.left(theme.other(), columns.bars, &bars(&counts));
    }
}

fn rate_of(rate: f64) -> String {
    if rate == 0.0 {
        "-".to_owned()
    } else if rate < 10.0 {
        format!("{rate:.1}")
    } else if rate < 10_000.0 {
        format!("{rate:.0}")
    } else {
        format!("{:.0}k", rate / 1000.0)
    }
}

/// A problem: what happened, why, and what can be repaired.
fn problem_lines(
    shown: &Known,
    scene: &Scene,
    theme: Theme,
    problem: &Problem,
    width: usize,
) -> Vec<Line<'static>> {
    let Some(Met { packets, example }) = shown.tally.problems.get(problem) else {
        return Vec::new();
    };
    let (sign, style) = theme.kind(problem.kind);
    let way = if problem.course == 0 { "▼" } else { "▲" };
    let text = outcome::text(scene, &example.journey, &example.verdict, &example.parts);
    let text = text.strip_prefix(problem.kind.name()).unwrap_or(&text);
    let text = text.trim_start_matches([':', ' ']);
    let such = if *packets > 1 { "as " } else { "" };
    let such = format!("{such}#{}", example.journey.id);
    let begin = format!("│  {sign} ");
    let text = format!(
        "{} {} {way} ({such}): {text}",
        big(*packets),
        problem.kind.name()
    );
    let mut lines = wrapped(style, &begin, &text, width);
    let mut why: Vec<String> = Vec::new();
    if let Some(freed) = &problem.drop {
        why.push(format!("{} in {}", freed.reason, freed.function));
    }
    // Facts that an agent read show what can be repaired.
    let facts = example.verdict.evidence.iter();
    let facts = facts.filter(|evidence| matches!(evidence, Evidence::Fact(_)));
    why.extend(facts.map(|fact| evidence::sentence(scene, &example.journey, fact)));
    for why in why {
        lines.extend(wrapped(Theme::dim(), "│    · ", &why, width));
    }
    lines
}
