//! The attributes of rtnetlink messages.

use netlink_packet_core::{DecodeError, NlaBuffer, NlasIterator};

/// A MAC address.
pub(super) type Mac = [u8; 6];

/// The attributes that can be read; others are passed over.
pub(super) fn attributes<'a, T>(
    message: &'a [u8],
    header: usize,
    parse: impl Fn(&NlaBuffer<&'a [u8]>) -> Result<T, DecodeError>,
) -> impl Iterator<Item = T> {
    NlasIterator::new(message.get(header..).unwrap_or_default())
        .map_while(Result::ok)
        .filter_map(move |attribute| parse(&attribute).ok())
}
