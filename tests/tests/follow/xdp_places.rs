//! Places where XDP cannot be observed, and the messages.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tracer_tests::{
    Lab, LabSpec,
    bpf::{Hook, NAME, detach_all_of, index_of},
    program::{LIMIT, is},
    traffic::Flow,
};

use crate::{
    clean::settled,
    expected::{check_balance, is_neighbour},
    xdp::{follow, idle, wait_until_detached, xdp_of},
};

/// The kernel allows no program on a device if a device above it has one (`dev_xdp_attach` in
/// net/core/dev.c).
#[test]
fn a_program_on_a_device_above_is_named() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let pods = [&lab.pods[0], &lab.pods[1]];
    let far = lab.node_of(pods[1]);
    let add = format!(
        "ip link add link {} name above0 type macvlan mode bridge",
        far.uplink
    );
    far.netns.run(&add)?;
    let _attached = idle(Hook::Xdp).attach(&far.netns, "above0")?;
    let (tracer, started) = follow(&lab, pods, "--xdp", &[])?;
    let warnings = started["warnings"].as_array().context("warnings")?;
    let place = format!(
        "{}: XDP at {} is not observed: {NAME} (program ",
        far.name, far.uplink
    );
    let told = |text: &str| {
        let why = "is attached to above0 above it, and the kernel allows no other below";
        text.starts_with(&place) && text.ends_with(why)
    };
    let told = warnings
        .iter()
        .filter_map(Value::as_str)
        .filter(|text| told(text));
    assert_eq!(told.count(), 1, "{started:#}");
    tracer.stop()?;
    Ok(())
}

/// Without a free place at tc, XDP is not observed either: its place would have no number.
#[test]
fn where_tc_cannot_be_observed_again_neither_is_xdp() -> Result<()> {
    /// The limit of programs at a hook of tcx (`bpf_mprog_attach` in kernel/bpf/mprog.c).
    const ROOM_AT_TCX: usize = 63;

    let lab = Lab::new(&LabSpec::default())?;
    let pods = [&lab.pods[0], &lab.pods[1]];
    let near = lab.node_of(pods[0]);
    let (mut tracer, _) = follow(&lab, pods, "--xdp", &[])?;
    let index = index_of(&near.netns, &near.uplink)?;
    assert!(detach_all_of(tracer.id(), index)? >= 3);
    assert_eq!(xdp_of(near)?, None);
    let mut others = Vec::new();
    for _ in 0..ROOM_AT_TCX {
        others.push(idle(Hook::TcxEgress).attach(&near.netns, &near.uplink)?);
    }
    lab.strangers(0, 1)?;
    let of_uplink = |value: &Value, key: &str| {
        let list = value[key].as_array().into_iter().flatten();
        let name = format!("cannot attach to {} egress", near.uplink);
        let is_it = |one: &Value| {
            let told = one.as_str().is_some_and(|text| text.contains(&name));
            told || one["node"] == *near.name && one["interface"] == *near.uplink
        };
        is(value, "tracer.points/1") && list.into_iter().any(is_it)
    };
    tracer.wait_for(|value| of_uplink(value, "warnings"), LIMIT)?;
    assert_eq!(xdp_of(near)?, None);

    // With free places, both are observed again.
    others.truncate(ROOM_AT_TCX / 2);
    lab.strangers(0, 1)?;
    let again = tracer.wait_for(|value| of_uplink(value, "points"), LIMIT)?;
    let points = again["points"].as_array().context("points")?;
    let at_uplink = points
        .iter()
        .filter(|point| point["node"] == *near.name && point["interface"] == *near.uplink);
    let hooks: Vec<_> = at_uplink.map(|point| &point["hook"]).collect();
    assert_eq!(hooks, ["xdp", "tcx", "tcx"], "{again:#}");
    assert!(xdp_of(near)?.is_some_and(|program| program.contains("tracer_xdp")));
    let finished = tracer.stop()?;
    check_balance(&finished.summary);
    wait_until_detached(&lab)
}

/// The ports of a bridge are not observed. A bridge as uplink is therefore observed at its own XDP
/// in generic mode, or not at all.
#[test]
fn a_bridge_as_uplink_is_observed_in_generic_mode_only() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let pods = [&lab.pods[0], &lab.pods[1]];
    let near = lab.node_of(pods[0]);
    let uplink = &near.uplink;
    let bridge = "outer0";
    // The bridge gets the uplink's addresses.
    let addresses = near
        .netns
        .run(&format!("ip -4 -o addr show dev {uplink}"))?;
    let address = addresses.split_whitespace().nth(3).context("an address")?;
    let link = near.netns.run(&format!("ip -o link show dev {uplink}"))?;
    let mut words = link
        .split_whitespace()
        .skip_while(|word| *word != "link/ether");
    let mac = words.nth(1).context("a MAC address")?;
    let routes = near.netns.run(&format!("ip route show dev {uplink}"))?;
    let mut script = format!(
        "link add {bridge} address {mac} mtu {} type bridge\n\
         link set {uplink} master {bridge}\n\
         addr flush dev {uplink}\n\
         link set {bridge} up\n\
         addr add {address} dev {bridge}\n",
        lab.mtu
    );
    for route in routes
        .lines()
        .filter(|route| !route.contains("proto kernel"))
    {
        script.push_str(&format!("route replace {route} dev {bridge}\n"));
    }
    near.netns.batch("ip -batch -", &script)?;

    let warnings_of = |xdp: &str| -> Result<String> {
        let (tracer, started) = follow(&lab, pods, xdp, &[])?;
        tracer.stop()?;
        Ok(started["warnings"].to_string())
    };
    for xdp in ["--xdp".to_owned(), format!("--xdp={bridge}")] {
        let warnings = warnings_of(&xdp)?;
        let why = format!(
            "XDP at {bridge} is not observed: drivers hand in its frames at its ports, which \
             tracer does not observe"
        );
        assert!(warnings.contains(&why), "{warnings}");
        assert!(!warnings.contains("passes no uplink"), "{warnings}");
    }
    let warnings = warnings_of(&format!("--xdp={uplink}"))?;
    let why = "the follow does not observe that interface";
    assert!(warnings.contains(why), "{warnings}");

    let (mut tracer, _) = follow(&lab, pods, "--xdp", &["--xdp-mode", "generic"])?;
    let flow = Flow::new(pods[0], pods[1]);
    assert!(flow.ping(20, Duration::from_millis(2))?.is_complete());
    let journeys = settled(&mut tracer, &flow, 1201)?;
    let at_bridge = journeys.iter().filter(|journey| {
        let hops = journey["hops"].as_array().into_iter().flatten();
        hops.into_iter()
            .any(|hop| hop["hook"] == "xdp-generic" && hop["interface"] == bridge)
    });
    assert!(at_bridge.count() >= 20);
    for journey in journeys.iter().filter(|one| !is_neighbour(one)) {
        assert_eq!(journey["verdict"]["kind"], "delivered", "{journey:#}");
    }
    let finished = tracer.stop()?;
    check_balance(&finished.summary);
    Ok(())
}
