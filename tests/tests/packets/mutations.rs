use anyhow::Result;
use tracer_tests::frames::{IPV4, IPV6, TCP, UDP, ethernet, ipv4, ipv6, tcp, udp, vxlan};
use tracer_tests::raw::PacketSocket;
use tracer_tests::rng::Rng;

use crate::stage::{PORT, Stage, addressed};

/// The number of frames from each of the two places.
const FRAMES: usize = 2000;

/// Options with room for all events of frames that come at once, so that none is lost.
const OPTIONS: &[&str] = &["--budget", "100000000", "--ring-size", "64MiB"];

/// The followed packets, before they are changed.
fn packets(stage: &Stage) -> Vec<(u16, Vec<u8>)> {
    let [from, to] = [0, 1].map(|pod| stage.lab.pods[pod].v4);
    let [from6, to6] = [0, 1].map(|pod| stage.lab.pods[pod].v6);
    let (datagram, segment) = (udp(4000, PORT, &[7; 16]), tcp(4000, PORT, 1, &[7; 16]));
    let options = [&[UDP, 0, 1, 4, 0, 0, 0, 0], &*datagram].concat();
    vec![
        (IPV4, ipv4(UDP, from, to, &datagram)),
        (IPV4, ipv4(TCP, from, to, &segment)),
        (IPV6, ipv6(TCP, from6, to6, &segment)),
        (IPV6, ipv6(60, from6, to6, &options)),
    ]
}

/// The frames as the pod sends them.
fn sent_by_pod(stage: &Stage) -> Vec<Vec<u8>> {
    let packets = packets(stage).into_iter();
    packets
        .map(|(kind, packet)| stage.sent_by_pod(kind, &packet))
        .collect()
}

/// The frames as the second node's uplink receives them, in one tunnel and in two.
fn from_wire(stage: &Stage) -> Vec<Vec<u8>> {
    let [from, to] = [0, 1].map(|node| &stage.lab.nodes[node]);
    let wrap = |frame: &[u8], to_mac: &str, from_mac: &str| {
        let datagram = vxlan(stage.lab.port, stage.lab.vni, frame);
        let packet = ipv4(UDP, from.underlay, to.underlay, &datagram);
        addressed(ethernet(IPV4, &packet), to_mac, from_mac)
    };
    let mut frames = Vec::new();
    for (kind, packet) in packets(stage) {
        let frame = addressed(ethernet(kind, &packet), &to.overlay_mac, &from.overlay_mac);
        let once = wrap(&frame, &to.uplink_mac, &from.uplink_mac);
        let inside = wrap(&frame, &to.overlay_mac, &from.overlay_mac);
        let twice = wrap(&inside, &to.uplink_mac, &from.uplink_mac);
        frames.extend([once, twice]);
    }
    frames
}

/// Changes up to four bytes, and cuts every fourth frame. The outermost Ethernet addresses stay,
/// because otherwise every host would ignore the frame.
fn mutated(frame: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let last = u32::try_from(frame.len() - 1).expect("a frame is short");
    for _ in 0..rng.range(1, 4) {
        frame[rng.range(12, last) as usize] = rng.range(0, 255) as u8;
    }
    if rng.range(1, 4) == 1 {
        frame.truncate(rng.range(14, last) as usize);
    }
    frame
}

#[test]
fn nothing_stops_it() -> Result<()> {
    let stage = Stage::new()?;
    let mut rng = Rng::new(stage.lab.seed());
    let mut send_mutated = |socket: &PacketSocket, frames: &[Vec<u8>]| {
        (0..FRAMES).try_for_each(|number| {
            let frame = mutated(&frames[number % frames.len()], &mut rng);
            socket.send(&frame)
        })
    };
    let seen = stage.watch(OPTIONS, || {
        send_mutated(&stage.pod, &sent_by_pod(&stage))?;
        send_mutated(&stage.wire, &from_wire(&stage))
    })?;
    // Each kind of result occurs, and often.
    assert!(seen.unparsed > 100, "{}", seen.unparsed);
    assert_eq!(seen.malformed, 0, "programs write no such records");
    assert!(seen.journeys.len() > 100, "{}", seen.journeys.len());
    Ok(())
}
