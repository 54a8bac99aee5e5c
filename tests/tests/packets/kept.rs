use anyhow::Result;
use serde_json::{Value, json};
use tracer_tests::frames::{all_kept, kept};

use crate::stage::Stage;

/// The expected journey of each frame that is shown. The others are unparsed.
fn right(name: &str) -> Option<Value> {
    let ports = |src: u16, dst: u16| json!({"src_port": src, "dst_port": dst});
    let quote = |proto: &str, src: Value, dst: Value| json!({"icmp": {"quote": {"proto": proto, "src_port": src, "dst_port": dst}}});
    Some(match name {
        "tcp-tiny-first-fragment"
        | "tcp-header-over-fragment-end"
        | "tcp-header-cut"
        | "tcp-doff-4" => {
            json!({"proto": "tcp", "src_port": 4000, "dst_port": 80, "tcp": null})
        }
        "udp-cut" | "sctp-cut" => ports(4000, 80),
        "icmp-cut" | "icmp-id-from-padding" => {
            json!({"icmp": {"type": 8, "id": null, "seq": null}})
        }
        "udp-fragment-dns-from-padding" => ports(53, 4000),
        "udp-ports-from-padding" => json!({"proto": "udp", "src_port": null, "len": 20}),
        "ipv6-length-from-padding" => json!({"proto": "proto-59", "len": 40}),
        "quote-of-later-fragment" => quote("udp", Value::Null, Value::Null),
        "quote-behind-fragment-header" | "quote-behind-hop-by-hop" => {
            quote("udp", 30_000.into(), 13_000.into())
        }
        "quote-header-only" => quote("proto-253", Value::Null, Value::Null),
        "dns-answer-to-port-8472" => ports(53, 8472),
        "udp-4-bytes-to-4789" => ports(4000, 4789),
        "udp-4-bytes-to-6081" => ports(4000, 6081),
        "udp-empty-to-8472" => ports(4000, 8472),
        "qinq-drop-decoded-as-ip" | "zero-macs" | "geneve-oam" => ports(4000, 5000),
        "atomic-fragment" => json!({"ip_id": 0x1234, "fragment": null, "src_port": 30_000}),
        _ => return None,
    })
}

/// Whether a value contains all of another value.
fn has(value: &Value, part: &Value) -> bool {
    match part {
        Value::Object(fields) => fields.iter().all(|(key, part)| has(&value[key], part)),
        part => value == part,
    }
}

/// Replaces the addresses in a frame by the pods'.
fn between_pods(stage: &Stage, mut frame: Vec<u8>) -> Vec<u8> {
    let [from, to] = [0, 1].map(|pod| &stage.lab.pods[pod]);
    let kept = |last: u8| {
        let mut v6 = [0; 16];
        (v6[..4]).copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        v6[15] = last;
        (vec![10, 9, 0, last], v6.to_vec())
    };
    for (pod, last) in [(from, 1), (to, 2)] {
        let (v4, v6) = kept(last);
        for (old, new) in [
            (v4, pod.v4.octets().to_vec()),
            (v6, pod.v6.octets().to_vec()),
        ] {
            for at in 0..frame.len().saturating_sub(old.len() - 1) {
                if frame[at..].starts_with(&old) {
                    frame[at..at + old.len()].copy_from_slice(&new);
                }
            }
        }
    }
    frame
}

/// The frames arrive at the second node's uplink, for an unused MAC address.
#[test]
fn frames_as_networks_hold_them() -> Result<()> {
    let stage = Stage::new()?;
    let frames = all_kept();
    let mut seen = stage.watch(&[], || {
        let frames = frames.iter();
        frames
            .map(|(_, frame)| between_pods(&stage, frame.clone()))
            .try_for_each(|frame| stage.wire.send(&frame))
    })?;
    let shown: Vec<_> = frames
        .iter()
        .filter_map(|(name, _)| right(name).map(|right| (name, right)))
        .collect();
    assert_eq!(seen.malformed, 0);
    assert_eq!(seen.unparsed, (frames.len() - shown.len()) as u64);
    let time = |journey: &Value| journey["hops"][0]["time"].as_str().map(str::to_owned);
    seen.journeys.sort_by_key(time);
    assert_eq!(seen.journeys.len(), shown.len(), "{:#?}", seen.journeys);
    for ((name, right), journey) in shown.iter().zip(&seen.journeys) {
        assert!(has(&journey["packet"], right), "{name}: {journey:#}");
        if **name == "zero-macs" {
            assert_eq!(journey["hops"][0]["src_mac"], "00:00:00:00:00:00");
        }
    }
    Ok(())
}

/// No protocol takes the frames at the second node, so the kernel drops them. Their bytes read like
/// an IPv4 header between strangers, which would be a miss.
#[test]
fn mpls_is_dropped_without_a_guess() -> Result<()> {
    const FRAMES: u64 = 100;
    let stage = Stage::new()?;
    let frame = kept("mpls-drop-decoded-as-ip");
    let seen = stage.watch(&[], || {
        (0..FRAMES).try_for_each(|_| stage.wire.send(&frame))
    })?;
    assert_eq!(seen.unparsed, FRAMES);
    assert!(seen.unparsed_drops >= FRAMES, "{seen:#?}");
    assert_eq!(seen.journeys, [Value::Null; 0]);
    Ok(())
}
