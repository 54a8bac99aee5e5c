//! From the bytes of a frame to the record that a program makes of it.
//!
//! Captures of other programs hold frames. What is read of one is what a program would
//! have copied of it, by the same walk and the same code.

use tracer_common::{
    config::Load,
    event::{ETHERNET, HopEvent},
    headers::{Bytes as _, fill_headers},
    layers::Unparsed,
    packet::Packet as _,
    walk::{quoted, walk},
};

/// Bytes of a transport header that has only its ports.
const PORTS: usize = 4;

/// What a program would have copied of a frame, of which `frame` holds the first bytes and
/// `len` says how many it had. `None` if it carries neither IP nor ARP.
///
/// `ethernet` tells whether it begins with an Ethernet header. Where it was seen and when is
/// the caller's.
///
/// # Errors
/// [`Unparsed`], for what a program would have counted as such.
pub(crate) fn event(
    frame: &[u8],
    len: u32,
    ethernet: bool,
    load: &Load,
) -> Result<Option<HopEvent>, Unparsed> {
    let Some(layers) = walk(frame, ethernet, &load.ports)? else {
        return Ok(None);
    };
    let quote = quoted(frame, &layers)?;
    let mut event = HopEvent {
        len,
        ..HopEvent::ZERO
    };
    if ethernet && frame.fixed::<12>(0, &mut event.macs) {
        event.flags |= ETHERNET;
    }
    fill_headers(&mut event, frame, &layers, quote.as_ref(), load);
    // The capture ends within the header: its ports may be there all the same.
    let ports: Option<[u8; PORTS]> = layers.has(PORTS).then(|| frame.read(layers.l4)).flatten();
    if let (0, Some(ports)) = (event.transport_len, ports) {
        event.transport_header[..PORTS].copy_from_slice(&ports);
        event.transport_len = PORTS as u8;
    }
    Ok(Some(event))
}
