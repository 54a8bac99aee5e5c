//! The path on a page, compared with the journeys that the page is made of.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{RECORDINGS, shown};
use crate::{export, fixture, folder, journeys};

/// The interfaces of the page's path, with their counts of requests and replies.
const PATH: &str = "
    let node = '';
    const stations = [];
    for (const row of document.querySelectorAll('#path tbody tr')) {
      const cells = [...row.children].map((cell) => cell.innerText);
      if (row.className === 'node') node = cells[0].split(',')[0];
      if (cells.length === 8) stations.push([node, cells[0], cells[2], cells[5]]);
    }
    return stations;";

#[test]
fn the_path_counts_the_packets_at_each_interface() -> Result<()> {
    for name in RECORDINGS {
        let recording = fixture(name);
        let folder = folder()?;
        let page = fs::read_to_string(export(&folder, &recording, &["-f", "html"])?)?;
        // A station is an interface in the direction of requests; replies pass it the other way.
        let mut expected: BTreeMap<[String; 3], [u64; 2]> = BTreeMap::new();
        for journey in journeys(&recording)? {
            let packet = &journey["packet"];
            let icmp = packet["icmp"]["type"].as_u64();
            let is_discovery = packet["proto"] == "icmpv6" && matches!(icmp, Some(133..=137));
            if packet["proto"] == "arp" || is_discovery {
                continue;
            }
            let is_reply = journey["direction"] == "reply";
            let hops = journey["hops"].as_array().context("hops")?;
            let passed: BTreeSet<[String; 3]> = hops
                .iter()
                .map(|hop| {
                    let text = |key: &str| hop[key].as_str().unwrap_or_default().to_owned();
                    let mark = match (&*text("hook"), &*text("netns")) {
                        ("xdp" | "xdp-generic", _) => " (xdp)",
                        (_, "host") => "",
                        _ => " (pod)",
                    };
                    let goes_in = (text("direction") == "ingress") != is_reply;
                    let way = if goes_in { "in" } else { "out" };
                    [text("node"), text("interface") + mark, way.to_owned()]
                })
                .collect();
            for station in passed {
                expected.entry(station).or_default()[usize::from(is_reply)] += 1;
            }
        }
        let mut expected: Vec<Value> = expected
            .into_iter()
            .map(|([node, interface, _], counts)| {
                let [requests, replies] = counts.map(|count| match count {
                    0 => "-".to_owned(),
                    count => count.to_string(),
                });
                json!([node, interface, requests, replies])
            })
            .collect();
        let path = shown(folder.path(), &page, PATH)?;
        let mut path: Vec<Value> = path
            .as_array()
            .context("a list")?
            .iter()
            .filter(|station| station[2] != "-" || station[3] != "-")
            .cloned()
            .collect();
        ensure!(!path.is_empty(), "{name}");
        // The order is that of the view's path, which has tests of its own.
        for stations in [&mut path, &mut expected] {
            stations.sort_by_key(ToString::to_string);
        }
        ensure!(path == expected, "{name}: {path:?}\n{expected:?}");
    }
    Ok(())
}

#[test]
fn the_path_names_what_is_wrong_where_it_happens() -> Result<()> {
    let folder = folder()?;
    let recording = fixture("nft-forward-far-drop-4");
    let page = fs::read_to_string(export(&folder, &recording, &["-f", "html"])?)?;
    let rows =
        "return [...document.querySelectorAll('#path tbody tr')].map((row) => row.innerText)";
    let rows = shown(folder.path(), &page, rows)?;
    let rows: Vec<&str> = rows
        .as_array()
        .context("a list")?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let at = |what: &str| {
        let found = rows.iter().position(|row| row.starts_with(what));
        found.with_context(|| format!("{what}: {rows:?}"))
    };
    let problem = at("10 dropped ▼ (as #")?;
    ensure!(rows[problem].contains("at flannel.1 on node-b"), "{rows:?}");
    ensure!(rows[problem - 1].starts_with("flannel.1"), "{rows:?}");
    // The median and the 99th percentile of the time from cni0, in two digits.
    at("flannel.1\tvxlan\t10\t1.1 µs\t13 µs\t-")?;
    ensure!(at("node-a")? < at("node-b")? && at("node-b")? < problem);
    ensure!(at("■ shop/web")? < at("veth")?, "{rows:?}");
    ensure!(problem < at("■ payments/search")?, "{rows:?}");
    Ok(())
}
