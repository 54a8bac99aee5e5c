//! `tracer import`: turns captures into a recording.
//!
//! A user may have run tcpdump at several points of several machines. A capture holds packets
//! as they passed a point, as an agent's hops do. So a capture becomes what an agent at that
//! point would have sent, and everything else is unchanged.
//!
//! ```text
//! capture ──survey──► places of packets ──► nodes, points, streams
//!    └─────frames──► walk, copy, decode ──► hops ──► recording
//! ```
//!
//! **What a capture does not say.** It may have missed packets, and it holds no drops. The
//! recording says that in the terms that are there: batches that are overdue, and nodes whose
//! drops are not watched. So nothing is concluded from what is not in a capture, unless it
//! vouches for itself (`survey`). The packets themselves compare the nodes' clocks (`clocks`).
//! If they cannot, the recording has a skew as large as the hold time.
//!
//! **An export of tracer's** carries its recording, which is taken out as it was
//! (`restore`).

mod capture;
mod clocks;
mod convert;
mod error;
mod interface;
mod link;
mod points;
mod restore;
mod survey;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal as _};

use tracer_common::{
    config::{Load, PORTS, TunnelPorts},
    hash::Key,
};
use tracer_core::{collect::Beginning, journey::Limits};

use self::{
    capture::Input,
    clocks::{Clocks, compare},
    convert::{Rest, convert},
    error::ImportError,
    points::Layout,
    restore::restore,
    survey::Survey,
};
use crate::{
    cli::{Failure, ImportArgs, Outcome},
    inventory::{Inventory, list},
    stdio,
    store::{Head, RecordError, Writer, Written, unix},
    terminal::tell,
};

/// UDP ports that always count as VXLAN (RFC 7348, and Linux's default).
const VXLAN: [u16; 2] = [8472, 4789];
/// UDP port that always counts as Geneve (RFC 8926).
const GENEVE: u16 = 6081;

/// Imports captures into a recording.
///
/// # Errors
/// [`Failure`], in one sentence.
pub fn run(args: &ImportArgs) -> Result<Outcome, Failure> {
    if stdio::is_dash(&args.output) && io::stdout().is_terminal() {
        return Err(Failure::Other(
            "a recording is binary and not for a terminal: name a file with -o FILE".to_owned(),
        ));
    }
    import(args).map_err(|error| match error {
        ImportError::Place(sentence) => Failure::Syntax(sentence),
        ImportError::Record(RecordError::Write { source, .. })
            if stdio::is_dash(&args.output) && source.kind() == io::ErrorKind::BrokenPipe =>
        {
            Failure::BrokenPipe
        }
        // The partial recording is removed, because it never got its final name.
        ImportError::Record(RecordError::Write { source, .. }) => Failure::Other(format!(
            "cannot write {}: {source}",
            stdio::output(&args.output)
        )),
        error => Failure::new(error),
    })
}

fn import(args: &ImportArgs) -> Result<Outcome, ImportError> {
    let mut inputs = Vec::new();
    let mut surveys = Vec::new();
    for path in &args.files {
        let input = Input::open(path)?;
        surveys.push(Survey::of(&input)?);
        inputs.push(input);
    }
    for survey in surveys.iter().filter(|survey| survey.cut) {
        tell(&format!(
            "{} ends in the middle, or is damaged there: what comes before is imported",
            survey.name
        ));
    }
    if let Some(at) = surveys.iter().position(|survey| survey.carried > 0) {
        let survey = &surveys[at];
        if inputs.len() > 1 {
            return Err(ImportError::NotAlone(inputs[at].path.clone()));
        }
        if survey.whole == survey.carried && args.at.is_empty() {
            let names = restore(&inputs[at], survey, &args.output)?;
            tell(&format!(
                "wrote {}: what {} was made of, as it was",
                list(&names, "and"),
                survey.name
            ));
            return Ok(Outcome::Done);
        }
    }
    let inventory = match &args.inventory {
        Some(path) => Some(Inventory::load(path, |_| {})?),
        None => None,
    };
    captures(args, &inputs, &surveys, inventory.as_ref())
}

