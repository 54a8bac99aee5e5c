//! Decodes the records of the drop programs.

use tracer_common::drop::{DropEvent, NAME_BYTES, Scope};
use tracer_core::model::{Connection, Encap, Fact, Mac, Packet};

use super::{Malformed, encap, frame_mac, packet};

/// A record of the drop programs. Names for its numbers are not looked up yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawDrop {
    pub(crate) event: DropEvent,
    pub(crate) scope: Option<Scope>,
    pub(crate) device: Option<String>,
    pub(crate) dst_mac: Option<Mac>,
    pub(crate) encap: Option<Encap>,
    pub(crate) packet: Option<Packet>,
    /// [`Fact::SkBuff`]; `None` if it tells nothing.
    pub(crate) context: Option<Fact>,
}

/// Decodes a record of the drop programs.
///
/// A packet with invalid headers was dropped all the same. Then the drop has no packet.
pub(crate) fn freed(record: &[u8]) -> Result<RawDrop, Malformed> {
    let event = DropEvent::from_bytes(record).ok_or(Malformed::Length)?;
    let scope = match event.scope {
        0 => None,
        number => [Scope::Receiver, Scope::Device, Scope::Socket]
            .into_iter()
            .find(|scope| *scope as u8 == number)
            .ok_or(Malformed::Field)
            .map(Some)?,
    };
    let device = name(&event.device).filter(|_| event.hop.ifindex != 0);
    let headers = |hop| Ok::<_, Malformed>((packet(hop)?, encap(hop)?));
    let (packet, encap) = headers(&event.hop).ok().unzip();
    Ok(RawDrop {
        event,
        scope,
        context: context(&event, device.as_deref()),
        device,
        dst_mac: frame_mac(&event.hop, 0),
        encap: encap.flatten(),
        packet,
    })
}

/// Decodes an interface's name; `None` without one.
fn name(bytes: &[u8; NAME_BYTES]) -> Option<String> {
    let name = bytes.split(|byte| *byte == 0).next();
    let name = name.filter(|name| !name.is_empty())?;
    Some(String::from_utf8_lossy(name).into_owned())
}

/// What the sk_buff held besides the packet. `None` if that tells nothing: no mark, no
/// connection, and a route to the namespace itself or out of the packet's own device.
fn context(event: &DropEvent, device: Option<&str>) -> Option<Fact> {
    let connection = Connection::of(event.ct_info, event.ct_status);
    let outlet = name(&event.outlet);
    let leads_on = outlet
        .as_deref()
        .is_some_and(|outlet| outlet != "lo" && Some(outlet) != device);
    let tells = event.mark != 0 || connection.is_some() || leads_on;
    tells.then_some(Fact::SkBuff {
        mark: event.mark,
        connection,
        outlet,
    })
}
