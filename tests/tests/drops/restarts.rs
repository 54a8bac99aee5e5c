//! A pod that restarts gets another network namespace. Drops in the new namespace belong to the pod
//! as well.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Result;
use tracer_tests::{Lab, LabSpec};

use crate::watch::{Watch, name};

#[test]
fn drops_inside_a_pod_that_has_restarted() -> Result<()> {
    let mut lab = Lab::new(&LabSpec::default())?;
    let mut watch = Watch::start(&lab, &[])?;
    lab.end_pod(1)?;
    lab.rename_pod(1);
    lab.begin_pod(1)?;
    lab.ready()?;
    let [from, to] = [&lab.pods[0], &lab.pods[1]];
    let rule = "add table inet restarts\n\
                add chain inet restarts in { type filter hook input priority 0; }\n\
                add rule inet restarts in udp dport 9 drop\n";
    to.netns.batch("nft -f -", rule)?;
    let socket = from.netns.enter(|| UdpSocket::bind((from.v4, 0)))?;
    let seen = AtomicBool::new(false);
    thread::scope(|scope| {
        // The agent finds the namespace a moment after it was made.
        scope.spawn(|| {
            while !seen.load(Ordering::Relaxed) {
                // If sending fails, the next datagram follows.
                let _ = socket.send_to(b"to be dropped", (to.v4, 9));
                thread::yield_now();
            }
        });
        let wanted = |drop: &serde_json::Value| {
            drop["reason"] == "NETFILTER_DROP" && drop["netns"] == name(to)
        };
        let dropped = watch.wait_for(wanted);
        seen.store(true, Ordering::Relaxed);
        dropped
    })?;
    watch.stop()?;
    Ok(())
}
