//! The expected rows, made from the lines of a replay.

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

use crate::epoch;

/// Nanoseconds of Unix time.
pub(super) fn ns(time: &Value) -> Result<i64> {
    Ok(epoch(time)?.replace('.', "").parse()?)
}

/// Checks that the row has the expected value for each expected key.
pub(super) fn agree(row: &Value, expected: &Value) -> Result<()> {
    for (key, value) in expected.as_object().context("an object")? {
        ensure!(row[key] == *value, "{key}: {} is not {value}", row[key]);
    }
    Ok(())
}

/// The addresses and ports of a journey's packet at each of its hops.
pub(super) fn ends(journey: &Value) -> Result<Vec<Value>> {
    let keys = ["src", "dst", "src_port", "dst_port"];
    let packet = &journey["packet"];
    let mut ends: Map<_, _> = keys
        .map(|key| (key.to_owned(), packet[key].clone()))
        .into_iter()
        .collect();
    let mut all = Vec::new();
    for hop in journey["hops"].as_array().context("hops")? {
        for change in hop["translations"].as_array().context("translations")? {
            let end = match change["kind"].as_str() {
                Some("dnat" | "reverse-snat") => "dst",
                _ => "src",
            };
            ends.insert(end.to_owned(), change["to"]["address"].clone());
            let port = format!("{end}_port");
            if !ends[&port].is_null() {
                ends.insert(port, change["to"]["port"].clone());
            }
        }
        all.push(Value::Object(ends.clone()));
    }
    Ok(all)
}

/// The values of some keys of an object, by other names if given.
pub(super) fn same(of: &Value, keys: &[(&str, &str)]) -> Map<String, Value> {
    let keys = keys.iter();
    keys.map(|(column, key)| ((*column).to_owned(), of[*key].clone()))
        .collect()
}

pub(super) fn hop(journey: &Value, number: usize, ends: &Value) -> Result<Value> {
    let hop = &journey["hops"][number];
    let named = |key| (key, key);
    let mut row = same(
        hop,
        &[
            "since_previous_ns",
            "node",
            "netns",
            "interface",
            "direction",
            "len",
            "segments",
            "seen",
            "ttl",
            "src_mac",
            "dst_mac",
            "vlan",
        ]
        .map(named),
    );
    row.extend(same(
        &hop["encap"],
        &[
            ("encap", "kind"),
            ("vni", "vni"),
            ("outer_src", "outer_src"),
            ("outer_dst", "outer_dst"),
            ("encap_levels", "levels"),
        ],
    ));
    row.extend(same(
        ends,
        &["src", "dst", "src_port", "dst_port"].map(named),
    ));
    row.insert("proto".to_owned(), journey["packet"]["proto"].clone());
    row.insert("time".to_owned(), ns(&hop["time"])?.into());
    Ok(Value::Object(row))
}

pub(super) fn judged(journey: &Value) -> Result<Value> {
    let named = |key| (key, key);
    let mut row = same(
        journey,
        &[
            "src_pod",
            "dst_pod",
            "src_service",
            "dst_service",
            "direction",
            "conversation",
            "answers",
            "answered_by",
            "retransmits",
            "ambiguous",
        ]
        .map(named),
    );
    let packet = &journey["packet"];
    row.extend(same(
        packet,
        &[
            "src", "dst", "proto", "src_port", "dst_port", "ip_id", "len",
        ]
        .map(named),
    ));
    row.extend(same(
        &packet["tcp"],
        &[
            ("tcp_flags", "flags"),
            ("tcp_seq", "seq"),
            ("tcp_ack", "ack"),
            ("tcp_payload_len", "payload_len"),
        ],
    ));
    row.extend(same(
        &packet["icmp"],
        &[
            ("icmp_type", "type"),
            ("icmp_code", "code"),
            ("icmp_id", "id"),
            ("icmp_seq", "seq"),
        ],
    ));
    row.extend(same(
        &packet["fragment"],
        &[("fragment_offset", "offset"), ("more_fragments", "more")],
    ));
    row.extend(same(
        &journey["parts"],
        &["sent", "delivered", "dropped", "lost", "unknown"].map(named),
    ));
    row.extend(same(
        &journey["verdict"],
        &[
            ("verdict", "kind"),
            ("confidence", "confidence"),
            ("cause", "cause"),
            ("text", "text"),
        ],
    ));
    let hops = journey["hops"].as_array().context("hops")?;
    let way = match (hops.first(), hops.last()) {
        (Some(first), Some(last)) => ns(&last["time"])? - ns(&first["time"])?,
        _ => 0,
    };
    row.insert("way_ns".to_owned(), way.into());
    row.insert("hops".to_owned(), hops.len().into());
    row.insert("refused_by".to_owned(), journey["refused_by"]["by"].clone());
    row.insert("time".to_owned(), ns(&journey["time"])?.into());
    Ok(Value::Object(row))
}

pub(super) fn drop(drop: &Value) -> Result<Value> {
    let keys = [
        "class",
        "reason",
        "function",
        "offset",
        "cause",
        "why",
        "node",
        "netns",
        "interface",
        "known_by",
        "seen",
    ];
    let mut row = same(drop, &keys.map(|key| (key, key)));
    row.insert("time".to_owned(), ns(&drop["time"])?.into());
    Ok(Value::Object(row))
}

/// Checks that a column of JSON objects has the objects of a list.
pub(super) fn objects(column: &Value, list: &Value) -> Result<()> {
    let texts = column.as_array().context("a list")?.iter();
    let read = texts.map(|text| serde_json::from_str(text.as_str().unwrap_or_default()));
    let read: Vec<Value> = read.collect::<Result<_, _>>()?;
    ensure!(Value::Array(read) == *list, "{column} is not {list}");
    Ok(())
}
