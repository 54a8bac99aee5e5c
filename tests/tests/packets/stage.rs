use std::net::{Ipv6Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;
use tracer_tests::frames::{IPV4, UDP, ethernet, ipv4, udp};
use tracer_tests::program::{Finished, LIMIT};
use tracer_tests::raw::PacketSocket;
use tracer_tests::traffic::Flow;
use tracer_tests::{Lab, LabSpec, Node, Pod, Tracer};

/// The port on which both pods listen, so that no ICMP error answers a datagram.
pub(crate) const PORT: u16 = 4242;
/// The source port of the last frame.
const LAST: u16 = 4243;
/// The length of the packets that `ping` sends.
const PING_LEN: u64 = 84;
/// The number of pings beside the frames.
const PINGS: u64 = 3;

/// A lab whose pods accept datagrams, and sockets to send any frame into it.
pub(crate) struct Stage {
    pub(crate) lab: Lab,
    /// Sends out of the first pod's interface.
    pub(crate) pod: PacketSocket,
    /// Sends out of the middle box, to the second node.
    pub(crate) wire: PacketSocket,
    _listeners: [UdpSocket; 2],
}

/// The program's output on the sent frames.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Runs of its programs that could not parse headers.
    pub(crate) unparsed: u64,
    /// Runs of the drop program that could not parse headers.
    pub(crate) unparsed_drops: u64,
    /// Events that the program could not decode.
    pub(crate) malformed: u64,
    /// The journeys of the frames, and of no other packets.
    pub(crate) journeys: Vec<Value>,
}

impl Stage {
    pub(crate) fn new() -> Result<Self> {
        let lab = Lab::new(&LabSpec::default())?;
        for node in &lab.nodes {
            // Bridges with netfilter also drop packets with a broken IP header. Here the node's IP
            // layer must do that, so that the expected result depends on no setting.
            node.netns.bridge_without_netfilter()?;
        }
        let [from, to] = [&lab.pods[0], &lab.pods[1]];
        let any = (Ipv6Addr::UNSPECIFIED, PORT);
        let listen = |pod: &Pod| pod.netns.enter(|| UdpSocket::bind(any));
        Ok(Self {
            pod: PacketSocket::open(&from.netns, &from.interface)?,
            wire: PacketSocket::open(&lab.middle, &lab.nodes[1].middle_port)?,
            _listeners: [listen(from)?, listen(to)?],
            lab,
        })
    }

    /// The source pod of the packets, and its node.
    pub(crate) fn source(&self) -> (&Pod, &Node) {
        (&self.lab.pods[0], &self.lab.nodes[0])
    }

    /// A frame from the first pod to its gateway, which forwards it.
    pub(crate) fn sent_by_pod(&self, kind: u16, payload: &[u8]) -> Vec<u8> {
        let (pod, node) = self.source();
        addressed(ethernet(kind, payload), &node.bridge_mac, &pod.mac)
    }

    /// A good datagram between the pods, as an IPv4 packet.
    pub(crate) fn datagram(&self, payload: &[u8]) -> Vec<u8> {
        let [from, to] = [0, 1].map(|pod| self.lab.pods[pod].v4);
        ipv4(UDP, from, to, &udp(4000, PORT, payload))
    }

    /// Starts to follow the pods, with `options`.
    pub(crate) fn follow(&self, options: &[&str]) -> Result<Tracer> {
        let [from, to] = [0, 1].map(|pod| {
            let Pod {
                namespace, name, ..
            } = &self.lab.pods[pod];
            format!("{namespace}/{name}")
        });
        let ends = ["--src-pod", &from, "--dst-pod", &to];
        let mut tracer = Tracer::follow(&self.lab, ends.iter().chain(options))?;
        tracer.wait_started(LIMIT)?;
        Ok(tracer)
    }

