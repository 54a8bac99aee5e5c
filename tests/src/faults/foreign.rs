//! Foreign programs in tc and XDP that drop packets.

use anyhow::Result;

use super::{Fault, Stage, in_frames, in_the_open};
use crate::bpf::{Fate, Hook, Program};
use crate::netns::Netns;

/// See [`super`].
pub(super) fn all() -> Vec<Fault> {
    vec![
        Fault::new("tcx-ingress-near", |stage| {
            attach(
                stage,
                &stage.near().netns,
                &stage.a().veth,
                Hook::TcxIngress,
                0,
            )
        })
        .undo(released),
        Fault::new("tcx-egress-far", |stage| {
            attach(
                stage,
                &stage.far().netns,
                &stage.b().veth,
                Hook::TcxEgress,
                0,
            )
        })
        .undo(released),
        Fault::new("tcx-ingress-far-uplink", |stage| {
            let far = stage.far();
            attach(
                stage,
                &far.netns,
                &far.uplink,
                Hook::TcxIngress,
                outer(stage),
            )
        })
        .undo(released)
        .on(in_the_open),
        Fault::new("xdp-pod", |stage| {
            let b = stage.b();
            attach(stage, &b.netns, &b.interface, Hook::Xdp, 0)
        })
        .undo(released),
        // The driver of this device does not know XDP.
        Fault::new("xdp-generic-far-overlay", |stage| {
            let far = stage.far();
            attach(stage, &far.netns, stage.overlay(far), Hook::Xdp, 0)
        })
        .undo(released)
        .on(in_frames),
        Fault::new("xdp-far-uplink", |stage| {
            let far = stage.far();
            attach(stage, &far.netns, &far.uplink, Hook::Xdp, outer(stage))
        })
        .undo(released)
        .on(in_the_open),
    ]
}

/// The size of a tunnel's headers, bytes.
fn outer(stage: &Stage) -> i16 {
    let bytes = i16::try_from(stage.lab.wiring.overhead(stage.v6));
    bytes.expect("headers are small")
}

fn released(stage: &Stage) -> Result<()> {
    stage.release();
    Ok(())
}

/// Attaches a program that drops packets to pod *b*, by its address, which is `shift` bytes further
/// on than in a bare packet.
fn attach(stage: &Stage, netns: &Netns, device: &str, hook: Hook, shift: i16) -> Result<()> {
    let program = Program {
        hook,
        to: stage.address(stage.b()),
        shift,
        fate: Fate::Dropped,
        first: false,
    };
    for fd in program.attach(netns, device)? {
        stage.keep(fd);
    }
    Ok(())
}
