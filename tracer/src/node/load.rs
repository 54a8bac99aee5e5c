//! The globals with which a node's programs are loaded.
//!
//! Invariant 5 (ARCHITECTURE.md): the salt keeps sk_buff addresses of two nodes apart.

use tracer_common::config::{Load, PORTS, TunnelPorts};

use crate::interfaces::Plan;
use tracer_core::request::Start;

/// The globals, which are the same for all programs of a node.
pub(super) fn load(start: &Start, plan: &Plan) -> Load {
    Load {
        key: start.key,
        // The salt is per node, so that no address is the same on two nodes.
        salt: crate::random(),
        ports: tunnel_ports(plan, &start.vxlan_ports),
    }
}

/// Geneve's port (RFC 8926), which other nodes may use if this one has no such
/// device.
const GENEVE_PORT: u16 = 6081;

/// Ports of tunnels. `vxlan` has additional ports for VXLAN, unless a device of the node uses
/// such a port for another tunnel.
fn tunnel_ports(plan: &Plan, vxlan: &[u16]) -> TunnelPorts {
    let mut vxlan = vxlan.to_vec();
    vxlan.retain(|port| !plan.geneve_ports.contains(port));
    TunnelPorts {
        vxlan: ports(&plan.vxlan_ports, &vxlan),
        geneve: ports(&plan.geneve_ports, &[GENEVE_PORT]),
    }
}

/// Ports of the node's devices, then others, as many as fit.
fn ports(devices: &[u16], others: &[u16]) -> [u16; PORTS] {
    let mut ports = [0; PORTS];
    let mut wanted: Vec<u16> = Vec::new();
    for port in devices.iter().chain(others) {
        if !wanted.contains(port) {
            wanted.push(*port);
        }
    }
    for (slot, port) in ports.iter_mut().zip(wanted) {
        *slot = port;
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_knows_its_port_better_than_a_default() {
        let usual = [8472, 4789];
        let plan = Plan {
            vxlan_ports: vec![5000],
            geneve_ports: vec![8472],
            ..Plan::default()
        };
        let ports = tunnel_ports(&plan, &usual);
        assert_eq!(ports.vxlan, [5000, 4789, 0, 0]);
        assert_eq!(ports.geneve, [8472, GENEVE_PORT, 0, 0]);
        let none = tunnel_ports(&Plan::default(), &usual);
        assert_eq!(none.vxlan, [8472, 4789, 0, 0]);
        assert_eq!(none.geneve, [GENEVE_PORT, 0, 0, 0]);
    }
}
