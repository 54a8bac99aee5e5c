//! The arguments of `tracer import`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueHint};

use crate::cli::{at::At, values};

/// The arguments of `tracer import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Captures in pcap or pcapng, as tcpdump, dumpcap and Wireshark write them, or an export of
    /// tracer's; - for stdin
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,

    /// Where a file was captured: NODE/INTERFACE/DIRECTION, once per file and in their order.
    /// DIRECTION is in, out, or the interface's MAC address if the file has both directions
    ///
    /// NODE/NAMESPACE/POD/INTERFACE/DIRECTION is an interface inside a pod. WHICH=NODE/… is for an
    /// interface of a file with several. WHICH is the interface's index (tcpdump -i any), its name or its
    /// number; if several files have it, FILE:WHICH. Behind a comma, pod=NAMESPACE/NAME or pod=ADDRESS names
    /// the pod behind an interface of the host. DIRECTION can then be left out. role=ROLE says what an
    /// interface with an unusual name is: uplink, overlay, bridge, veth or pod. An interface that the file
    /// calls NODE/INTERFACE/DIRECTION needs no --at.
    #[arg(long = "at", value_name = "PLACE")]
    pub at: Vec<At>,

    /// The recording to write, or - for stdout; overwrites an existing file once the new one is complete
    #[arg(
        short,
        long,
        value_name = "OUT",
        default_value = "-",
        value_hint = ValueHint::FilePath
    )]
    pub output: PathBuf,

    /// Cluster objects that name pods, Services and nodes, as `kubectl get
    /// nodes,pods,services,endpointslices -A -o yaml` prints them, or -o json
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub inventory: Option<PathBuf>,

    /// How long to wait for a packet's next hop, and by how much the clocks of nodes may differ if no packets
    /// compare them
    #[arg(
        long,
        value_name = "TIME",
        value_parser = values::duration,
        allow_hyphen_values = true,
        default_value = "5s"
    )]
    pub hold: Duration,

    /// Parse packets to this UDP port as VXLAN, besides 8472 and 4789; at most 2
    #[arg(
        long = "vxlan-port",
        value_name = "PORT",
        value_parser = values::port,
        allow_hyphen_values = true
    )]
    pub vxlan_ports: Vec<u16>,
}
