//! The captured bytes of a journey's packet, hop by hop: offset, hexadecimal digits and ASCII
//! characters, as tcpdump prints them.

use std::fmt::Write as _;

use ratatui::{style::Style, text::Line};
use tracer_core::{
    journal::Entry,
    journey::{CapturedFrame, Scene, Step},
};

use super::{Pen, Theme};
use crate::view::HOST;

/// Bytes in a line, which then has 75 columns.
const IN_LINE: usize = 16;

/// The captured bytes. Empty if nothing was captured.
pub(super) fn lines(scene: &Scene, entry: &Entry, width: usize) -> Vec<Line<'static>> {
    let steps = entry.journey.steps.iter();
    let frames = steps.flat_map(|step| step.frames().iter().map(move |frame| (step, frame)));
    frames
        .flat_map(|(step, frame)| of_frame(scene, step, frame, width))
        .collect()
}

fn of_frame(scene: &Scene, step: &Step, frame: &CapturedFrame, width: usize) -> Vec<Line<'static>> {
    let point = scene.point(step);
    let inside = if point.netns == HOST { "" } else { " (pod)" };
    let mut pen = Pen::new(width);
    pen.put(Theme::dim(), "  ");
    let node = &scene.nodes[step.node].node;
    pen.put(
        Theme::strong(),
        &format!("{node} {}{inside} {}", point.interface, point.place()),
    );
    pen.put(
        Theme::dim(),
        &format!(": {} of {} bytes", frame.bytes.len(), frame.len),
    );
    let mut lines = vec![Line::default(), pen.line()];
    for (line, bytes) in frame.bytes.chunks(IN_LINE).enumerate() {
        let mut pen = Pen::new(width);
        pen.put(Theme::dim(), &format!("  {:04x}  ", line * IN_LINE));
        pen.left(Style::new(), 3 * IN_LINE + 1, &hex(bytes));
        pen.put(Theme::dim(), &ascii(bytes));
        lines.push(pen.line());
    }
    lines
}

/// Hexadecimal digits in pairs, as tcpdump prints them.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(3 * IN_LINE);
    for byte in bytes {
        let _: Result<(), _> = write!(text, "{byte:02x} ");
    }
    text
}

/// Printable ASCII characters. Any other byte is a dot, because it may control the terminal.
fn ascii(bytes: &[u8]) -> String {
    let printed = |byte: &u8| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    };
    bytes.iter().map(printed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_steers_a_terminal() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        let text = ascii(&all);
        assert_eq!(text.chars().count(), all.len());
        assert!(text.chars().all(|letter| (' '..='~').contains(&letter)));
        assert_eq!(hex(&[0, 0xff, 0x41]), "00 ff 41 ");
    }
}
