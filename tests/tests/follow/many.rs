//! Many packets of all kinds, in both directions, through a tunnel that not every kernel supports.
//! All of them arrive, and each verdict says so.

use std::io::{Write as _, stderr};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec, Pod, Wiring,
    program::{LIMIT, Tracer},
    traffic::{Flow, Tally, packets_from_environment},
};

use crate::{
    clean::{ROOM, settled},
    expected::{check_all_told, check_balance, check_clean, is_late_close, pod},
};

/// The least number of packets, unless `TRACER_PACKETS` is set.
const FEW: u64 = 5_000;
/// The number of packets between progress messages.
const PROGRESS: u64 = 10_000;
/// The payload size of the datagram that ends a round.
const MARKER: usize = 1201;

/// The sums of the shown journeys.
#[derive(Default)]
struct Sums {
    packets: u64,
    /// The packets that came after the end of a connection.
    late_closes: u64,
    /// The packets on whose way a machine has missed events, and says so.
    missed: u64,
}

impl Sums {
    fn add(&mut self, lab: &Lab, ends: [&Pod; 2], journeys: &[Value]) {
        for journey in journeys {
            // Such a machine has one processor, which runs no second instance of a program. An
            // interrupt meanwhile goes unseen, and the kernel counts it.
            if lab.is_on_machines() && journey["verdict"]["cause"] == "events-lost" {
                self.packets += 1;
                self.missed += 1;
                continue;
            }
            check_clean(lab, ends, journey);
            let is_delivered = journey["verdict"]["kind"] == "delivered";
            self.packets += 1;
            self.late_closes += u64::from(!is_delivered && is_late_close(journey));
        }
    }
}

/// Sends a little of each kind of traffic.
fn send(flow: &Flow) -> Result<()> {
    let tallies = [
        flow.ping_flood(100)?,
        flow.udp_exchange(100, 64)?,
        flow.udp_exchange(5, 20_000)?,
        flow.tcp_connects(20)?,
        flow.tcp_bulk(500_000)?,
    ];
    assert!(tallies.iter().all(Tally::is_complete), "{tallies:?}");
    Ok(())
}

/// The number of packets that two pods got, by the kernel's count.
fn received(ends: [&Pod; 2]) -> Result<u64> {
    let own = ends.map(|pod| pod.netns.received(&pod.interface));
    own.into_iter().sum()
}

#[test]
fn many_packets_over_ip_in_ip_all_arrive() -> Result<()> {
    if Wiring::Calico.is_for_another_kernel()? {
        return Ok(());
    }
    let enough = packets_from_environment()?.map_or(FEW, u64::from);
    let lab = Lab::new(&LabSpec {
        wiring: Wiring::Calico,
        ..LabSpec::default()
    })?;
    many_packets(&lab, [&lab.pods[0], &lab.pods[1]], enough)
}

/// Sends at least `enough` packets between two pods, of each kind in turn. Checks that all arrive,
/// with each hop of the way and in its order.
pub(crate) fn many_packets(lab: &Lab, ends: [&Pod; 2], enough: u64) -> Result<()> {
    let [a, b] = ends;
    let follow = ["--src-pod", &pod(a), "--dst-pod", &pod(b)];
    let mut tracer = Tracer::follow(lab, follow.iter().chain(&ROOM))?;
    tracer.wait_started(LIMIT)?;

    let before = received(ends)?;
    let both_ways = [Flow::new(a, b), Flow::new(b, a)];
    let mut flows = both_ways.iter().cycle();
    let mut sums = Sums::default();
    while sums.packets < enough {
        let flow = flows.next().context("they go round")?;
        let told = sums.packets / PROGRESS;
        send(flow)?;
        // The next round begins once all journeys of this one were shown, so that no buffer fills
        // on a slow machine.
        sums.add(lab, ends, &settled(&mut tracer, flow, MARKER)?);
        if sums.packets / PROGRESS > told {
            // This goes directly to stderr, because the runner holds the test's own output back.
            writeln!(stderr(), "{} packets of {enough}", sums.packets)?;
        }
    }
    let received = received(ends)? - before;

    let finished = tracer.stop()?;
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    sums.add(lab, ends, &finished.journeys);
    check_balance(&finished.summary);
    let accounting = &finished.summary["accounting"];
    check_all_told(accounting);
    let Sums {
        packets,
        late_closes,
        missed,
    } = sums;
    assert!(
        missed <= packets / 100,
        "{missed} of {packets}: {accounting}"
    );
    let counted = ["packets", "drops"].map(|of| accounting[of]["missed"].as_u64().unwrap_or(0));
    assert!(
        missed == 0 || counted.iter().any(|count| *count > 0),
        "{accounting}"
    );
    let verdicts = &finished.summary["journeys"];
    writeln!(
        stderr(),
        "{packets} packets, {received} by the kernel's count, {late_closes} after their \
         connection's end, {missed} with events that the kernel missed: {verdicts}; {accounting}"
    )?;
    assert!(received >= enough, "the kernel counts {received}");
    let all = verdicts.as_object().context("verdicts")?.values();
    assert_eq!(all.filter_map(Value::as_u64).sum::<u64>(), packets);
    assert_eq!(verdicts["delivered"], packets - late_closes - missed);
    Ok(())
}
