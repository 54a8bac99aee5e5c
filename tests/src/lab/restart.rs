//! Restarts pods and replaces tunnel devices, as the container runtime, the CNI plugin and the
//! network's daemon do.

use std::net::IpAddr;

use anyhow::{Context as _, Result};

use super::{Lab, Node, Pod, Tunnel, wiring};
use crate::process;

impl Lab {
    /// Ends a pod, by its index: removes its interface, then its namespace.
    ///
    /// # Errors
    /// If the pod does not exist.
    pub fn end_pod(&self, pod: usize) -> Result<()> {
        let pod = &self.pods[pod];
        let (inside, name) = (&pod.interface, &pod.netns.name);
        pod.netns.run(&format!("ip link del {inside}"))?;
        process::run(process::command("ip").args(["netns", "del", name]), "")
            .map(drop)
            .with_context(|| format!("cannot remove {name}"))
    }

    /// Takes the link of a pod on a bridge down, and waits until the bridge has noticed. Until
    /// then, frames of the pod may still tell the node where the pod is.
    ///
    /// # Errors
    /// If the pod does not exist.
    pub fn take_link_down(&self, pod: &Pod) -> Result<()> {
        let interface = &pod.interface;
        pod.netns.run(&format!("ip link set {interface} down"))?;
        let (node, veth) = (&self.node_of(pod).netns, &pod.veth);
        process::until("the bridge's port is disabled", || {
            let port = node.run(&format!("bridge link show dev {veth}"))?;
            Ok(port.contains("state disabled"))
        })
    }

    /// Makes the node of a pod on a bridge forget the MAC address of one of the pod's addresses.
    /// Waits until the node has done so.
    ///
    /// # Errors
    /// If the pod does not exist.
    pub fn forget(&self, pod: &Pod, address: IpAddr) -> Result<()> {
        let node = self.node_of(pod);
        process::until("the node has forgotten the pod", || {
            let entry = format!("to {address} dev {}", node.bridge);
            node.netns.run(&format!("ip neighbour flush {entry}"))?;
            let known = node.netns.run(&format!("ip neighbour show {entry}"))?;
            Ok(!known.contains("lladdr"))
        })
    }

    /// Makes a pod again that has ended, with its earlier address.
    ///
    /// # Errors
    /// If the pod exists, or cannot be made.
    pub fn begin_pod(&self, pod: usize) -> Result<()> {
        wiring::make_pod(self, &self.pods[pod])
    }

    /// Gives a pod that has ended another MAC address, and its veth peer on the host another name.
    pub fn rename_pod(&mut self, pod: usize) {
        let pod = &mut self.pods[pod];
        pod.mac = other(&pod.mac);
        pod.veth = other(&pod.veth);
    }

    /// Adds and removes interfaces at a node's bridge, one after the other, as short-lived pods do.
    ///
    /// # Errors
    /// If an interface cannot be made.
    pub fn strangers(&self, node: usize, count: usize) -> Result<()> {
        let Node { bridge, netns, .. } = &self.nodes[node];
        for number in 0..count {
            let name = format!("other{number}");
            let script = format!(
                "link add name {name} type veth peer name {name}p\n\
                 link set dev {name} master {bridge} up\n\
                 link del {name}\n"
            );
            netns.batch("ip -batch -", &script)?;
        }
        Ok(())
    }

    /// Removes a node's tunnel device, with all that depends on it.
    ///
    /// # Errors
    /// If the node has no tunnel device.
    pub fn end_overlay(&self, node: usize) -> Result<()> {
        let node = &self.nodes[node];
        let line = format!("ip link del {}", node.overlay);
        node.netns.run(&line).map(drop)
    }

    /// Makes a node's tunnel device again.
    ///
    /// # Errors
    /// If the device exists, or cannot be made.
    pub fn begin_overlay(&self, node: usize) -> Result<()> {
        debug_assert_eq!(self.wiring.tunnel(), Some(Tunnel::Vxlan));
        wiring::tunnel::set_up(self, &self.nodes[node])
    }
}

/// The same text with another last digit.
fn other(text: &str) -> String {
    let mut text = text.to_owned();
    let last = if text.ends_with('0') { '1' } else { '0' };
    text.pop();
    text.push(last);
    text
}
