//! Kernels before 6.6 have no links: what a killed tracer attached stays there,
//! until the next one starts. `cargo xtask kernels` runs this on such kernels.

use anyhow::Result;
use nix::sys::signal::Signal;
use tracer_tests::program::LIMIT;
use tracer_tests::{Lab, LabSpec, Netns, lab::not_here};

use crate::endings::follow;
use crate::{attached, has_tcx};

/// The queueing disciplines at an interface's hooks, and their filters.
fn hooks(netns: &Netns, interface: &str) -> Result<String> {
    let list = |what: &str| netns.run(&format!("tc {what} show dev {interface} ingress"));
    Ok(list("qdisc")? + &list("filter")?)
}

#[test]
fn what_a_killed_one_left_goes_with_the_next_one_and_nothing_else() -> Result<()> {
    if has_tcx() {
        return not_here("this kernel has tcx, whose links leave nothing");
    }
    let lab = Lab::new(&LabSpec::default())?;
    let node = &lab.nodes[0];
    let uplink = &node.uplink;
    // A stranger's, at one of the interfaces.
    let add = |what: &str| {
        let tc = format!("tc {what}").replace("DEV", &format!("dev {uplink}"));
        node.netns.run(&tc)
    };
    add("qdisc add DEV clsact")?;
    add("filter add DEV ingress prio 1 protocol all matchall action ok")?;
    let before = hooks(&node.netns, uplink)?;
    assert!(
        before.contains("clsact") && before.contains("matchall"),
        "{before}"
    );

    let killed = follow(&lab)?;
    let colleague = follow(&lab)?;
    assert_eq!(attached(&lab)?.len(), 32);
    killed.signal(Signal::SIGKILL)?;
    killed.finish(LIMIT)?;
    assert_eq!(attached(&lab)?.len(), 32, "nobody has removed them");
    let next = follow(&lab)?;
    assert_eq!(attached(&lab)?.len(), 32, "the colleague's, and its own");
    for (tracer, left) in [(colleague, 16), (next, 0)] {
        let ended = tracer.stop()?;
        assert_eq!(ended.status.code(), Some(4), "{}", ended.stderr);
        assert_eq!(attached(&lab)?.len(), left);
    }
    // Its own disciplines are gone, the stranger's is as it was.
    assert_eq!(hooks(&node.netns, uplink)?, before);
    assert_eq!(hooks(&node.netns, &node.overlay)?, "");
    assert_eq!(hooks(&lab.nodes[1].netns, &lab.nodes[1].uplink)?, "");
    Ok(())
}
