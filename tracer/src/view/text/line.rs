//! One journey in one line, without its hops.

use tracer_core::{
    journey::{Journey, Scene},
    verdict::{Kind, Parts, Verdict},
};

use super::{
    conclusion,
    flow::{Flow, shorten},
    journey::{begin, end, facts},
};
use crate::view::Look;

/// Columns between the parts of a line: packet, ends, hops, and verdict.
const BETWEEN: usize = 1;

/// Columns of an end's name if there is little room.
const SHORT: usize = 24;

/// Details that a line without room for all can leave out.
#[derive(Clone, Copy)]
struct Detail {
    /// The verdict's sentence. For a delivered packet, the verdict's name says nearly everything.
    sentence: bool,
    /// Names in full length.
    names: bool,
}

/// A delivered packet gets what one line has room for, or two lines on a narrow terminal. Other
/// journeys get everything, on more lines if necessary.
pub(super) fn show(
    look: &Look,
    scene: &Scene,
    journey: &Journey,
    verdict: &Verdict,
    parts: Parts,
) -> Flow {
    let details = [(true, true), (false, true), (false, false)];
    let all = details.map(|(sentence, names)| Detail { sentence, names });
    let lay_out = |detail| lay_out(look, scene, journey, verdict, parts, detail);
    let whole = lay_out(all[0]);
    if verdict.kind != Kind::Delivered || whole.height() == 1 {
        return whole;
    }
    let brief = lay_out(all[1]);
    if brief.height() == 1 {
        brief
    } else {
        lay_out(all[2])
    }
}

fn lay_out(
    look: &Look,
    scene: &Scene,
    journey: &Journey,
    verdict: &Verdict,
    parts: Parts,
    detail: Detail,
) -> Flow {
    let palette = look.palette;
    let mut flow = Flow::new(look.width);
    begin(&mut flow, look, journey);

    flow.space(BETWEEN);
    let [from, to] = [journey.packet.src, journey.packet.dst].map(|address| {
        let name = end(scene, journey, address);
        if detail.names {
            name
        } else {
            shorten(&name, SHORT)
        }
    });
    flow.phrase(palette.plain, &[&from, &format!("→ {to}")]);

    flow.space(BETWEEN);
    for (style, fact) in facts(palette, scene, journey) {
        flow.phrase(style, &[&fact]);
    }

    flow.space(BETWEEN);
    if detail.sentence {
        conclusion::whole(&mut flow, palette, scene, journey, verdict, parts);
    } else {
        conclusion::brief(&mut flow, palette, verdict);
    }
    flow.line();
    flow
}
