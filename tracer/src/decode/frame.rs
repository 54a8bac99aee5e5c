//! Turns the bytes of a frame into the event that a kernel program would make.
//!
//! Captures of other programs hold frames. The same walk and the same code as in the kernel
//! copy the same fields.

use tracer_common::{
    config::Load,
    event::{ETHERNET, HopEvent},
    headers::{Bytes as _, fill_headers},
    layers::Unparsed,
    packet::Packet as _,
    walk::{quoted, walk},
};

/// Bytes of a transport header that ends after its ports.
const PORTS: usize = 4;

/// The event that a program would make of a frame. `frame` has the frame's first bytes; `len`
/// is its full length, bytes. `None` if the frame carries neither IP nor ARP.
///
/// `ethernet` tells whether the frame begins with an Ethernet header. The caller fills in the
/// point and the time.
///
/// # Errors
/// [`Unparsed`], if a program would count the frame as unparsed.
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
    // The capture ends within the header, but may have the ports.
    let ports: Option<[u8; PORTS]> = layers.has(PORTS).then(|| frame.read(layers.l4)).flatten();
    if let (0, Some(ports)) = (event.transport_len, ports) {
        event.transport_header[..PORTS].copy_from_slice(&ports);
        event.transport_len = PORTS as u8;
    }
    Ok(Some(event))
}
