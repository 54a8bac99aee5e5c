//! Names, as a capture holds them.

use std::{borrow::Cow, net::IpAddr};

use pcap_file::pcapng::blocks::name_resolution::{Ipv4Record, Ipv6Record, Record};

/// The record of an address's name; a capture can hold one only.
pub(super) fn record((address, name): (IpAddr, String)) -> Record<'static> {
    let names = vec![Cow::Owned(name)];
    match address {
        IpAddr::V4(address) => Record::Ipv4(Ipv4Record {
            ip_addr: address.octets().to_vec().into(),
            names,
        }),
        IpAddr::V6(address) => Record::Ipv6(Ipv6Record {
            ip_addr: address.octets().to_vec().into(),
            names,
        }),
    }
}
