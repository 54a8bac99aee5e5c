//! Pods that restart and tunnel devices that are made anew, as the container
//! runtime, the CNI plugin and the network's daemon do it.

use std::net::IpAddr;

use anyhow::{Context as _, Result};

use super::{Lab, Node, Pod, Tunnel, wiring};
use crate::process;

impl Lab {
    /// Ends a pod, by its index: its interface goes, then its namespace.
    ///
    /// # Errors
    /// If it is not there.
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
    /// If it is not there.
    pub fn take_link_down(&self, pod: &Pod) -> Result<()> {
        let interface = &pod.interface;
        pod.netns.run(&format!("ip link set {interface} down"))?;
        let (node, veth) = (&self.node_of(pod).netns, &pod.veth);
        process::until("the bridge's port is disabled", || {
            let port = node.run(&format!("bridge link show dev {veth}"))?;
            Ok(port.contains("state disabled"))
        })
    }

    /// Makes the node of a pod on a bridge forget the MAC address behind one of the pod's
    /// addresses, and waits until it has.
    ///
    /// # Errors
    /// If it is not there.
    pub fn forget(&self, pod: &Pod, address: IpAddr) -> Result<()> {
        let node = self.node_of(pod);
        process::until("the node has forgotten the pod", || {
            let entry = format!("to {address} dev {}", node.bridge);
            node.netns.run(&format!("ip neighbour flush {entry}"))?;
            let known = node.netns.run(&format!("ip neighbour show {entry}"))?;
            Ok(!known.contains("lladdr"))
        })
    }

    /// Makes a pod anew that has ended, with the address that it had.
    ///
    /// # Errors
    /// If it is there, or cannot be made.
    pub fn begin_pod(&self, pod: usize) -> Result<()> {
        wiring::make_pod(self, &self.pods[pod])
    }

    /// Gives a pod that has ended another MAC address, and the host's end of its
    /// interface another name.
    pub fn rename_pod(&mut self, pod: usize) {
        let pod = &mut self.pods[pod];
        pod.mac = other(&pod.mac);
        pod.veth = other(&pod.veth);
    }

    /// Interfaces come and go at a node's bridge, one after the other, as where pods
    /// are short-lived.
    ///
    /// # Errors
    /// If one cannot be made.
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

    /// Removes a node's tunnel device, with all that rests on it.
    ///
    /// # Errors
    /// If it has none.
    pub fn end_overlay(&self, node: usize) -> Result<()> {
        let node = &self.nodes[node];
        let line = format!("ip link del {}", node.overlay);
        node.netns.run(&line).map(drop)
    }

    /// Makes a node's tunnel device anew.
    ///
    /// # Errors
    /// If it is there, or cannot be made.
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