    /// Follows the pods during `send`, with good pings beside it, and returns the output on the
    /// sent frames.
    pub(crate) fn watch(
        &self,
        options: &[&str],
        send: impl FnOnce() -> Result<()> + Send,
    ) -> Result<Seen> {
        let mut tracer = self.follow(options)?;
        let flow = Flow::new(&self.lab.pods[0], &self.lab.pods[1]);
        let pings = thread::scope(|scope| {
            let pings = scope.spawn(|| flow.ping(PINGS, Duration::from_millis(1)));
            let sent = scope.spawn(|| self.in_order(send)).join();
            let pings = pings.join().expect("ping does not panic");
            sent.expect("sending does not panic").and(pings)
        })?;
        assert!(pings.is_complete(), "{pings:?}");
        // All earlier frames were handled before this one arrived.
        let last = |value: &Value| value["packet"]["src_port"] == LAST && delivered(value);
        tracer.wait_for(last, LIMIT)?;
        let mut answered = 0;
        let answer = |value: &Value| {
            answered += u64::from(is_ping(value) && value["direction"] == "reply");
            answered == PINGS
        };
        tracer.wait_for(answer, LIMIT)?;
        seen(tracer.stop()?)
    }

    /// Runs `send`, and then sends the last frame, all on one CPU: a CPU handles its queue in
    /// order.
    fn in_order(&self, send: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut here = CpuSet::new();
        here.set(sched_getcpu()?)?;
        sched_setaffinity(Pid::from_raw(0), &here)?;
        send()?;
        let [from, to] = [0, 1].map(|pod| self.lab.pods[pod].v4);
        let last = ipv4(UDP, from, to, &udp(LAST, PORT, b"that was all"));
        self.pod.send(&self.sent_by_pod(IPV4, &last))
    }
}

/// Checks what must hold for any frames, and leaves the rest to the caller.
pub(crate) fn seen(ended: Finished) -> Result<Seen> {
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let accounting = &ended.summary["accounting"];
    assert_eq!(accounting["balances"], true, "{accounting}");
    for loss in ["ring_full", "rate_limited", "sampled_out"] {
        assert_eq!(accounting["packets"][loss], 0, "{accounting}");
    }
    let pings = ended.journeys.iter().filter(|journey| is_ping(journey));
    let pings: Vec<&Value> = pings.collect();
    assert!(pings.iter().all(|ping| delivered(ping)), "{pings:?}");
    let number = |value: &Value| value.as_u64().with_context(|| accounting.to_string());
    Ok(Seen {
        unparsed: number(&accounting["packets"]["unparsed"])?,
        unparsed_drops: number(&accounting["drops"]["unparsed"])?,
        malformed: number(&accounting["malformed"])?,
        journeys: ended.journeys.into_iter().filter(is_of_frame).collect(),
    })
}

/// Whether a journey belongs to a sent frame. Pings, the last frame and neighbour discovery do not
/// count.
fn is_of_frame(journey: &Value) -> bool {
    let packet = &journey["packet"];
    let neighbour = packet["proto"] == "arp" || !packet["icmp"]["neighbour"].is_null();
    !neighbour && !is_ping(journey) && packet["src_port"] != LAST
}

fn is_ping(journey: &Value) -> bool {
    let packet = &journey["packet"];
    packet["proto"] == "icmp" && packet["len"] == PING_LEN
}

pub(crate) fn delivered(journey: &Value) -> bool {
    journey["verdict"]["kind"] == "delivered"
}

/// A frame with other MAC addresses.
pub(crate) fn addressed(mut frame: Vec<u8>, to: &str, from: &str) -> Vec<u8> {
    frame[..6].copy_from_slice(&mac(to));
    frame[6..12].copy_from_slice(&mac(from));
    frame
}

fn mac(text: &str) -> [u8; 6] {
    let mut bytes = [0; 6];
    for (byte, part) in bytes.iter_mut().zip(text.split(':')) {
        *byte = u8::from_str_radix(part, 16).expect("the lab's MAC addresses are some");
    }
    bytes
}