/// Makes a recording from packets of captures.
fn captures(
    args: &ImportArgs,
    inputs: &[Input],
    surveys: &[Survey],
    inventory: Option<&Inventory>,
) -> Result<Outcome, ImportError> {
    let mut layout = Layout::of(inputs, surveys, &args.at, inventory)?;
    let mut load = Load {
        key: Key([crate::random(), crate::random()]),
        ..Load::default()
    };
    load.ports = ports(&args.vxlan_ports)?;
    let clocks = compare(inputs, surveys, &mut layout, &load, args.hold)?;
    let spots = layout.routes.iter().map(|((file, key), route)| {
        let offset = layout.nodes[route.node].realtime_offset;
        let spot = &surveys[*file].spots[key];
        (unix(spot.first, offset), unix(spot.last, offset))
    });
    let (Some(first), Some(last)) = (
        spots.clone().map(|(first, _)| first).min(),
        spots.map(|(_, last)| last).max(),
    ) else {
        let names: Vec<&str> = surveys.iter().map(|survey| &*survey.name).collect();
        let names = list(&names, "or");
        tell(&format!(
            "no packet that has a time is in {names}: nothing was written"
        ));
        return Ok(Outcome::NothingMatched);
    };
    let mut writer = Writer::create_whole(&args.output)?;
    for sentence in &clocks.sentences {
        tell(sentence);
    }
    let skew = clocks.skew;
    let beginning = beginning(args, surveys, &layout, inventory, (clocks, first));
    writer.begin(Head::new(beginning, Vec::new(), Some(load.key)))?;
    // All points count as observed before the first packet, by every clock. A stream itself
    // says what its capture may have missed.
    writer.armed(first.saturating_sub(skew));
    let rest = convert(inputs, surveys, &layout, &load, first, &mut writer)?;
    let written = writer.end(last)?;
    told(args, surveys, &layout, &written, rest);
    Ok(Outcome::of(written.hops))
}

/// UDP ports of tunnels.
fn ports(more: &[u16]) -> Result<TunnelPorts, ImportError> {
    let mut ports = TunnelPorts::default();
    let mut vxlan: Vec<u16> = VXLAN.to_vec();
    vxlan.extend(more.iter().filter(|port| !VXLAN.contains(port)));
    vxlan.dedup();
    if vxlan.len() > PORTS {
        return Err(ImportError::Place(format!(
            "{} VXLAN ports are too many: give --vxlan-port at most {} times",
            vxlan.len() - VXLAN.len(),
            PORTS - VXLAN.len()
        )));
    }
    for (port, known) in ports.vxlan.iter_mut().zip(vxlan) {
        *port = known;
    }
    ports.geneve[0] = GENEVE;
    Ok(ports)
}

/// The beginning of the recording, before the first packet.
fn beginning(
    args: &ImportArgs,
    surveys: &[Survey],
    layout: &Layout,
    inventory: Option<&Inventory>,
    (clocks, first): (Clocks, i64),
) -> Beginning {
    let hold = i64::try_from(args.hold.as_nanos()).unwrap_or(i64::MAX);
    let mut warnings: Vec<String> = inventory.and_then(Inventory::warning).into_iter().collect();
    if layout.routes.values().any(|route| route.vouched.is_none()) {
        warnings.push(
            "captures do not say what they have missed: nothing is concluded from a packet that is \
             not in one"
                .to_owned(),
        );
    }
    warnings.extend(clocks.sentences);
    let names: Vec<&str> = surveys.iter().map(|survey| &*survey.name).collect();
    Beginning {
        nodes: layout.nodes.clone(),
        owners: inventory.map(Inventory::owners).unwrap_or_default(),
        sources: Vec::new(),
        asked: Vec::new(),
        limits: Limits {
            hold: hold.saturating_add(clocks.skew),
            ..Limits::default()
        },
        count: None,
        time: first,
        follow: format!("all packets captured in {}", list(&names, "and")),
        warnings,
        skew: clocks.skew,
    }
}

/// Prints what was written, and what was left out.
fn told(args: &ImportArgs, surveys: &[Survey], layout: &Layout, written: &Written, rest: Rest) {
    let points = layout.nodes.iter().map(|hello| hello.points.len());
    let mut said = format!(
        "wrote {}: {} hops at {} points of {} nodes, {} bytes",
        stdio::output(&args.output),
        written.hops,
        points.sum::<usize>(),
        layout.nodes.len(),
        written.bytes,
    );
    let timeless = surveys.iter().map(|survey| survey.timeless).sum();
    for (packets, what) in [
        (rest.others, "are neither IP nor ARP"),
        (rest.unparsed, "have headers that cannot be read"),
        (timeless, "have no time"),
        (layout.unnamed, "are of interfaces that no --at names"),
        (
            layout.dropped,
            "are drops, of which the recording is not carried",
        ),
    ] {
        if packets > 0 {
            said += &format!("; left out: {packets} that {what}");
        }
    }
    tell(&said);
}
