//! What may be given away.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tracer_tests::{Lab, LabSpec};

use crate::{Recorder, full_name, mixed_traffic, others, printed};

/// All that could tell whose network it was.
fn secrets(lab: &Lab) -> Vec<String> {
    let mut secrets = Vec::new();
    for pod in &lab.pods {
        secrets.extend([
            full_name(pod),
            pod.name.clone(),
            pod.v4.to_string(),
            pod.v6.to_string(),
            pod.veth.clone(),
            pod.netns.name.clone(),
        ]);
    }
    for node in &lab.nodes {
        secrets.extend([
            node.name.clone(),
            node.underlay.to_string(),
            node.overlay_v4.to_string(),
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
    let one = Recorder::start(&lab, "plain", &[0, 1], &["record", "-w", &plain])?;
    let args = ["record", "-w", &anonymous, "--anonymize"];
    let other = Recorder::start(&lab, "anonymous", &[0, 1], &args)?;
    mixed_traffic(&lab)?;
    for recorder in [one, other] {
        let ended = recorder.end(Signal::SIGINT)?;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    let dump = others::dump(&anonymous)?;
    for secret in secrets(&lab) {
        ensure!(!dump.contains(&secret), "{secret} is in the recording");
        ensure!(others::dump(&plain)?.contains(&lab.pods[0].name));
    }
    // It tells the same.
    let verdicts = |file: &str| -> Result<BTreeMap<String, u64>> {
        let printed = printed(&["replay", "-o", "json", file])?;
        let mut sums = BTreeMap::new();
        for line in printed.lines() {
            let value: Value = serde_json::from_str(line)?;
            let packet = &value["packet"];
            if value["schema"] == "tracer.journey/1"
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
