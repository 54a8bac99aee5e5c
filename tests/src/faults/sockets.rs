//! Packets that reach their host, but no listener or no room.

use super::traffic::{Listener, Receiver};
use super::{Fault, Traffic};
use crate::Wiring;

/// See [`super`]. The traffic is the fault.
pub(super) fn all() -> Vec<Fault> {
    let none = |name: &str| Fault::new(name, |_| Ok(())).on(|_| true);
    vec![
        none("udp-no-listener").traffic(Traffic::datagrams_to(Receiver::Nobody, 10)),
        none("tcp-no-listener").traffic(Traffic::syns_to(Listener::Nobody)),
        none("tcp-listens-on-loopback").traffic(Traffic::syns_to(Listener::Loopback)),
        none("accept-backlog-full").traffic(Traffic::syns_to(Listener::Full)),
        none("udp-receive-buffer-full").traffic(Traffic::datagrams_to(Receiver::Full, 100)),
        none("old-timestamp-in-time-wait")
            .traffic(Traffic::OldSyns)
            // The frames of this traffic are handmade, but with ipvlan all pods of a node have one
            // MAC address.
            .on(|wiring| !matches!(wiring, Wiring::Ipvlan | Wiring::IpvlanL3)),
    ]
}
