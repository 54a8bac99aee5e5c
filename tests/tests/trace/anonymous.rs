//! Anonymized recordings, which may be given away.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tracer_tests::traffic::Flow;
use tracer_tests::{Lab, LabSpec};

use crate::{Recorder, full_name, mixed_traffic, others, printed};

/// All texts that could identify the network.
fn secrets(lab: &Lab) -> Vec<String> {
    let mut secrets = Vec::new();
    for pod in &lab.pods {
        secrets.extend([
            full_name(pod),
            pod.name.clone(),
            pod.v4.to_string(),
            pod.v6.to_string(),
            pod.mac.clone(),
            pod.veth.clone(),
            pod.netns.name.clone(),
        ]);
    }
    for node in &lab.nodes {
        secrets.extend([
            node.name.clone(),
            node.underlay.to_string(),
            node.overlay_v4.to_string(),
            node.overlay_v6.to_string(),
            node.bridge_v4.to_string(),
            node.bridge_v6.to_string(),
            node.uplink_mac.clone(),
            node.bridge_mac.clone(),
            node.overlay_mac.clone(),
            node.uplink.clone(),
            node.bridge.clone(),
            node.overlay.clone(),
            node.netns.name.clone(),
        ]);
    }
    secrets
}

#[test]
fn nothing_of_the_originals_is_left() -> Result<()> {
    let lab = Lab::new(&LabSpec::default())?;
    let file = |name| Ok::<_, anyhow::Error>(lab.directory()?.join(name).display().to_string());
    let (plain, anonymous) = (file("plain.arrows")?, file("anonymous.arrows")?);
    let args = ["record", "-w", &plain, "--explain"];
    let one = Recorder::start(&lab, "plain", &[0, 1], &args)?;
    let args = ["record", "-w", &anonymous, "--explain", "--anonymize"];
    let other = Recorder::start(&lab, "anonymous", &[0, 1], &args)?;
    mixed_traffic(&lab)?;
    // The drops have facts that name addresses and devices.
    let away = format!("ip route add blackhole {}", lab.pods[1].v4);
    lab.nodes[0].netns.run(&away)?;
    let flow = Flow::new(&lab.pods[0], &lab.pods[1]).limit(Duration::from_secs(10));
    ensure!(!flow.ping(3, Duration::from_millis(2))?.is_complete());
    for recorder in [one, other] {
        let ended = recorder.end(Signal::SIGINT)?;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    let bytes = fs::read(&anonymous)?;
    let (dump, known) = (others::dump(&anonymous)?, others::dump(&plain)?);
    let mut found = 0;
    for secret in secrets(&lab) {
        let raw = bytes.windows(secret.len());
        let raw = raw.filter(|bytes| *bytes == secret.as_bytes()).count();
        ensure!(raw == 0, "{secret} is in the recording's bytes");
        ensure!(!dump.contains(&secret), "{secret} is in the recording");
        found += usize::from(known.contains(&secret));
    }
    // The search finds these texts in the other recording, so the search works.
    ensure!(found > 20, "only {found} are in the other recording");
    let facts = "'facts': ['";
    ensure!(known.contains(facts) && !dump.contains(facts));
    // Both recordings have the same verdicts.
    let verdicts = |file: &str| -> Result<BTreeMap<String, u64>> {
        let printed = printed(&["replay", "-o", "json", file])?;
        let mut sums = BTreeMap::new();
        for line in printed.lines() {
            let value: Value = serde_json::from_str(line)?;
            let packet = &value["packet"];
            if value["schema"] == "tracer.journey/2"
                && packet["proto"] != "arp"
                && packet["proto"] != "icmpv6"
            {
                let what = format!(
                    "{} {} {} {}",
                    packet["proto"],
                    value["direction"],
                    value["verdict"]["kind"],
                    value["hops"].as_array().map_or(0, Vec::len)
                );
                *sums.entry(what).or_default() += 1;
            }
        }
        Ok(sums)
    };
    assert_eq!(verdicts(&plain)?, verdicts(&anonymous)?);
    Ok(())
}
